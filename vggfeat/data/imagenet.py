"""ILSVRC-2012 (Russakovsky et al., 2014), and what has its layout, such as Imagenette: one class an image.

Three layouts are read, below the root or one of PLACES:

    train/<synset>/*.JPEG, val/<synset>/*.JPEG      folders; any names of folders will do
    val/*.JPEG, flat                                with the development kit's ground truth, or Kaggle's table
    test/*.JPEG, flat                               without labels

The kit numbers its classes 1..1000 in an order of its own: they become places among the sorted synsets.
"""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, get_args, overload

import numpy as np

from vggfeat.data.base import Origin, image_files, locate, posix, read_text, shortfall, subfolders, unfollowed
from vggfeat.data.kit import BLACKLISTS, GROUND_TRUTHS, find_kit, kit_numbers, numbers_of
from vggfeat.errors import DataError, UsageError

Subset = Literal["train", "val", "test"]

PLACES = ("ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "imagenet")
ORIGIN = Origin(
    "ilsvrc2012",
    "ILSVRC-2012",
    PLACES,
    "get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from https://image-net.org "
    "and unpack each into a folder of its name",
)
FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "ILSVRC2012_img_train"),
    "val": ("val", "ILSVRC2012_img_val", "validation"),
    "test": ("test", "ILSVRC2012_img_test", "ILSVRC2012_img_test_v10102019"),
}
COUNTS = {"val": 50_000, "test": 100_000}  # of the flat subsets
KAGGLE = "LOC_val_solution.csv"
KAGGLE_PLACES = (".", "..", "../../..")  # from the folder that holds val: beside it, or beside ILSVRC/
MAX_TABLE = 16 << 20  # bytes
NUMBERED = re.compile(r"_val_(\d{8})\.\w+$")


class Files(Sequence[Path]):
    """`folder` joined with each name, made when asked for: a million paths take no memory of their own."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, i: int) -> Path: ...
    @overload
    def __getitem__(self, i: slice) -> "Files": ...
    def __getitem__(self, i: int | slice) -> "Path | Files":
        return Files(self.folder, self.names[i]) if isinstance(i, slice) else self.folder / self.names[i]


@dataclass(frozen=True, eq=False)
class Classified:
    """N images of which each has one class.

    name : of the data set and its subset. classes : synsets (`n01440764`) or folder names, in the order of the
    labels. paths : relative to the data set's folder, POSIX, sorted. images : what to read, absolute.
    labels : int64 (N,), places in `classes`; None for a test set. notes : what is to be known, a line each.
    """

    name: str
    classes: tuple[str, ...]
    paths: Sequence[str]
    images: Sequence[Path]
    labels: np.ndarray | None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def read(
    root: str | os.PathLike[str] | None = None,
    subset: Subset = "val",
    *,
    classes: Sequence[str] | None = None,
    kit: str | os.PathLike[str] | None = None,
    blacklist: bool = False,
) -> Classified:
    """One subset of ILSVRC-2012, or of a data set that is laid out alike; None: $VGGFEAT_DATA/ilsvrc2012.

    classes : these, in this order, and only their images. None: the folders of train where there are some,
        else those of the subset itself, sorted; of flat images the kit's 1000, sorted by synset.
    kit : the development kit's folder, for flat images; None: looked for in the root and beside it.
    blacklist : leave out the validation images that the 2014 kit lists as doubtful (1,762 of 50,000).

    Each folder is listed once and no file is opened. Raises DataError, one line with the remedy, for what is
    missing or in another layout, and for a class that train or `classes` lack; UsageError for another subset.
    """
    if subset not in get_args(Subset):
        raise UsageError(f"no subset {subset!r}; take one of {', '.join(get_args(Subset))}")
    if classes is not None and len(set(classes)) < len(classes):
        raise UsageError("a class is named twice")
    top = locate(ORIGIN, root, lambda place: _folder(place, subset) is not None, f"/{subset}")
    folder = _folder(top, subset)
    assert folder is not None  # that is what was looked for
    kits = find_kit(top, Path(root).resolve() if root is not None else top, kit)
    if subset == "test":
        return _flat_test(top, folder, tuple(classes) if classes is not None else _classes_beside(top, kits))
    below = subfolders(folder)
    if below:
        rows, names, notes = _in_folders(top, subset, below, classes)
    elif subset == "train":
        raise DataError(f"{folder}: training images lie in a folder for each class, {folder.name}/<class>/*.jpg")
    else:
        rows, names, notes = _flat_val(top, folder, classes, kits)
    if blacklist:
        rows, note = _allowed(rows, subset, kits)
        notes.append(note)
    rows.sort()
    paths = tuple(path for path, _ in rows)
    labels = np.fromiter((label for _, label in rows), np.int64, len(rows))
    return Classified(f"{top.name} {subset}", names, paths, Files(top, paths), labels, tuple(notes))


@cache
def synset_names() -> Mapping[str, str]:
    """Synset -> name of the 1000 classes, sorted by synset: the order of fc8's outputs in all published nets.

    >>> list(synset_names().items())[217]
    ('n02102040', 'English springer')
    """
    text = resources.files("vggfeat.data").joinpath("synsets.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def _folder(top: Path, subset: str) -> Path | None:
    return next((top / name for name in FOLDERS[subset] if (top / name).is_dir()), None)


def _classes_beside(top: Path, kits: Sequence[Path]) -> tuple[str, ...]:
    """Train's folders, else the kit's synsets, else the 1000, for images that don't tell."""
    train = _folder(top, "train")
    found = tuple(folder.name for folder in subfolders(train)) if train else ()
    return found or tuple(synset_names())


