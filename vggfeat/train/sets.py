"""The images of a run: its training and its validation set, decoded ahead if there is room for them."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from vggfeat import images
from vggfeat.data import imagenet, subsets
from vggfeat.data.base import MissingSubsetError
from vggfeat.data.boxed import held_out, read_boxed
from vggfeat.data.boxes_xml import find_voc
from vggfeat.data.imagenet import Classified, synset_names
from vggfeat.errors import DataError, ImageError
from vggfeat.reading import NO_MEMORY
from vggfeat.train import shards
from vggfeat.train.cache import CachedImages, CacheFile, Decoded, cached_images
from vggfeat.train.ranks import Ranks
from vggfeat.train.settings import TrainingSettings
from vggfeat.train.shards import Member

PROBE = 64  # images from whose sizes the memory for all is estimated


@dataclass
class Photos:
    """The images of one subset, by row.

    paths : their names. files : paths, or members of shards. labels : int64 (N,). boxes : float64 (B_i, 4) of each
    image, if they are learnt; sizes : int64 (N, 2), height and width of the images with boxes. exif : whether the
    images are turned as EXIF says; boxes are those of the stored pixels. decoded : all images decoded, in memory or in
    a cache file; empty if each is decoded when it is needed.
    """

    paths: Sequence[str]
    files: Sequence[Path | Member]
    labels: np.ndarray
    boxes: Sequence[np.ndarray] | None = None
    sizes: np.ndarray | None = None
    exif: bool = True
    decoded: list[Decoded] | CachedImages = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def pixels(self, row: int) -> np.ndarray:
        """uint8 (H, W, 3) RGB. Raises ImageError that gives the reason without the file."""
        if self.decoded:
            found = self.decoded[row]
            if isinstance(found, ImageError):
                raise found
            return found
        file = self.files[row]
        source = file.read() if isinstance(file, Member) else file
        try:
            pixels = images.read(source, exif=self.exif)
        except MemoryError:
            raise ImageError(NO_MEMORY) from None
        except ImageError as error:
            name = f"image of {file.size} bytes" if isinstance(file, Member) else file
            raise ImageError(str(error).removeprefix(f"{name}: ")) from None
        if self.sizes is not None and pixels.shape[:2] != self.size(row):
            raise ImageError("has changed since its boxes were read; start again")
        return pixels

    def size(self, row: int) -> tuple[int, int]:
        """Height and width of an image with boxes."""
        assert self.sizes is not None
        height, width = self.sizes[row].tolist()
        return height, width

    def decode_ahead(self, recipe: TrainingSettings, ranks: Ranks, threads: int) -> None:
        """Decode all images once: into memory if they take at most recipe.cache GiB, else into recipe.cache_dir.

        Forked workers share the memory. All processes of a run call it together. Raises VggfeatError if the folder
        cannot be written.
        """
        size = ranks.broadcast(self._decoded_bytes() if ranks.main else 0.0)

        def decode() -> Iterator[Decoded]:
            return self._decode(range(len(self)), threads)

        if recipe.cache and size <= recipe.cache * 2**30:
            self.decoded = list(decode())
        elif recipe.cache_dir is not None:
            file = CacheFile.of(Path(recipe.cache_dir), self.files, exif=self.exif)
            self.decoded = cached_images(file, decode, size, ranks) or []

    def readable(self, rows: Sequence[int], threads: int) -> Iterator[np.ndarray]:
        """The pixels of the readable ones among some rows, in order, decoded a few ahead."""
        return (found for found in self._decode(rows, threads) if not isinstance(found, ImageError))

    def _decode(self, rows: Sequence[int], threads: int) -> Iterator[Decoded]:
        with ThreadPoolExecutor(threads, "decode") as pool:
            left = iter(rows)
            while chunk := list(islice(left, 8 * threads)):
                yield from pool.map(self._pixels_or_error, chunk)

    def _pixels_or_error(self, row: int) -> Decoded:
        try:
            return self.pixels(row)
        except ImageError as error:
            return error

    def _decoded_bytes(self) -> float:
        """About how many bytes all images take, estimated from a sample."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(PROBE, len(self))).astype(int))
        found = map(self._pixels_or_error, rows.tolist())
        sizes = [pixels.nbytes for pixels in found if not isinstance(pixels, ImageError)]
        return len(self) * float(np.mean(sizes)) if sizes else 0.0


