"""Images in tar shards as webdataset writes them: few large files, which clusters prefer to a million small ones.

    ROOT/train-000000.tar, ... or ROOT/train/*.tar, and the same for val. For each sample they contain KEY.jpg (or
    another image) and KEY.cls, the number of its class as text. ROOT/classes.txt, which is optional, has the names of
    the classes, one per line.

Nothing is unpacked: the table of a shard's members is read once, then each image from its place in the shard, in any
order. So order, augmentation and resumed runs are the same as with plain files.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vggfeat.data.base import SUFFIXES
from vggfeat.errors import DataError, ImageError
from vggfeat.sources import tar
from vggfeat.sources.item import MAX_BYTES

MAX_LABEL = 32  # bytes of a .cls
MAX_CLASSES = 100_000
NAMES = "classes.txt"


@dataclass(frozen=True)
class Member:
    """An image within a shard."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Its bytes. Raises ImageError if the shard has become shorter or cannot be read."""
        return tar.read_at(self.shard, self.offset, self.size)


def shards(root: Path, subset: str) -> list[Path]:
    """The shards of a subset, sorted; none if the data set has another form."""
    return sorted([*root.glob(f"{subset}-*.tar"), *(root / subset).glob("*.tar")])


def read(root: Path, subset: str) -> tuple[list[str], list[Member], np.ndarray]:
    """Names (shard/key.jpg), places and labels of all images, in the order of the shards.

    Raises DataError that names the shard if it is damaged or compressed, or if a sample has no image or no label.
    """
    paths, members, labels = [], [], []
    for shard in shards(root, subset):
        for name, member, label in _samples(shard):
            paths.append(f"{shard.name}/{name}")
            members.append(member)
            labels.append(label)
    if not paths:
        missing = f"has no sample, KEY.jpg and KEY.cls with no dot in KEY, in {subset}-*.tar or {subset}/*.tar"
        raise DataError(f"{root}: {missing}; give train and val both as shards or both as folders")
    return paths, members, np.array(labels, np.int64)


def class_names(root: Path, labels: np.ndarray) -> tuple[str, ...]:
    """The names in classes.txt, else "class 0", ... Raises DataError for labels beyond them."""
    count = int(labels.max()) + 1
    file = root / NAMES
    if not file.exists():
        return tuple(f"class {i}" for i in range(count))
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read ({error}); save it as UTF-8 text") from error
    if count > len(names):
        raise DataError(f"{file}: names {len(names)} classes, and a shard has the label {count - 1}; complete it")
    return names


def _samples(shard: Path) -> Iterator[tuple[str, Member, int]]:
    images: dict[str, tuple[str, Member]] = {}
    labels: dict[str, int] = {}
    for name, member in _members(shard):
        path = PurePosixPath(name)
        key, _, suffix = path.name.partition(".")  # as webdataset divides names
        key = str(path.parent / key)
        if f".{suffix.lower()}" in SUFFIXES:
            if member.size > MAX_BYTES:
                raise DataError(f"{shard}: {name!a} has {member.size:,} bytes, more than {MAX_BYTES:,}; remove it")
            images[key] = (name, member)
        elif suffix == "cls":
            labels[key] = _label(name, member)
    for key in images.keys() ^ labels.keys():
        raise DataError(f"{shard}: the sample {key!a} has no {'image' if key in labels else 'label (.cls)'}; add it")
    for key, (name, member) in images.items():
        yield name, member, labels[key]


def _members(shard: Path) -> Iterator[tuple[str, Member]]:
    """(name, place) of each file whose bytes lie in the shard as they are. Names may lead out: nothing is unpacked."""
    try:
        with shard.open("rb") as file:
            for found in tar.members(file):
                if found.offset is not None:
                    found.name.encode()
                    yield found.name, Member(shard, found.offset, found.size)
    except UnicodeEncodeError as error:
        raise DataError(f"{shard}: {error.object!a} is not UTF-8; write it again under another name") from None
    except (tarfile.ReadError, OSError) as error:
        raise DataError(f"{shard}: is not a whole, uncompressed tar file ({error}); write it again") from error


def _label(name: str, member: Member) -> int:
    try:
        data = tar.read_at(member.shard, member.offset, min(member.size, MAX_LABEL))
    except ImageError as error:
        raise DataError(f"{member.shard}: cannot be read to its end ({error}); write it again") from None
    text = data.decode("ascii", errors="replace").strip()
    if not text.isdigit() or int(text) >= MAX_CLASSES:
        raise DataError(f"{member.shard}: {name!a} is {text!a}, not the number of a class from 0 on; write it again")
    return int(text)
