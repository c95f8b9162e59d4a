"""MATLAB's v7 files, read with scipy after checks that scipy does not make."""

import io
import struct
import threading
import zlib
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular

MAX_UNPACKED = 1 << 30  # bytes; VGG-19 has 575 million
SLACK = 16 << 20  # bytes that may be compressed to nothing, such as a mean image of one colour
STACK = 256 << 20  # bytes; scipy calls itself once per level, and needs less than 4 kB for it
MAX_ARRAYS = STACK >> 12  # as deep as the stack allows

_HEADER = 128
_NAMES = 4096  # bytes of the names in the head of a matrix, at most; MATLAB's have 63 characters
_FIELDS = 1 << 16  # of the names of the fields of a struct
_NUMBERS = {1, 2, 3, 4, 5, 6, 7, 9, 12, 13}  # kinds of elements
_TEXTS = {1, 2, 3, 4, 16, 17, 18}
_MATRIX, _PACKED = 14, 15
_CELL, _STRUCT, _OBJECT, _CHARACTERS, _SPARSE, _FUNCTION = 1, 2, 3, 4, 5, 16  # kinds of matrices
_NUMERIC = range(6, 16)
_COMPLEX = 0x800  # of the flags

T = TypeVar("T")


def read_mat(
    src: Path | bytes,
    variables: Sequence[str],
    then: Callable[[dict[str, Any]], T],
    *,
    max_bytes: int = MAX_UNPACKED,
    max_arrays: int = MAX_ARRAYS,
) -> T:
    """Read variables of a file, or of its bytes, with scipy, and return what `then` makes of them.

    Both run on a stack that is large enough for nested values.

    max_bytes : of the file after unpacking. max_arrays : arrays, cells and struct fields; at most MAX_ARRAYS.

    Raises OSError if the file cannot be read; ValueError, with one line that says what is wrong, for a file that
    unpacks to too much, that scipy cannot read, or for which `then` raises an error of any type.
    """
    from scipy.io import loadmat

    if isinstance(src, Path):
        with open_regular(src) as opened:
            data = opened.read(max_bytes + 1)
    else:
        data = src
    _check(data, variables, max_bytes, min(max_arrays, MAX_ARRAYS))

    def load() -> tuple[T | None, str]:
        try:
            found = loadmat(io.BytesIO(data), variable_names=variables, struct_as_record=True)
            return then({name: found[name] for name in variables if name in found}), ""
        except Exception as error:  # a damaged file makes scipy raise anything
            # Only the text: the exception would keep the nested values, which would be freed on the small stack.
            return None, reason_of(error)

    before = threading.stack_size(STACK)
    try:
        with ThreadPoolExecutor(1) as pool:
            result, reason = pool.submit(load).result()
    finally:
        threading.stack_size(before)
    if result is None:
        raise ValueError(reason)
    return result


def _check(data: bytes, variables: Sequence[str], max_bytes: int, max_arrays: int) -> None:
    """Raise ValueError if scipy would need more memory, or a deeper stack, than for a file of this kind.

    scipy takes memory for as many values as a head declares. It also uses the kind of an element as an index into a
    table: a wrong kind ends the process.
    """
    most = min(max_bytes, 2 * len(data) + SLACK)  # bytes; weights hardly compress
    with io.BytesIO(data) as file:
        order = "<" if file.read(_HEADER)[126:] == b"IM" else ">"
        budget = _Budget(most, max_arrays)
        try:
            while head := file.read(8):
                kind, length = struct.unpack(order + "II", head)
                after = file.tell() + length
                content = _Content(file, length, order, budget, zlib.decompressobj() if kind == _PACKED else None)
                if kind == _MATRIX:
                    content.rest = head
                _walk(content, variables)
                file.seek(after)
        except (zlib.error, struct.error, EOFError) as error:
            raise ValueError(str(error) or "it ends early") from None