@dataclass(frozen=True)
class Sets:
    """The training and the validation set.

    classes : names for people, in the order of the labels. folders : the same as the data set names them (synsets).
    notes : remarks of the reader of the data set, one line each.
    """

    train: Photos
    val: Photos
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def without_boxes(self) -> "Sets":
        """The same photos, for their classes alone."""
        train, val = (replace(photos, boxes=None, sizes=None) for photos in (self.train, self.val))
        return replace(self, train=train, val=val)

    def fingerprint(self) -> str:
        """sha256 of all names, labels and boxes. A run is continued only if it is the same: rows mean the same then."""
        sums = hashlib.sha256("\n".join(self.folders).encode())
        for part in (self.train, self.val):
            sums.update("\0".join(part.paths).encode() + part.labels.astype("<i8").tobytes())
            for boxes in part.boxes or ():
                sums.update(len(boxes).to_bytes(8) + boxes.astype("<f8").tobytes())
        return sums.hexdigest()


def read_sets(root: str | Path, batch: int, read: Callable[..., Classified] = imagenet.read) -> Sets:
    """train/ and val/ below `root`: folders or ILSVRC's layout, as `data.imagenet` reads them, or tar shards.

    Or the photos with boxes of a CSV file or of VOC; the class is that of the largest box. read : reads a subset of
    folders. Raises DataError for a missing subset, a class that only val has, fewer than two classes, or fewer training
    images than a batch.
    """
    if Path(root).suffix.lower() == ".csv" or find_voc(Path(root)) is not None:
        sets = read_boxes(root).without_boxes()
    else:
        sets = _sharded(Path(root)) if shards.shards(Path(root), "train") else _in_folders(root, read)
    if len(sets.classes) < 2:
        count = len(sets.classes)
        raise DataError(f"{root}: training needs two classes, and there is {count}; add images of another class")
    check_batch(root, sets, batch)
    return sets


def check_batch(root: str | Path, sets: Sets, batch: int) -> None:
    """Raise DataError if there are fewer training images than a batch."""
    if len(sets.train) < batch:
        few = f"{len(sets.train)} training images are fewer than a batch of {batch}"
        raise DataError(f"{root}: {few}; give a smaller --batch")


def read_boxes(data: str | Path, images: str | Path | None = None) -> Sets:
    """The photos with boxes that `data.boxed` reads. Without a subset val some of train are held out, the same always.

    Raises DataError if there are no training photos, or some are of a class that only val has.
    """
    train = read_boxed(data, "train", images=images)
    try:
        val, notes = read_boxed(data, "val", images=images, classes=train.classes), train.notes
    except MissingSubsetError:
        train, val = held_out(train)
        held = f"{data}: has no val photos; {len(val)} of train, some of each class, are held out to validate on"
        notes = (*train.notes, held)
    if not len(val):
        raise DataError(f"{data}: has one photo of each class, and none to validate on; add photos, or a subset val")
    photos = [Photos(part.paths, part.images, part.labels, part.boxes, part.sizes, exif=False) for part in (train, val)]
    notes = tuple(dict.fromkeys((*notes, *val.notes)))
    return Sets(photos[0], photos[1], _shown(train.classes), train.classes, notes)


def _in_folders(root: str | Path, read: Callable[..., Classified]) -> Sets:
    for subset in ("train", "val"):
        _check_subset(Path(root), subset)
    train = read(root, "train")
    val = read(root, "val")
    if val.classes != train.classes:  # flat images of all 1000 classes, beside folders of some of them
        val = read(root, "val", classes=train.classes)
    folders = tuple(train.classes)
    return Sets(_photos(train), _photos(val), _shown(folders), folders, (*train.notes, *val.notes))


def _check_subset(root: Path, subset: str) -> None:
    if not any(subsets.find(root / place, subset) for place in (".", *imagenet.PLACES)):
        missing = f"has no {subset}/" if root.is_dir() else "folder not found"
        raise DataError(
            f"{root}: {missing}; give a folder with train/<class>/*.jpg and val/<class>/*.jpg, ILSVRC's own layout, "
            "or shards train-*.tar and val-*.tar"
        )


def _sharded(root: Path) -> Sets:
    left_out = shards.unread_beside(root)
    train, val = Photos(*shards.read(root, "train", left_out)), Photos(*shards.read(root, "val", left_out))
    names = shards.class_names(root, np.concatenate([train.labels, val.labels]))
    for label in sorted(set(val.labels.tolist()) - set(train.labels.tolist())):
        what = f"val has images of {names[label]!r} (label {label}), a class that train does not have"
        raise DataError(f"{root}: {what}; add its training images")
    return Sets(train, val, _shown(names), names, tuple(left_out.lines()))


def _shown(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The names of classes for people."""
    names = synset_names()
    return tuple(names.get(folder, folder) for folder in folders)


def _photos(found: Classified) -> Photos:
    assert found.labels is not None  # only a test set has none
    return Photos(found.paths, found.images, found.labels)
