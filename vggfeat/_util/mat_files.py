"""MATLAB's v7 files, read with scipy after checks that scipy does not make."""

import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vggfeat._util.files import open_regular

MAX_UNPACKED = 1 << 30  # bytes; VGG-19 has 575 million
SLACK = 16 << 20  # bytes that may be compressed to nothing, such as a mean image of one colour
STACK = 256 << 20  # bytes; scipy calls itself once per level, and needs less than 4 kB for it
MAX_ARRAYS = STACK >> 12  # as deep as the stack allows

_HEADER = 128
_MATRIX, _PACKED = 14, 15  # kinds of elements

T = TypeVar("T")


def read_mat(
    src: Path,
    variables: Sequence[str],
    then: Callable[[dict[str, Any]], T],
    *,
    max_bytes: int = MAX_UNPACKED,
    max_arrays: int = MAX_ARRAYS,
) -> T:
    """`then` of the variables that scipy reads from a file, on a stack that is large enough for deep nesting.

    max_bytes : of the file after unpacking. max_arrays : arrays, cells and struct fields; at most MAX_ARRAYS.

    Raises OSError if the file cannot be read; ValueError, with one line that says what is wrong, for a file that
    unpacks to too much, that scipy cannot read, or for which `then` raises an error of any type.
    """
    from scipy.io import loadmat

    _check_size(src, max_bytes, min(max_arrays, MAX_ARRAYS))

    def load() -> tuple[T | None, str]:
        try:
            found = loadmat(src, variable_names=variables, struct_as_record=True)
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
        raise ValueError(reason)
    return result


def _check_size(src: Path, max_bytes: int, max_arrays: int) -> None:
    """Raise ValueError if scipy would need more memory, or a deeper stack, than for a file of this kind."""
    most = min(max_bytes, 2 * src.stat().st_size + SLACK)  # bytes; weights hardly compress
    size = arrays = 0
    with open_regular(src) as file:
        order = "<" if file.read(_HEADER)[126:] == b"IM" else ">"
        tag = struct.pack(order + "I", _MATRIX)
        try:
            for piece in _unpacked(file, order):
                size, arrays = size + len(piece), arrays + piece.count(tag)
                if size > most or arrays > max_arrays:
                    raise ValueError(f"unpacks to over {most:,} bytes or {max_arrays:,} arrays")
        except (zlib.error, struct.error, EOFError) as error:
            raise ValueError(str(error) or "it ends early") from None


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