def _in_folders(
    top: Path, subset: str, below: Sequence[Path], classes: Sequence[str] | None
) -> tuple[list[tuple[str, int]], tuple[str, ...], list[str]]:
    """(path, label) of each image in class folders, the classes, and notes."""
    train = _folder(top, "train")
    beside = [folder.name for folder in subfolders(train)] if train is not None and subset != "train" else []
    names = tuple(classes if classes is not None else beside or [folder.name for folder in below])
    place = {name: i for i, name in enumerate(names)}
    rows: list[tuple[str, int]] = []
    links, left_out = 0, []
    for folder in below:
        if folder.name not in place:
            if classes is None:
                raise DataError(f"{folder}: a class that {train} lacks; add it there or remove it here")
            left_out.append(folder.name)
            continue
        files, skipped = image_files(folder, top)
        links += skipped
        if not files:
            raise DataError(f"{folder}: no image in this class folder{_archive_hint(folder)}; fill it or remove it")
        inside = posix(folder, top)
        rows += [(f"{inside}/{_utf8(file)}", place[folder.name]) for file in files]
    empty = len(names) - (len(below) - len(left_out))
    notes = [f"classes left out, as they were not asked for: {len(left_out):,}"] if left_out else []
    notes += [f"classes without a folder in {subset}: {empty:,}"] if empty else []
    if not rows:
        raise DataError(f"{top / subset}: none of its {len(below)} folders is a class that is asked for")
    return rows, names, notes + unfollowed(links)


def _archive_hint(folder: Path) -> str:
    return " but an archive; unpack it" if any(folder.glob("*.tar")) else ""


def _utf8(file: Path) -> str:
    return file.name if file.name.isascii() else posix(file, file.parent)


def _flat_val(
    top: Path, folder: Path, classes: Sequence[str] | None, kits: Sequence[Path]
) -> tuple[list[tuple[str, int]], tuple[str, ...], list[str]]:
    """The same for flat images, whose classes a table tells."""
    files, links = _flat_images(folder, top)
    synsets, known = _ground_truth(top, folder, [file.name for file in files], kits)
    names = tuple(classes) if classes is not None else known
    place = {name: i for i, name in enumerate(names)}
    inside = posix(folder, top)
    rows = [(f"{inside}/{name}", place[synset]) for name, synset in synsets.items() if synset in place]
    if not rows:
        raise DataError(f"{folder}: none of its images is of a class that is asked for")
    others = len(synsets) - len(rows)
    notes = [f"images left out, as their classes were not asked for: {others:,}"] if others else []
    return rows, names, notes + shortfall("validation images", len(files), COUNTS["val"]) + unfollowed(links)


def _flat_images(folder: Path, top: Path) -> tuple[list[Path], int]:
    files, links = image_files(folder, top)
    if not files:
        raise DataError(f"{folder}: has neither class folders nor images; unpack the data set's archive there")
    return files, links


def _ground_truth(
    top: Path, folder: Path, names: Sequence[str], kits: Sequence[Path]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """File name -> synset, and all synsets, sorted."""
    table = next((top / place / KAGGLE for place in KAGGLE_PLACES if (top / place / KAGGLE).is_file()), None)
    if kits:
        of_image, known = numbers_of(kits[0])
    elif table is not None:
        return _kaggle(table, folder, names), tuple(synset_names())
    else:
        raise DataError(
            f"{folder}: its images lie in no class folders, so the development kit is needed: unpack "
            f"ILSVRC2012_devkit_t12.tar.gz (with {GROUND_TRUTHS[0]} and meta.mat) into {top}, or name it as --kit"
        )
    found = {}
    for name in names:
        match = NUMBERED.search(name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(of_image):
            raise DataError(
                f"{folder / name}: its name has no number in 1..{len(of_image)}, the lines of the ground truth in "
                f"{kits[0]}; keep the archive's names (ILSVRC2012_val_00000001.JPEG)"
            )
        found[name] = of_image[number - 1]
    return found, known


def _kaggle(table: Path, folder: Path, names: Iterable[str]) -> dict[str, str]:
    rows = list(csv.reader(read_text(table, table.parent.resolve(), MAX_TABLE).splitlines()))
    if rows[:1] != [["ImageId", "PredictionString"]]:
        raise DataError(f"{table}: its first line isn't ImageId,PredictionString; get it again")
    known = {row[0]: row[1].split()[0] for row in rows[1:] if len(row) == 2 and row[1].strip()}
    found = {name: known.get(name.rpartition(".")[0], "") for name in names}
    lacking = next((name for name, synset in found.items() if not synset), None)
    if lacking is not None:
        raise DataError(f"{table}: has no row for {folder / lacking}; remove the image or get the table again")
    return found


def _flat_test(top: Path, folder: Path, classes: tuple[str, ...]) -> Classified:
    files, links = _flat_images(folder, top)
    paths = tuple(sorted(posix(file, top) for file in files))
    notes = shortfall("test images", len(files), COUNTS["test"]) + unfollowed(links)
    return Classified(f"{top.name} test", classes, paths, Files(top, paths), None, tuple(notes))


def _allowed(rows: Sequence[tuple[str, int]], subset: str, kits: Sequence[Path]) -> tuple[list[tuple[str, int]], str]:
    """The images that no blacklist names, and a note."""
    if subset != "val":
        raise UsageError(f"the blacklist is of validation images, not of {subset}")
    listed = kit_numbers(kits, BLACKLISTS)
    allowed = []
    for path, label in rows:
        match = NUMBERED.search(path)
        if match is None or int(match[1]) not in listed:
            allowed.append((path, label))
    return allowed, f"images left out, as the kit's blacklist names them: {len(rows) - len(allowed):,}"
