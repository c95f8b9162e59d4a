"""The images of a run: train and val, what can't be read of them, and decoded pixels that are kept."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from vggfeat import images
from vggfeat.data import imagenet
from vggfeat.data.imagenet import Classified, synset_names
from vggfeat.errors import DataError, ImageError
from vggfeat.train import cache, shards
from vggfeat.train.cache import Found, Kept, Place
from vggfeat.train.ranks import Ranks
from vggfeat.train.recipe import Recipe
from vggfeat.train.shards import Member

PROBE = 64  # images whose size tells how much memory a set would take


@dataclass
class Photos:
    """One subset's images, by row: names, files or members of shards, labels int64 (N,). `cached` holds all of
    them decoded, in memory or on the disk; nothing where they are decoded when they are wanted."""

    paths: Sequence[str]
    files: Sequence[Path | Member]
    labels: np.ndarray
    cached: list[Found] | Kept = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, row: int) -> np.ndarray:
        """uint8 (H, W, 3) RGB. Raises ImageError, with the reason only."""
        if self.cached:
            found = self.cached[row]
            if isinstance(found, ImageError):
                raise found
            return found
        file = self.files[row]
        source = file.read() if isinstance(file, Member) else file
        try:
            return images.read(source)
        except ImageError as error:
            name = f"image of {file.size} bytes" if isinstance(file, Member) else file
            raise ImageError(str(error).removeprefix(f"{name}: ")) from None

    def keep(self, recipe: Recipe, ranks: Ranks, threads: int) -> None:
        """Decode all images once: into memory, which forked workers share, where that takes recipe.cache GiB at most;
        else into a file in recipe.cache_dir, if one is named. All processes of a run call it together.

        Raises VggfeatError for a folder that can't be written.
        """
        size = ranks.told(self._decoded_bytes() if ranks.main else 0.0)

        def decoded() -> Iterator[Found]:
            return self._decoded(range(len(self)), threads)

        if recipe.cache and size <= recipe.cache * 2**30:
            self.cached = list(decoded())
        elif recipe.cache_dir is not None:
            place = Place.of(Path(recipe.cache_dir), self.files)
            self.cached = cache.keep(place, decoded, size, ranks) or []

    def readable(self, rows: Sequence[int], threads: int) -> Iterator[np.ndarray]:
        """The pixels of those rows that can be read, in order, decoded a few ahead."""
        return (found for found in self._decoded(rows, threads) if not isinstance(found, ImageError))

    def _decoded(self, rows: Sequence[int], threads: int) -> Iterator[Found]:
        with ThreadPoolExecutor(threads, "decode") as pool:
            left = iter(rows)
            while chunk := list(islice(left, 8 * threads)):
                yield from pool.map(self._read, chunk)

    def _read(self, row: int) -> Found:
        try:
            return self.pixels(row)
        except ImageError as error:
            return error

    def _decoded_bytes(self) -> float:
        """About how many bytes all take, by a sample."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(PROBE, len(self))).astype(int))
        sizes = [found.nbytes for found in map(self._read, rows.tolist()) if not isinstance(found, ImageError)]
        return len(self) * float(np.mean(sizes)) if sizes else 0.0


@dataclass(frozen=True)
class Sets:
    """What is trained on and judged by. classes : names as people read them, in the order of the labels;
    `folders` the same as the data set has them (synsets). notes : what is to be known, a line each."""

    train: Photos
    val: Photos
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """sha256 of all names and labels: rows mean the same in a continued run only where it is the same."""
        sums = hashlib.sha256("\n".join(self.folders).encode())
        for part in (self.train, self.val):
            sums.update("\0".join(part.paths).encode() + part.labels.astype("<i8").tobytes())
        return sums.hexdigest()


def read_sets(root: str | Path, batch: int, read: Callable[..., Classified] = imagenet.read) -> Sets:
    """train/ and val/ below `root`: folders or ILSVRC's layout, as data.imagenet reads them, or tar shards.

    Raises DataError for what is missing, a val class that train lacks, fewer than two classes, or fewer training
    images than a batch.
    """
    sets = _sharded(Path(root)) if shards.shards(Path(root), "train") else _in_folders(root, read)
    if len(sets.classes) < 2:
        raise DataError(f"{root}: training takes two classes, train/<class>/*.jpg, and there is {len(sets.classes)}")
    if len(sets.train) < batch:
        count = f"{len(sets.train)} training images"
        raise DataError(f"{root}: {count} are fewer than a batch of {batch}: give a smaller --batch")
    return sets


def _in_folders(root: str | Path, read: Callable[..., Classified]) -> Sets:
    for subset in ("train", "val"):
        _look_for(Path(root), subset)
    train = read(root, "train")
    val = read(root, "val")
    if val.classes != train.classes:  # flat images of all 1000 classes, beside the folders of some
        val = read(root, "val", classes=train.classes)
    folders = tuple(train.classes)
    return Sets(_photos(train), _photos(val), _shown(folders), folders, (*train.notes, *val.notes))


def _look_for(root: Path, subset: str) -> None:
    folders = [root / place / name for place in (".", *imagenet.PLACES) for name in imagenet.FOLDERS[subset]]
    if not any(folder.is_dir() for folder in folders):
        lacking = f"has no {subset}/" if root.is_dir() else "no such folder"
        raise DataError(
            f"{root}: {lacking}; training takes a folder with train/<class>/*.jpg and val/<class>/*.jpg, ILSVRC's own "
            "layout, or shards train-*.tar and val-*.tar"
        )


def _sharded(root: Path) -> Sets:
    train, val = Photos(*shards.read(root, "train")), Photos(*shards.read(root, "val"))
    names = shards.class_names(root, np.concatenate([train.labels, val.labels]))
    for label in sorted(set(val.labels.tolist()) - set(train.labels.tolist())):
        raise DataError(f"{root}: val has images of {names[label]!r} (label {label}), a class that train lacks")
    return Sets(train, val, _shown(names), names)


def _shown(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The names of classes as people read them."""
    names = synset_names()
    return tuple(names.get(folder, folder) for folder in folders)


def _photos(found: Classified) -> Photos:
    assert found.labels is not None  # only a test set has none
    return Photos(found.paths, found.images, found.labels)
