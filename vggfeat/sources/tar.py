"""The one reader of tar files: their members and where these lie. Nothing is unpacked.

It withstands hostile files: headers of any size, members that overlap, a missing end. Links are not followed, and names
are not interpreted; users of this module decide what to do with names that lead out of the archive.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from vggfeat._util.files import Signature, signature
from vggfeat.errors import ImageError
from vggfeat.sources.item import MAX_BYTES

MAX_HEADER = 2**16  # bytes of a long name
_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of a tar file.

    name : as it stands there; bytes that are not UTF-8 are surrogates. size : bytes of its content.
    offset : place of the content in the file; None if it has to be decompressed or put together.
    content : in that case, for a file of at most MAX_BYTES.
    """

    name: str
    kind: Literal["file", "folder", "link", "other"]
    size: int
    offset: int | None
    content: bytes | None


def members(file: IO[bytes], *, stream: bool = False) -> Iterator[Member]:
    """The members of an open tar file, in order.

    stream : read the file once, from front to back, and decompress it if necessary. Otherwise it must not be
        compressed, and contents are to be read later at their offsets.

    Raises tarfile.ReadError if the file is damaged, after the members before the damage.
    """
    header: type[_Header] = type("Header", (_Header,), {})  # `ended` belongs to one archive
    try:
        with tarfile.open(fileobj=file, mode="r|*" if stream else "r:", tarinfo=header) as tar:
            before = -1
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if tar.offset <= before:  # a damaged size may lead back
                    raise tarfile.ReadError("its members overlap")
                before = tar.offset
                yield _member(tar, info, stream)
        if not header.ended:
            raise tarfile.ReadError("it has no end mark")
    except Exception as error:  # hostile bytes make tarfile raise TarError, OSError, EOFError, zlib.error, ...
        raise tarfile.ReadError(str(error) or type(error).__name__) from error


def read_at(file: Path, offset: int, size: int, state: Signature | None = None) -> bytes:
    """The content of a member. Raises ImageError, also if the file's signature is no longer `state`."""
    try:
        with file.open("rb") as archive:
            if state and signature(archive) != state:
                raise ImageError(f"{file}: changed while it was read; run the extraction again")
            archive.seek(offset)
            content = archive.read(size)
    except OSError as error:
        raise ImageError(f"{file}: {error.strerror or error}") from error
    if len(content) < size:
        raise ImageError(f"{file}: ends within this image")
    return content


class _Header(tarfile.TarInfo):
    """A header of limited length that notes the end mark, which tarfile does not require."""

    ended = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        cls.ended = buf == bytes(tarfile.BLOCKSIZE)
        info = super().frombuf(buf, encoding, errors)
        extended = info.type not in tarfile.SUPPORTED_TYPES or info.type in _LONG
        if info.size < 0 or (extended and info.size > MAX_HEADER):
            raise tarfile.ReadError("a header is damaged")
        return info


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, stream: bool) -> Member:
    if info.islnk() or info.issym():
        return Member(info.name, "link", info.size, None, None)
    if not info.isreg():
        return Member(info.name, "folder" if info.isdir() else "other", info.size, None, None)
    if not (stream or info.issparse()):
        return Member(info.name, "file", info.size, info.offset_data, None)
    content = tar.extractfile(info) if info.size <= MAX_BYTES else None
    return Member(info.name, "file", info.size, None, content.read() if content else None)
