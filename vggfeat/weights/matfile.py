"""MATLAB's v7 files through scipy, behind guards against what scipy takes on trust."""

import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vggfeat.errors import WeightsError

MAX_UNPACKED = 1 << 30  # bytes; VGG-19 has 575 million
SLACK = 16 << 20  # bytes that may be packed to nothing, such as a mean image of one colour
MAX_MATRICES = 10_000  # arrays, cells and struct fields of a file; VGG-19 has about 3,000
STACK = 256 << 20  # bytes; scipy descends once a level, and takes less than 4 kB for it

_HEADER = 128
_MATRIX, _PACKED = 14, 15  # kinds of elements

T = TypeVar("T")


def load_v7(src: Path, variables: Sequence[str], then: Callable[[dict[str, Any]], T]) -> T:
    """`then` of the variables that scipy reads from a file, called where deep nesting can't overflow the stack.

    Raises WeightsError for a file that unpacks to more than it can mean, or that scipy can't read.
    """
    from scipy.io import loadmat

    _check(src)

    def load() -> tuple[T | None, str]:
        try:
            found = loadmat(src, variable_names=variables, struct_as_record=True)
            return then({name: found[name] for name in variables if name in found}), ""
        except Exception as error:  # a damaged file makes scipy raise anything
            # In words: the exception itself would take the nested things along, to be freed on a small stack.
            return None, str(error).partition("\n")[0] or type(error).__name__

    before = threading.stack_size(STACK)
    try:
        with ThreadPoolExecutor(1) as pool:
            result, reason = pool.submit(load).result()
    finally:
        threading.stack_size(before)
    if result is None:
        raise WeightsError(f"{src} is no whole MATLAB file of a net ({reason}): fetch it again")
    return result


def _check(src: Path) -> None:
    """Raise WeightsError where scipy would need more memory, or a deeper stack, than a net's file has reason to."""
    most = min(MAX_UNPACKED, 2 * src.stat().st_size + SLACK)  # bytes; weights hardly pack
    size = matrices = 0
    with src.open("rb") as file:
        order = "<" if file.read(_HEADER)[126:] == b"IM" else ">"
        tag = struct.pack(order + "I", _MATRIX)
        try:
            for piece in _unpacked(file, order):
                size, matrices = size + len(piece), matrices + piece.count(tag)
                if size > most or matrices > MAX_MATRICES:
                    raise WeightsError(f"{src} unpacks to over {most} bytes or {MAX_MATRICES} arrays: it is no VGG")
        except (zlib.error, struct.error, EOFError) as error:
            raise WeightsError(f"{src} is no whole MATLAB file ({error or 'it ends early'}): fetch it again") from None


def _unpacked(file: BinaryIO, order: str) -> Iterator[bytes]:
    """The content of a file, in pieces that overlap by 3 bytes, so that a tag of four lies whole in one."""
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
