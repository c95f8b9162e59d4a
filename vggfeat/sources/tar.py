"""Read the members of a tar archive, also of a damaged or a hostile one. Nothing is unpacked."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vggfeat._util.files import Signature, signature
from vggfeat.errors import ImageError
from vggfeat.sources.item import MAX_BYTES

MAX_HEADER = 2**16  # bytes of a long name
_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


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


def entries(file: IO[bytes], *, stream: bool) -> Iterator[Entry]:
    """The members in their order, to the end mark.

    stream : read from front to back, also if compressed; else the file must be seekable and not compressed.

    Raises tarfile.TarError if the archive is damaged, and on hostile bytes also OSError, EOFError, zlib.error, ...
    """
    header: type[_Header] = type("Header", (_Header,), {})  # one class per archive: `ended` is its state
    with tarfile.open(fileobj=file, mode="r|*" if stream else "r:", tarinfo=header) as tar:
        before = -1
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
            if tar.offset <= before:  # a damaged size can lead back
                raise tarfile.ReadError("its members overlap")
            before = tar.offset
            if not info.isdir():
                yield _entry(tar, info)
    if not header.ended:
        raise tarfile.ReadError("it has no end mark")


class _Header(tarfile.TarInfo):
    """A header of bounded length. It notes the end mark, which tarfile does not require."""

    ended = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        cls.ended = buf == bytes(tarfile.BLOCKSIZE)
        info = super().frombuf(buf, encoding, errors)
        extended = info.type not in tarfile.SUPPORTED_TYPES or info.type in _LONG
        if info.size < 0 or (extended and info.size > MAX_HEADER):
            raise tarfile.ReadError("a header is damaged")
        return info


def _entry(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Entry:
    def read() -> bytes:
        content = tar.extractfile(info)
        return content.read() if content else b""

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
        return f"has {info.size:,} bytes, more than {MAX_BYTES:,}"
    return None


def read_at(archive: Path, offset: int, size: int, expected: Signature | None = None) -> bytes:
    """The bytes of a member. Raises ImageError if the archive is unreadable, shorter, or not the expected one."""
    try:
        with archive.open("rb") as file:
            if expected and signature(file) != expected:
                raise ImageError(f"{archive}: changed while it was read; run the same command again")
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise ImageError(f"{archive}: {error.strerror or error}") from error
    if len(data) < size:
        raise ImageError(f"{archive}: ends within this image")
    return data
