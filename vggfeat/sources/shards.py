"""The images in tar files, such as WebDataset's shards."""

import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vggfeat._util.files import Signature, signature
from vggfeat.errors import ImageError
from vggfeat.sources import tar
from vggfeat.sources.item import MAX_BYTES, Fetched, Item, first_folder, utf8
from vggfeat.store.names import Names

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
IMAGES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")  # first bytes of gzip, bzip2, xz
SAMPLE = 32  # members of one sample at most
MAX_LABEL = 100  # characters


@dataclass(frozen=True, slots=True)
class InArchive:
    """A file in an archive that is not compressed. state : signature of the archive when it was listed."""

    archive: Path
    state: Signature | None
    offset: int
    size: int

    def fetch(self) -> bytes:
        """Raises ImageError, also if the archive has changed."""
        return tar.read_at(self.archive, self.offset, self.size, self.state)


class _Found(NamedTuple):
    path: PurePosixPath
    content: bytes | Fetched | ImageError


def is_shard(name: str) -> bool:
    """Whether a name is that of a tar file."""
    return name.lower().endswith(SUFFIXES)


def items(file: Path, name: str, label: str | None = None) -> Iterator[Item]:
    """The item of a file; of a tar file the items within it, which have labels of their own."""
    if is_shard(name):
        yield from _in_archive(file, name)
    else:
        yield Item(name, file, label)


def _in_archive(archive: Path, name: str) -> Iterator[Item]:
    try:
        if not stat.S_ISREG(archive.stat().st_mode):  # opening a FIFO would wait
            yield Item(name, ImageError("not a regular file"))
            return
        with archive.open("rb") as file:
            compressed = file.read(8).startswith(COMPRESSED)
            file.seek(0)
            yield from stream(file, name) if compressed else _items(_found(file, archive), name)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        yield Item(name, ImageError(getattr(error, "strerror", None) or str(error)))


def stream(file: IO[bytes], name: str) -> Iterator[Item]:
    """The items of an open tar file that can only be read from front to back: compressed, or at an address.

    They are called name/member. The label is the text of the member's .cls, or one line of its .txt; else its first
    folder. If the file is damaged, an item with its name and the reason follows those before the damage.
    """
    yield from _items(_found(file, None), name)


def _found(file: IO[bytes], archive: Path | None) -> Iterator[_Found]:
    """The members, without folders and hidden files. archive : where contents can be read later, if anywhere."""
    state = signature(file) if archive else None
    for member in tar.members(file, stream=archive is None):
        path = PurePosixPath(utf8(member.name))
        hidden = any(part.startswith(".") and part != ".." for part in path.parts)
        if member.kind != "folder" and not hidden:
            yield _Found(path, _content(member, path, archive, state))


def _content(
    member: tar.Member, path: PurePosixPath, archive: Path | None, state: Signature | None
) -> bytes | InArchive | ImageError:
    if member.kind == "link":
        return ImageError("is a link, which is not followed")
    if member.kind != "file":
        return ImageError("not a regular file")
    if path.is_absolute() or ".." in path.parts:
        return ImageError("its name leads out of the archive")
    if member.size > MAX_BYTES:
        return ImageError(f"has {member.size:,} bytes, more than {MAX_BYTES:,}")
    if archive and member.offset is not None:
        return InArchive(archive, state, member.offset, member.size)
    return ImageError("cannot be read") if member.content is None else member.content


def _items(found: Iterator[_Found], name: str) -> Iterator[Item]:
    seen, sample = Names(), list[_Found]()
    damage: Exception | None = None
    while True:
        try:
            one = next(found, None)
        except tarfile.ReadError as error:
            one, damage = None, error
        if sample and (one is None or _key(one) != _key(sample[0]) or _is_full(sample)):
            yield from _images(sample, name, seen)
            sample = []
        if one is None:
            break
        sample.append(one)
    if damage is not None:
        yield Item(name, ImageError(f"cannot be read to its end ({damage}); the images before are described"))


def _key(one: _Found) -> tuple[PurePosixPath, str]:
    """WebDataset's key: members whose names are equal up to the first dot are one sample."""
    return one.path.parent, one.path.name.split(".")[0]


def _is_full(sample: list[_Found]) -> bool:
    held = sum(len(one.content) for one in sample if isinstance(one.content, bytes))
    return len(sample) == SAMPLE or held > MAX_BYTES


def _images(sample: list[_Found], name: str, seen: Names) -> Iterator[Item]:
    """The images of a sample; all of its members if none has the name of an image."""
    named = [one for one in sample if one.path.suffix.lower() in IMAGES]
    label = _label(sample) if named else None
    for one in named or sample:
        inside, image = one.path.as_posix().lstrip("/"), one.content
        path = f"{name}/{inside}"
        if not seen.add(path):  # unpacking would overwrite the first one
            path, image = f"{path}#{len(seen)}", ImageError("the archive has another member of this name before it")
            seen.add(path)
        yield Item(path, image, label or first_folder(inside))


def _label(sample: list[_Found]) -> str | None:
    for suffix in (".cls", ".txt"):
        for one in sample:
            if one.path.suffix == suffix and (label := _line(one.content)):
                return label
    return None


def _line(content: bytes | Fetched | ImageError) -> str | None:
    """A short line of text; None if the content is something else."""
    try:
        if isinstance(content, InArchive) and content.size <= 4 * MAX_LABEL:
            content = content.fetch()
        text = content.decode().strip() if isinstance(content, bytes) else ""
    except (ImageError, UnicodeDecodeError):
        return None
    return text if 0 < len(text) <= MAX_LABEL and len(text.splitlines()) == 1 else None
