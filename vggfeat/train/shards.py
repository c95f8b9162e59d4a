"""Images in tar shards, as webdataset writes them: few large files, which clusters prefer to a million small ones.

    ROOT/train-000000.tar, ... or ROOT/train/*.tar; val alike. In each, for every sample, KEY.jpg (or another image)
    and KEY.cls, its class's number as text. ROOT/classes.txt names the classes, one a line; it may be absent.

Nothing is unpacked: a shard's table of contents is read once, and an image from its place in the shard when it is
wanted, in any order. So order, augmentation and continuing are the same as with plain files.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vggfeat.data.base import SUFFIXES
from vggfeat.errors import DataError, ImageError

MAX_IMAGE = 256 << 20  # bytes
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
        """Its bytes. Raises ImageError where the shard has become shorter or can't be read."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.size)
        except OSError as error:
            raise ImageError(f"{self.shard}: {error.strerror}") from error
        if len(data) < self.size:
            raise ImageError(f"{self.shard}: ends within the image")
        return data


def shards(root: Path, subset: str) -> list[Path]:
    """The shards of a subset, sorted; none where the data set has other forms."""
    return sorted([*root.glob(f"{subset}-*.tar"), *(root / subset).glob("*.tar")])


def read(root: Path, subset: str) -> tuple[list[str], list[Member], np.ndarray]:
    """Names (shard/key.jpg), places and labels of all images, in the order of the shards.

    Raises DataError, naming the shard, where it is damaged or compressed, or a sample lacks its image or label.
    """
    paths, members, labels = [], [], []
    for shard in shards(root, subset):
        for name, member, label in _samples(shard):
            paths.append(f"{shard.name}/{name}")
            members.append(member)
            labels.append(label)
    if not paths:
        lacking = f"holds no sample, KEY.jpg and KEY.cls with no dot in KEY, in {subset}-*.tar or {subset}/*.tar"
        raise DataError(f"{root}: {lacking}; train and val are both shards or both folders")
    return paths, members, np.array(labels, np.int64)


def class_names(root: Path, labels: np.ndarray) -> tuple[str, ...]:
    """The names in classes.txt, else "class 0", ...; raises DataError for labels beyond them."""
    count = int(labels.max()) + 1
    file = root / NAMES
    if not file.exists():
        return tuple(f"class {i}" for i in range(count))
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: can't be read ({error})") from error
    if count > len(names):
        raise DataError(f"{file}: names {len(names)} classes, and a shard has the label {count - 1}; complete it")
    return names


def _samples(shard: Path) -> Iterator[tuple[str, Member, int]]:
    images: dict[str, tuple[str, Member]] = {}
    labels: dict[str, int] = {}
    for info in _contents(shard):
        try:
            info.name.encode()
        except UnicodeEncodeError:
            raise DataError(f"{shard}: {info.name!a} is not UTF-8; write it anew under another name") from None
        path = PurePosixPath(info.name)
        key, _, suffix = path.name.partition(".")  # as webdataset divides names
        key = str(path.parent / key)
        if f".{suffix.lower()}" in SUFFIXES:
            if info.size > MAX_IMAGE:
                raise DataError(f"{shard}: {info.name!a} has {info.size:,} bytes, more than {MAX_IMAGE:,}")
            images[key] = (info.name, Member(shard, info.offset_data, info.size))
        elif suffix == "cls":
            labels[key] = _label(shard, info)
    for key in images.keys() ^ labels.keys():
        raise DataError(f"{shard}: the sample {key!a} has no {'image' if key in labels else 'label (.cls)'}")
    for key, (name, member) in images.items():
        yield name, member, labels[key]


def _contents(shard: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                if info.isreg():
                    yield info
            end = tar.offset
        if os.path.getsize(shard) < end:  # noqa: PTH202
            raise DataError(f"{shard}: ends too early; write it anew")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{shard}: is no whole, uncompressed tar file ({error}); write it anew") from error


def _label(shard: Path, info: tarfile.TarInfo) -> int:
    try:
        data = Member(shard, info.offset_data, min(info.size, MAX_LABEL)).read()
    except ImageError as error:
        raise DataError(f"{shard}: can't be read to its end ({error}); write it anew") from None
    text = data.decode("ascii", errors="replace").strip()
    if not text.isdigit() or int(text) >= MAX_CLASSES:
        raise DataError(f"{shard}: {info.name!a} is {text!a}, and no class's number from 0 on")
    return int(text)
