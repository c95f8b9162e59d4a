"""MATLAB's v7 files, read with scipy after checks that scipy does not make."""

import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vggfeat._util.files import open_regular

MAX_UNPACKED = 1 << 30  # bytes; VGG-19 has 575 million
SLACK = 16 << 20  # bytes that may be compressed to nothing, such as a mean image of one colour
STACK = 256 << 20  # bytes; scipy calls itself once per level, and needs less than 4 kB for it
MAX_ARRAYS = STACK >> 12  # as deep as the stack allows

_HEADER = 128
_HEAD = 512  # bytes of the head of a matrix, at most, with names of up to 63 characters
_MATRIX, _PACKED = 14, 15  # kinds of elements
_CELL, _CHARACTERS = 1, 4  # kinds of matrices
_STRUCTS = {2: 1, 3: 2}  # structs and objects -> how many names they have before their fields
_INTEGERS = (5, 6)  # kinds of elements: the sides of a matrix, int32 or uint32
_MAX_SIDES = 4 * 32  # bytes

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
        try:
            for piece, new in _unpacked(file, order):
                size += new
                for at in _matrices(piece, order):
                    values, characters = _room(piece, at, order)
                    arrays, size = arrays + 1 + values, size + characters
                    if arrays > max_arrays:
                        break
                if size > most or arrays > max_arrays:
                    raise ValueError(f"unpacks to over {most:,} bytes or {max_arrays:,} arrays")
        except (zlib.error, struct.error, EOFError) as error:
            raise ValueError(str(error) or "it ends early") from None


def _unpacked(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int]]:
    """The content of a file in pieces, and how many bytes of each are new: it begins with the end of the last one.

    So each header of a matrix is whole in one of them.
    """
    last = b""
    for piece in _pieces(file, order):
        yield last + piece, len(piece)
        last = (last + piece)[-_HEAD:]
    yield last + bytes(_HEAD), 0


def _matrices(piece: bytes, order: str) -> Iterator[int]:
    """Where matrices may begin in a piece, but for its end, which the next one has too."""
    tag, at = struct.pack(order + "I", _MATRIX), -1
    while (at := piece.find(tag, at + 1, len(piece) - _HEAD + len(tag) - 1)) >= 0:
        yield at


def _room(data: bytes, at: int, order: str) -> tuple[int, int]:
    """How many values (of cells and structs) and characters the header of a matrix lets scipy make room for.

    scipy trusts these numbers before it reads the values themselves.
    """
    kind, _, sides = struct.unpack_from(order + "III", data, at + 16)
    kind &= 0xFF
    start, length, after = _element(data, at + 24, order)
    if kind not in (_CELL, *_STRUCTS, _CHARACTERS) or sides & 0xFFFF not in _INTEGERS or length > _MAX_SIDES:
        return 0, 0  # also if these bytes are no header, but numbers
    count = prod(struct.unpack_from(f"{order}{length // 4}I", data, start))
    if kind == _CHARACTERS:
        return 0, count
    if kind in _STRUCTS:
        for _ in range(_STRUCTS[kind]):  # names of the variable and its class
            _, _, after = _element(data, after, order)
        start, _, after = _element(data, after, order)
        longest = struct.unpack_from(order + "I", data, start)[0]
        count *= _element(data, after, order)[1] // max(longest, 1)  # of the names of the fields
    return count, 0


def _element(data: bytes, at: int, order: str) -> tuple[int, int, int]:
    """Where the content of an element begins, its length, and where the next element begins.

    Raises struct.error if its head is not in `data`.
    """
    kind, length = struct.unpack_from(order + "II", data, at)
    if kind >> 16:  # up to 4 bytes, beside the kind
        return at + 4, kind >> 16, at + 8
    return at + 8, length, at + 8 + -(-length // 8) * 8


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