@dataclass
class _Budget:
    """How many bytes and arrays a file may still have."""

    bytes: int
    arrays: int

    def __post_init__(self) -> None:
        self.limits = f"{self.bytes:,} bytes or {self.arrays:,} arrays"

    def take(self, size: int, arrays: int = 0) -> None:
        self.bytes, self.arrays = self.bytes - size, self.arrays - arrays
        if self.bytes < 0 or self.arrays < 0:
            raise ValueError(f"unpacks to over {self.limits}")


@dataclass
class _Content:
    """The bytes of a variable, which may be packed. rest : bytes that are unpacked already, and come first."""

    file: BinaryIO
    length: int
    order: str
    budget: _Budget
    unpack: Any = None
    rest: bytes = b""

    def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises EOFError."""
        while len(self.rest) < size:
            raw = self.unpack.unconsumed_tail if self.unpack else b""
            if not raw:
                raw = self.file.read(min(self.length, 1 << 16))
                self.length -= len(raw)
            if not raw:
                raise EOFError
            piece = self.unpack.decompress(raw, 1 << 20) if self.unpack else raw
            self.budget.take(len(piece))
            self.rest += piece
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def skip(self, size: int) -> None:
        while size:
            size -= len(self.read(min(size, 1 << 20)))

    def tag(self) -> tuple[int, int]:
        kind, length = struct.unpack(self.order + "II", self.read(8))
        return kind, length

    def element(self, kinds: Container[int], most: int | None = None) -> bytes:
        """The next element's content; without `most` it is skipped. Raises ValueError for another kind or length."""
        kind, length = self.tag()
        if kind >> 16:  # up to 4 bytes, beside the kind
            data = struct.pack(self.order + "I", length)
            kind, length = kind & 0xFFFF, kind >> 16
            if kind not in kinds or length > min(4, most or 4):
                raise ValueError(f"an element of kind {kind} and {length} bytes")
            return data[:length]
        if kind not in kinds or (most is not None and length > most):
            raise ValueError(f"an element of kind {kind} and {length} bytes")
        if most is None:
            self.skip(length + -length % 8)
            return b""
        return self.read(length + -length % 8)[:length]


def _walk(content: _Content, variables: Sequence[str]) -> None:
    """Check the matrices of a variable, if it is one of those.

    Raises ValueError, EOFError, struct.error, zlib.error.
    """
    waiting, name = 1, None
    content.budget.take(0, arrays=1)
    while waiting:
        waiting -= 1
        kind, length = content.tag()
        if kind != _MATRIX:
            raise ValueError(f"an element of kind {kind} where a matrix should be")
        if length:
            kind, complex_, count, own = _head(content)
            if name is None and own not in variables:
                return
            name = own
            waiting += _inside(content, kind, complex_, count)
        elif name is None:
            return


def _head(content: _Content) -> tuple[int, bool, int, str]:
    """Kind, whether complex, number of values, and name of a matrix."""
    flags = struct.unpack_from(content.order + "I", content.element({6}, 8))[0]
    sides = struct.iter_unpack(content.order + "i", content.element({5, 6}, 128))
    shape = [side for (side,) in sides]
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"a matrix with the sides {shape}")
    name = content.element({1, 16}, _NAMES).decode("latin1")
    return flags & 0xFF, bool(flags & _COMPLEX), prod(shape), name


def _inside(content: _Content, kind: int, complex_: bool, count: int) -> int:
    """Check what follows the head of a matrix; returns how many matrices follow in it."""
    if kind in _NUMERIC or kind == _SPARSE:
        for _ in range((1 if kind in _NUMERIC else 3) + complex_):
            content.element(_NUMBERS)
        return 0
    if kind == _CHARACTERS:  # scipy fills a text without content with spaces
        content.budget.take(count)
        content.element(_TEXTS)
        return 0
    if kind == _OBJECT:
        content.element({1, 16}, _NAMES)
    if kind in (_STRUCT, _OBJECT):
        longest = struct.unpack(content.order + "I", content.element({5}, 4))[0]
        count *= len(content.element({1, 16}, _FIELDS)) // max(longest, 1)
    elif kind == _FUNCTION:
        count = 1
    elif kind != _CELL:
        raise ValueError(f"a matrix of kind {kind}")
    content.budget.take(8 * count, count)
    return count
