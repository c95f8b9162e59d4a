"""Tar archives of images, WebDataset's shards among them. Nothing is unpacked."""

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vggfeat.errors import ImageError
from vggfeat.sources.item import MAX_BYTES, Fetched, Item, utf8
from vggfeat.store.names import Names

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
IMAGES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # gzip, bzip2, xz
SAMPLE = 32  # members of the same name that make one sample
MAX_HEADER = 2**16  # bytes of a long name
MAX_LABEL = 100  # characters


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive that isn't compressed, to be read where it lies."""

    archive: Path
    state: tuple[int, int, int]
    offset: int
    size: int

    def fetch(self) -> bytes:
        """Raises ImageError, also where the archive is no longer the one that was listed."""
        try:
            with self.archive.open("rb") as file:
                if _state(file) != self.state:
                    raise ImageError(f"{self.archive}: changed while it was read; run the extraction again")
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError(f"{self.archive}: {error.strerror or error}") from error
        if len(data) < self.size:
            raise ImageError(f"{self.archive}: ends within this image")
        return data


class _Found(NamedTuple):
    path: PurePosixPath
    content: bytes | Fetched | ImageError


def is_shard(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def members(archive: Path, name: str) -> Iterator[Item]:
    """The images of a tar as name/member. The label is what the member's .cls or .txt says in one line, else its
    first folder. A tar that can't be read to its end has an Item of its own, with the reason.
    """
    try:
        # a FIFO would be waited for
        if not stat.S_ISREG(archive.stat().st_mode):
            yield Item(name, ImageError("not a regular file"))
            return
        with archive.open("rb") as file:
            start = file.read(8)
            file.seek(0)
            if start.startswith(PACKED):
                yield from stream(file, name)
            else:
                yield from _items(_read(file, archive), name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        yield Item(name, ImageError(getattr(error, "strerror", None) or str(error)))


def stream(file: IO[bytes], name: str) -> Iterator[Item]:
    """The same of a tar that can only be read from front to back: compressed, or far away."""
    yield from _items(_read(file, None), name)


def _read(file: IO[bytes], archive: Path | None) -> Iterator[_Found]:
    """What lies in a tar, but folders and hidden files. archive: where it lies, if members can be read there later."""
    header = _header()
    state = _state(file) if archive else (0, 0, 0)
    with tarfile.open(fileobj=file, mode="r:" if archive else "r|*", tarinfo=header) as tar:
        before = -1
        while (info := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
            if tar.offset <= before:  # a damaged size may lead back
                raise tarfile.ReadError("its members overlap")
            before = tar.offset
            path = PurePosixPath(utf8(info.name))
            hidden = any(part.startswith(".") and part != ".." for part in path.parts)
            if not (info.isdir() or hidden):
                yield _Found(path, _content(tar, info, path, archive, state))
    if not header.ended:
        raise tarfile.ReadError("it has no end mark")


def _header() -> "type[_Header]":
    return type("Header", (_Header,), {})  # a class of its own: `ended` belongs to one archive


class _Header(tarfile.TarInfo):
    """A header that notes the end mark, which tarfile doesn't insist on, and is of bounded length."""

    ended = False

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        cls.ended = buf == bytes(tarfile.BLOCKSIZE)
        info = super().frombuf(buf, encoding, errors)
        extended = info.type not in tarfile.SUPPORTED_TYPES or info.type in _LONG
        if info.size < 0 or (extended and info.size > MAX_HEADER):
            raise tarfile.ReadError("a header is damaged")
        return info


_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


def _content(
    tar: tarfile.TarFile, info: tarfile.TarInfo, path: PurePosixPath, archive: Path | None, state: tuple[int, int, int]
) -> bytes | Member | ImageError:
    if info.islnk() or info.issym():
        return ImageError("is a link, which is not followed")
    if not info.isreg():
        return ImageError("not a regular file")
    if path.is_absolute() or ".." in path.parts:
        return ImageError("its name leads out of the archive")
    if info.size > MAX_BYTES:
        return ImageError(f"has {info.size:,} bytes, more than {MAX_BYTES:,}")
    if archive and not info.issparse():
        return Member(archive, state, info.offset_data, info.size)
    content = tar.extractfile(info)
    return content.read() if content else ImageError("can't be read")


def _state(file: IO[bytes]) -> tuple[int, int, int]:
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns


def _items(found: Iterator[_Found], name: str) -> Iterator[Item]:
    seen, sample = Names(), list[_Found]()
    damage: Exception | None = None
    while True:
        try:
            one = next(found, None)
        except Exception as error:  # given hostile bytes, tarfile raises TarError, OSError, EOFError, zlib.error, ...
            one, damage = None, error
        if sample and (one is None or _key(one) != _key(sample[0]) or _is_full(sample)):
            yield from _images(sample, name, seen)
            sample = []
        if one is None:
            break
        sample.append(one)
    if damage is not None:
        reason = str(damage) or type(damage).__name__
        yield Item(name, ImageError(f"can't be read to its end ({reason}); the images before are described"))


def _key(one: _Found) -> tuple[PurePosixPath, str]:
    """WebDataset's: members whose names are the same up to the first dot belong together."""
    return one.path.parent, one.path.name.split(".")[0]


def _is_full(sample: list[_Found]) -> bool:
    held = sum(len(one.content) for one in sample if isinstance(one.content, bytes))
    return len(sample) == SAMPLE or held > MAX_BYTES


def _images(sample: list[_Found], name: str, seen: Names) -> Iterator[Item]:
    """The images of a sample; where none has the name of an image all are tried."""
    named = [one for one in sample if one.path.suffix.lower() in IMAGES]
    label = _label(sample) if named else None
    for one in named or sample:
        path, image = f"{name}/{one.path.as_posix().lstrip('/')}", one.content
        if not seen.add(path):  # what tar would overwrite
            path, image = f"{path}#{len(seen)}", ImageError("the archive has another member of this name before it")
            seen.add(path)
        yield Item(path, image, label or (one.path.parts[0] if len(one.path.parts) > 1 else None))


def _label(sample: list[_Found]) -> str | None:
    for suffix in (".cls", ".txt"):
        for one in sample:
            if one.path.suffix == suffix and (label := _line(one.content)):
                return label
    return None


def _line(content: bytes | Fetched | ImageError) -> str | None:
    """A short line of text, or None."""
    try:
        if isinstance(content, Member) and content.size <= 4 * MAX_LABEL:
            content = content.fetch()
        text = content.decode().strip() if isinstance(content, bytes) else ""
    except (ImageError, UnicodeDecodeError):
        return None
    return text if 0 < len(text) <= MAX_LABEL and len(text.splitlines()) == 1 else None
