"""MATLAB's v7 files, read with scipy after checks that scipy does not make."""

import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vggfeat.errors import WeightsError

MAX_UNPACKED = 1 << 30  # bytes; VGG-19 has 575 million
SLACK = 16 << 20  # bytes that may be compressed to nothing, such as a mean image of one colour
MAX_MATRICES = 10_000  # arrays, cells and struct fields of a file; VGG-19 has about 3,000
STACK = 256 << 20  # bytes; scipy calls itself once per level, and needs less than 4 kB for it

_HEADER = 128
_MATRIX, _PACKED = 14, 15  # kinds of elements

T = TypeVar("T")


def load_v7(src: Path, data: bytes, variables: Sequence[str], then: Callable[[dict[str, Any]], T]) -> T:
    """`then` of the variables that scipy reads from a file, on a stack that is large enough for deep nesting.

    Raises WeightsError for a file that unpacks to too much, or that scipy cannot read.
    """
    from scipy.io import loadmat

    _check_size(src, data)

    def load() -> tuple[T | None, str]:
        try:
            found = loadmat(io.BytesIO(data), variable_names=variables, struct_as_record=True)
            return then({name: found[name] for name in variables if name in found}), ""
        except Exception as error:  # a damaged file makes scipy raise anything
            # Only the text: the exception would keep the nested values, which would be freed on the small stack.
            return None, str(error).partition("\n")[0] or type(error).__name__

    before = threading.stack_size(STACK)
    try:
        with ThreadPoolExecutor(1) as pool:
            result, reason = pool.submit(load).result()
    finally:
        threading.stack_size(before)
    if result is None:
        raise WeightsError(f"{src}: is not a whole MATLAB file of a net ({reason}); fetch it again")
    return result


def _check_size(src: Path, data: bytes) -> None:
    """Raise WeightsError if scipy would need more memory, or a deeper stack, than for a net."""
    most = min(MAX_UNPACKED, 2 * len(data) + SLACK)  # bytes; weights hardly compress
    size = matrices = 0
    with io.BytesIO(data) as file:
        order = "<" if file.read(_HEADER)[126:] == b"IM" else ">"
        tag = struct.pack(order + "I", _MATRIX)
        try:
            for piece in _unpacked(file, order):
                size, matrices = size + len(piece), matrices + piece.count(tag)
                if size > most or matrices > MAX_MATRICES:
                    raise WeightsError(f"{src}: unpacks to over {most} bytes or {MAX_MATRICES} arrays; it is not a VGG")
        except (zlib.error, struct.error, EOFError) as error:
            raise WeightsError(
                f"{src}: is not a whole MATLAB file ({error or 'it ends early'}); fetch it again"
            ) from None


def _unpacked(file: BinaryIO, order: str) -> Iterator[bytes]:
    """The content of a file in pieces that overlap by 3 bytes, so that each tag of 4 bytes is whole in one of them."""
    last = b""
    for piece in _pieces(file, order):
        piece = last + piece
        yield piece
        last = piece[-3:]


def _pieces(file: BinaryIO, order: str) -> Iterator[bytes]:
    while head := file.read(8):
        kind, length = struct.unpack(order + "II", head)
        unpack = zlib.decompressobj() if kind == _PACKED else None
        yield head
        while length:
            raw = file.read(min(length, 1 << 16))
            if not raw:
                raise EOFError
            length -= len(raw)
            if unpack is None:
                yield raw
                continue
            while raw:
                yield unpack.decompress(raw, 1 << 20)
                raw = unpack.unconsumed_tail
