"""Read bytes front to back, unpacked if they are compressed, in bounded memory."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from functools import partial
from typing import IO, Any

PIECE = 2**20  # bytes that are read at once: a declared size takes no memory before its bytes are there
XZ_MEMORY = 2**28  # bytes to unpack with; `xz -9` needs 65 MiB, and a header may ask for 4 GiB
COMPRESSED = (GZIP := b"\x1f\x8b", BZIP2 := b"BZh", XZ := b"\xfd7zXZ")  # how their files begin
HEAD = 8


def read_pieces(file: IO[bytes], size: int, growing: Callable[[int], None] | None = None) -> bytes:
    """At most `size` bytes, fewer at the end of the file. growing : called with the bytes so far, after each piece."""
    pieces, held = [], 0
    while size > held and (piece := file.read(min(PIECE, size - held))):
        pieces.append(piece)
        held += len(piece)
        if growing:
            growing(held)
    return b"".join(pieces)


class Counted(io.RawIOBase):
    """A file that is read once, and may give fewer bytes than it is asked for.

    head : its first bytes. count : of the bytes that were read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.head = self._first = read_pieces(file, HEAD)
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._first[: len(buffer)] or self._file.read(len(buffer))
        self._first = self._first[len(data) :]
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class Owned(Counted):
    """A file that is closed with this object."""

    def close(self) -> None:
        self._file.close()
        super().close()


def unpacked(packed: Counted) -> io.RawIOBase | None:
    """What a file holds that is compressed by gzip, bzip2 or xz; None for other files."""
    if packed.head.startswith(GZIP):
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]
    if packed.head.startswith(BZIP2):
        return _Unpacked(packed, bz2.BZ2Decompressor)
    if packed.head.startswith(XZ):
        return _Unpacked(packed, partial(lzma.LZMADecompressor, memlimit=XZ_MEMORY))
    return None


class _Unpacked(io.RawIOBase):
    """One or more compressed streams, one after the other. `bz2.open` and `lzma.open` have no limit of memory."""

    def __init__(self, packed: Counted, new: Callable[[], Any]) -> None:
        self._packed, self._new = io.BufferedReader(packed), new
        self._stream = new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises OSError or lzma.LZMAError for damaged bytes, EOFError if they end too soon."""
        while True:
            given = b""
            if self._stream.eof:
                if not (given := self._stream.unused_data or self._packed.read(io.DEFAULT_BUFFER_SIZE)):
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input and not (given := self._packed.read(io.DEFAULT_BUFFER_SIZE)):
                raise EOFError("its compressed bytes end too soon")
            if data := self._stream.decompress(given, len(buffer)):
                buffer[: len(data)] = data
                return len(data)
