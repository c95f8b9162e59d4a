"""Tar archives of images, including WebDataset's shards."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vggfeat._util.files import Signature, signature
from vggfeat.errors import ImageError
from vggfeat.formats import has_image_suffix
from vggfeat.sources import tar
from vggfeat.sources.item import MAX_BYTES, Fetched, Item, utf8
from vggfeat.store.names import Names

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # gzip, bzip2, xz
MAX_SAMPLE = 32  # files of one sample
MAX_LABEL = 100  # characters


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive that is not compressed; its bytes are read from their place."""

    archive: Path
    signature: Signature | None
    offset: int
    size: int

    def fetch(self) -> bytes:
        """Raises ImageError, also if the archive has changed since it was listed."""
        return tar.read_at(self.archive, self.offset, self.size, self.signature)

    def stamp(self) -> tuple[int | None, int | None]:
        """Size, and the time of the last change of the archive, since that in a header need not be true."""
        return self.size, self.signature.mtime_ns if self.signature else None


class _Found(NamedTuple):
    path: PurePosixPath
    content: bytes | Fetched | ImageError


def is_shard(name: str) -> bool:
    """Whether a file's name is that of a tar archive."""
    return name.lower().endswith(SUFFIXES)


def members(archive: Path, name: str) -> Iterator[Item]:
    """The images of a tar as name/member. The label is the line in the sample's .cls or .txt, else the first folder.

    A tar that cannot be read to its end gives an Item of its own, with the reason.
    """
    try:
        if not stat.S_ISREG(archive.stat().st_mode):  # opening a FIFO would wait for a writer
            yield Item(name, ImageError("not a regular file"))
            return
        with archive.open("rb") as file:
            start = file.read(8)
            file.seek(0)
            if start.startswith(COMPRESSED):
                yield from stream(file, name)
            else:
                yield from _items(_read(file, archive), name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        yield Item(name, ImageError(getattr(error, "strerror", None) or str(error)))


def stream(file: IO[bytes], name: str) -> Iterator[Item]:
    """The images of a tar that is compressed or remote, so that it is read from front to back."""
    yield from _items(_read(file, None), name)


def _read(file: IO[bytes], archive: Path | None) -> Iterator[_Found]:
    """The members that are not hidden. archive: where members can be read later; None if they are read now."""
    state = signature(file) if archive else None
    for entry in tar.entries(file, stream=archive is None):
        path = PurePosixPath(utf8(entry.name))
        if any(part.startswith(".") and part != ".." for part in path.parts):
            continue
        content: bytes | Fetched | ImageError
        if entry.problem:
            content = ImageError(entry.problem)
        elif archive and entry.offset is not None:
            content = Member(archive, state, entry.offset, entry.size)
        else:
            content = entry.read()
        yield _Found(path, content)


def _items(found: Iterator[_Found], name: str) -> Iterator[Item]:
    seen, sample = Names(), list[_Found]()
    damage: Exception | None = None
    while True:
        try:
            one = next(found, None)
        except Exception as error:  # hostile bytes make tarfile raise errors of many types
            one, damage = None, error
        if sample and (one is None or _key(one) != _key(sample[0]) or _is_full(sample)):
            yield from _images(sample, name, seen)
            sample = []
        if one is None:
            break
        sample.append(one)
    if damage is not None:
        reason = str(damage) or type(damage).__name__
        yield Item(
            name, ImageError(f"cannot be read to its end ({reason}); the images before the damage are described")
        )


def _key(one: _Found) -> tuple[PurePosixPath, str]:
    """As in WebDataset: members with the same name up to the first dot are one sample."""
    return one.path.parent, one.path.name.split(".")[0]


def _is_full(sample: list[_Found]) -> bool:
    held = sum(len(one.content) for one in sample if isinstance(one.content, bytes))
    return len(sample) == MAX_SAMPLE or held > MAX_BYTES


def _images(sample: list[_Found], name: str, seen: Names) -> Iterator[Item]:
    """The images of a sample; if no name is that of an image, every file counts as one."""
    named = [one for one in sample if has_image_suffix(one.path.name)]
    label = _label(sample) if named else None
    for one in named or sample:
        path, image = f"{name}/{one.path.as_posix().lstrip('/')}", one.content
        if not seen.add(path):  # tar would overwrite the first
            path, image = f"{path}#{len(seen)}", ImageError("the archive has an earlier member of the same name")
            seen.add(path)
        yield Item(path, image, label or (one.path.parts[0] if len(one.path.parts) > 1 else None))


def _label(sample: list[_Found]) -> str | None:
    for suffix in (".cls", ".txt"):
        for one in sample:
            if one.path.suffix == suffix and (label := _line(one.content)):
                return label
    return None


def _line(content: bytes | Fetched | ImageError) -> str | None:
    """The text if it is one short line, else None."""
    try:
        if isinstance(content, Member) and content.size <= 4 * MAX_LABEL:
            content = content.fetch()
        text = content.decode().strip() if isinstance(content, bytes) else ""
    except (ImageError, UnicodeDecodeError):
        return None
    return text if 0 < len(text) <= MAX_LABEL and len(text.splitlines()) == 1 else None
