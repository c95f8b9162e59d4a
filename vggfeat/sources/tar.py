"""Read the members of a tar archive, also of a damaged or a hostile one. Nothing is unpacked."""

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vggfeat._util.files import Signature, signature
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import ImageError
from vggfeat.sources import unpacking
from vggfeat.sources.item import Unanswered
from vggfeat.sources.unpacking import PIECE, Counted, read_pieces
from vggfeat.spec import MAX_BYTES

MAX_HEADERS = 2**15  # bytes of all headers of one member, with its map if it is sparse; a path has 4,096 at most
MAX_DIGITS = 1024  # in a row in a header: the time that tarfile takes grows with their square
MAX_GLOBAL = 1000  # fields of headers that hold for all members: tarfile copies them for each

# An archive that unpacks to more than both holds no images: 1 MB of gzip may hold 1 GB of zeros.
MAX_RATIO = 200
MAX_UNPACKED = 2**30  # bytes

MAX_REASON = 200  # characters
DAMAGED, CUT = "a header is damaged", "unexpected end of data"

EXPECTED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)  # what damaged bytes raise


class Entry(NamedTuple):
    """A member that is not a folder.

    name : bytes that are not UTF-8 are surrogate escapes. offset : of its bytes in the archive; None if the file is
    sparse, so that they do not lie together. regular : False for links, devices and pipes. problem : why it must not
    be used as an image, or None. read : its bytes; call it before the next member is asked for.
    """

    name: str
    offset: int | None
    size: int
    regular: bool
    problem: str | None
    read: Callable[[], bytes]


def entries(file: IO[bytes], *, stream: bool, unpacked: int = MAX_UNPACKED) -> Iterator[Entry]:
    """The members in their order, to the end mark.

    stream : read from front to back, also if compressed; else the file must be seekable and not compressed.
    unpacked : bytes to which an archive may unpack, however small it is.

    Raises tarfile.TarError if the archive is damaged, and on hostile bytes also OSError, EOFError, zlib.error, ...
    """
    source = _Stream(file, unpacked) if stream else _Source(file)
    source.header_bytes = MAX_HEADERS
    header: type[_Header] = type("Header", (_Header,), {})  # one class per archive: `ended` is its state
    with tarfile.TarFile(fileobj=source, tarinfo=header) as tar:  # type: ignore[arg-type]
        before = -1
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
            if tar.offset <= before:  # a damaged size can lead back
                raise tarfile.ReadError("its members overlap")
            if not 0 <= info.size < 2**63 or tar.offset >= 2**63 or len(tar.pax_headers) > MAX_GLOBAL:
                raise tarfile.ReadError(DAMAGED)
            before, source.header_bytes = tar.offset, None
            if not info.isdir():
                yield _entry(tar, source, info)
            source.skip(tar.offset)
            source.header_bytes = MAX_HEADERS
    if not header.ended:
        raise tarfile.ReadError("it has no end mark")


class _Header(tarfile.TarInfo):
    """A header that notes the end mark, which tarfile does not require."""

    ended = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        cls.ended = buf == bytes(tarfile.BLOCKSIZE)
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0:  # tarfile would read a header of such a size to the end of the file
            raise tarfile.ReadError(DAMAGED)
        return info


class _Source:
    """The bytes of an archive, as tarfile reads them.

    header_bytes : how many may be read before the next member is found; None after it is found.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.header_bytes: int | None = None

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int) -> None:
        self._file.seek(place)

    def read(self, size: int) -> bytes:
        """Raises tarfile.ReadError if a header is too long."""
        if self.header_bytes is None:
            return read_pieces(self._file, size)
        self.header_bytes -= size
        if self.header_bytes < 0:
            raise tarfile.ReadError(f"{DAMAGED}: it has more than {MAX_HEADERS:,} bytes")
        data = self._file.read(size)
        if re.search(rb"\d{%d}" % MAX_DIGITS, data):
            raise tarfile.ReadError(DAMAGED)
        return data

    def skip(self, place: int) -> None:
        """Go to the end of a member. Raises tarfile.ReadError if the archive ends before it."""
        if place != self.tell():
            try:
                self.seek(place - 1)
            except OSError as error:  # no file can be so long
                raise tarfile.ReadError(CUT) from error
            if not self.read(1):
                raise tarfile.ReadError(CUT)


class _Stream(_Source):
    """The bytes of an archive that is read once, from front to back, and unpacked if it is compressed."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._packed = Counted(file)
        content = unpacking.unpacked(self._packed)
        self._most = most if content else None
        self._at = 0
        super().__init__(io.BufferedReader(content or self._packed, PIECE))

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        """Raises tarfile.ReadError also if the archive unpacks to far more than it has."""
        data = super().read(size)
        self._at += len(data)
        if self._most is not None and self._at > max(self._most, MAX_RATIO * self._packed.count):
            raise tarfile.ReadError(
                f"it unpacks to more than {MAX_RATIO} times its size; if you trust it, unpack it and name its folder"
            )
        return data

    def seek(self, place: int) -> None:
        """Read up to a place. tarfile itself would go on reading after the end of the file."""
        if place < self._at:
            raise tarfile.ReadError("its members overlap")
        while self._at < place:
            if not self.read(min(PIECE, place - self._at)):
                raise tarfile.ReadError(CUT)


def _entry(tar: tarfile.TarFile, source: _Source, info: tarfile.TarInfo) -> Entry:
    def read() -> bytes:
        if info.issparse():
            content = tar.extractfile(info)
            return b"".join(iter(partial(content.read, PIECE), b"")) if content else b""
        source.seek(info.offset_data)
        data = source.read(info.size)
        if len(data) < info.size:
            raise tarfile.ReadError(CUT)
        return data

    offset = None if info.issparse() else info.offset_data
    return Entry(info.name, offset, info.size, info.isreg(), _problem(info), read)


def _problem(info: tarfile.TarInfo) -> str | None:
    path = PurePosixPath(info.name)
    if info.islnk() or info.issym():
        return "is a link, which is not followed"
    if not info.isreg():
        return "not a regular file"
    if path.is_absolute() or ".." in path.parts:
        return "its name leads out of the archive"
    if info.size > MAX_BYTES:
        return f"has {info.size:,} bytes, more than {MAX_BYTES:,}; reduce it first"
    return None


def reason(error: Exception) -> str:
    """Why an archive cannot be read to its end, in one line; with the type of an error that is not of a known type."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    said = reason_of(error)[:MAX_REASON]
    return said if isinstance(error, EXPECTED) else f"{type(error).__name__}: {said}"


def read_at(archive: Path, offset: int, size: int, expected: Signature | None = None) -> bytes:
    """The bytes of a member. Raises ImageError if the archive is unreadable, shorter, or not the expected one."""
    try:
        with open_regular(archive) as file:
            if expected and signature(file) != expected:
                raise ImageError(f"{archive}: changed while it was read; run the same command again")
            file.seek(offset)
            data = read_pieces(file, size)
    except OSError as error:
        raise Unanswered(f"{archive}: {reason_of(error)}") from error
    if len(data) < size:
        raise ImageError(f"{archive}: ends within this image")
    return data
