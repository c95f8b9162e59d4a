"""Training images in tar shards, as webdataset writes them: clusters prefer a few large files to a million small ones.

    ROOT/train-000000.tar, ... or ROOT/train/*.tar, and the same for val; `data.subsets` has other names of both. Each
    sample has two files: KEY.jpg (or another image suffix) and KEY.cls, the number of its class as text; other files
    are left out. ROOT/classes.txt is optional and names the classes, one per line.

Nothing is unpacked. The table of contents of a shard is read once; each image is then read from its place in the shard,
in any order. So order, augmentation and resuming are the same as with plain files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import read_text
from vggfeat.data import subsets
from vggfeat.data.listing import Folder, add_file, contents, subfolders
from vggfeat.errors import DataError, ImageError
from vggfeat.formats import SUBSETS, SUFFIXES, subset_of
from vggfeat.sources import tar
from vggfeat.spec import MAX_BYTES

MAX_LABEL = 32  # bytes of a .cls
MAX_CLASSES = 100_000
NAMES = "classes.txt"
MAX_NAMES = 2**24  # bytes
OUTSIDE = "images left out, because they are in no shard"
BESIDE = "folders left out, because they are beside shards"
IRREGULAR = "links and devices left out of shards"


@dataclass(frozen=True)
class Member:
    """An image within a shard."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes of the image. Raises ImageError if the shard is unreadable or has become shorter."""
        return tar.read_at(self.shard, self.offset, self.size)


def shards(root: Path, subset: str) -> list[Path]:
    """The shards of a subset, sorted; empty if the data set is not in shards.

    Tars beside class folders with images are no shards: they may be the archives from which the folders came.
    """
    beside = [file for file in root.glob("*-*.tar") if subset_of(file.name.partition("-")[0]) == subset]
    folder = subsets.find(root, subset)
    if folder is None or any(contents(below, LeftOut())[0] for below in subfolders(folder)):
        return sorted(beside)
    return sorted([*beside, *Path(folder.path).glob("*.tar")])


def unread_beside(root: Path) -> LeftOut:
    """What is not read beside the shards of train and val."""
    used = [file.relative_to(root).as_posix() for subset in SUBSETS for file in shards(root, subset)]
    left_out, top = LeftOut([NAMES, *used]), Folder.root(root)
    for folder in (top, subsets.find(root, "train"), subsets.find(root, "val")):
        if folder is not None:
            images, below = contents(folder, left_out)
            left_out.add(OUTSIDE, *images)
            left_out.add(BESIDE, *(inner.name for inner in below if folder is not top))
    return left_out


def read(root: Path, subset: str, left_out: LeftOut) -> tuple[list[str], list[Member], np.ndarray]:
    """Names (shard/key.jpg), places and labels (int64, shape (N,)) of all images, in the order of the shards.

    Other files in the shards are counted in `left_out`. Raises DataError that names the shard if it is damaged or
    compressed, or if a sample has two images, no image or no label.
    """
    paths, members, labels = [], [], []
    for shard in shards(root, subset):
        for name, member, label in _samples(shard, left_out):
            paths.append(f"{shard.name}/{name}")
            members.append(member)
            labels.append(label)
    if not paths:
        lacking = f"no sample (KEY.jpg and KEY.cls, no dot in KEY) in {subset}-*.tar or {subset}/*.tar"
        raise DataError(f"{root}: {lacking}; train and val must both be shards, or both folders")
    return paths, members, np.array(labels, np.int64)


def class_names(root: Path, labels: np.ndarray) -> tuple[str, ...]:
    """The names in classes.txt, else "class 0", ...; raises DataError for labels beyond them."""
    count = int(labels.max()) + 1
    file = root / NAMES
    if not file.exists():
        return tuple(f"class {i}" for i in range(count))
    try:
        names = tuple(line.strip() for line in read_text(file, MAX_NAMES).splitlines() if line.strip())
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise DataError(f"{file}: cannot be read ({reason}); write the name of a class on each line") from error
    if count > len(names):
        raise DataError(
            f"{file}: names {len(names)} classes, but a shard has the label {count - 1}; add the missing names"
        )
    return names


def _samples(shard: Path, left_out: LeftOut) -> Iterator[tuple[str, Member, int]]:
    images: dict[str, tuple[str, Member]] = {}
    labels: dict[str, int] = {}
    for name, member in _contents(shard, left_out):
        path = PurePosixPath(name)
        key, _, suffix = path.name.partition(".")  # as webdataset divides names
        key = str(path.parent / key)
        if f".{suffix.lower()}" in SUFFIXES:
            if member.size > MAX_BYTES:
                raise DataError(f"{shard}: {name!a} has {member.size:,} bytes, more than {MAX_BYTES:,}")
            if key in images:
                raise DataError(f"{shard}: a sample has two images, {images[key][0]!a} and {name!a}; keep one of them")
            images[key] = (name, member)
        elif suffix.lower() == "cls":
            labels[key] = _label(name, member)
        elif not path.name.startswith("."):
            add_file(left_out, f"{shard.name}/{name}")
    if images and not labels:
        raise DataError(
            f"{shard}: has images, but no labels (KEY.cls); add them, or if it is the archive of one class, "
            "unpack it into a class folder"
        )
    for key in images.keys() ^ labels.keys():
        raise DataError(f"{shard}: the sample {key!a} has no {'image' if key in labels else 'label (.cls)'}")
    for key, (name, member) in images.items():
        yield name, member, labels[key]


def _contents(shard: Path, left_out: LeftOut) -> Iterator[tuple[str, Member]]:
    """The regular files of a shard. Names that lead out of it are harmless, because nothing is unpacked."""
    try:
        with shard.open("rb") as file:
            for entry in tar.entries(file, stream=False):
                if not entry.regular:
                    left_out.add(IRREGULAR, f"{shard.name}/{entry.name}")
                    continue
                if entry.offset is None:
                    raise DataError(f"{shard}: {entry.name!a} is a sparse file; write the shard again without it")
                entry.name.encode()
                yield entry.name, Member(shard, entry.offset, entry.size)
    except DataError:
        raise
    except UnicodeEncodeError as error:
        raise DataError(f"{shard}: {error.object!a} is not UTF-8; write it again under another name") from None
    except Exception as error:  # hostile bytes make tarfile raise errors of many types
        raise DataError(
            f"{shard}: is not a complete, uncompressed tar file ({reason_of(error)}); write it again"
        ) from error


def _label(name: str, member: Member) -> int:
    try:
        data = Member(member.shard, member.offset, min(member.size, MAX_LABEL)).read()
    except ImageError as error:
        raise DataError(f"{member.shard}: cannot be read to its end ({reason_of(error)}); write it again") from None
    text = data.decode("ascii", errors="replace").strip()
    if not text.isdigit() or int(text) >= MAX_CLASSES:
        raise DataError(f"{member.shard}: {name!a} is {text!a}; write the number of a class, from 0 on")
    return int(text)
