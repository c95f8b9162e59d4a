"""MATLAB's v7 files, read with scipy after checks that scipy does not make."""

import io
import math
import re
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

MAX_SIZES = 32  # dimensions of an array, scipy's own limit
HEADER = 32 + 4 * MAX_SIZES  # bytes of an array's header up to its sizes

_HEADER = 128
_WHOLE_NUMBERS = (5, 6)  # kinds of elements: int32, uint32
_IN_PARTS = (1, 2, 3, 4)  # kinds of arrays: cells, structs, objects, text
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
                size += len(piece) - HEADER
                heads = [at for at in _places(tag, piece) if at < len(piece) - HEADER]
                matrices += len(heads)
                largest = max((_elements(piece[at : at + HEADER], order, most) for at in heads), default=0)
                if max(size, largest) > most or matrices > MAX_MATRICES:
                    raise WeightsError(f"{src}: unpacks to over {most} bytes or {MAX_MATRICES} arrays; it is not a VGG")
        except (zlib.error, struct.error, EOFError) as error:
            raise WeightsError(
                f"{src}: is not a whole MATLAB file ({error or 'it ends early'}); fetch it again"
            ) from None


def _places(tag: bytes, piece: bytes) -> Iterator[int]:
    return (found.start() for found in re.finditer(re.escape(tag), piece))


def _elements(head: bytes, order: str, most: int) -> int:
    """How many elements an array says it has: scipy makes so many cells, structs or letters. Over `most` if too many.

    After the tag are its length, the tag and the length of the flags, the flags with the kind of array, and the sizes.
    """
    kind, sizes_kind, length = struct.unpack_from(order + "I4xII", head, 16)
    if sizes_kind >> 16:  # up to 4 bytes may be in the tag itself
        sizes_kind, length, start = sizes_kind & 0xFFFF, 4, 28
    else:
        start = 32
    if sizes_kind not in _WHOLE_NUMBERS:  # by chance, or refused by scipy
        return 0
    count = min(length // 4, MAX_SIZES)
    elements = math.prod(map(abs, struct.unpack_from(f"{order}{count}i", head, start)))
    return most + 1 if kind & 0xFF in _IN_PARTS and elements > MAX_MATRICES else elements


def _unpacked(file: BinaryIO, order: str) -> Iterator[bytes]:
    """The content of a file in pieces; each begins with the last `HEADER` bytes of the one before, and zeros follow."""
    last = b""
    for piece in _pieces(file, order):
        last += piece
        if len(last) > HEADER:
            yield last
            last = last[-HEADER:]
    yield last + bytes(HEADER)


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
