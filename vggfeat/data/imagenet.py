"""ILSVRC-2012 (Russakovsky et al., 2014) and data sets with its layout, such as Imagenette: one class per image.

Four layouts are read, in the root or in one of PLACES; `data.subsets` has other names of train, val and test:

    train/<synset>/*.JPEG, val/<synset>/*.JPEG      class folders, with any names
    val/*.JPEG                                      flat, with the development kit's ground truth, or Kaggle's table
    test/*.JPEG                                     flat, without labels
    <synset>/*.JPEG                                 class folders only, which are val

The kit numbers its classes 1..1000 in an order of its own; labels are numbers of the sorted synsets.
"""

import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Literal, overload

import numpy as np

from vggfeat._util.csv_files import parse_csv
from vggfeat._util.left_out import LeftOut
from vggfeat._util.options import check_choice
from vggfeat.data import subsets
from vggfeat.data.base import Origin, locate, read_text, shortfall
from vggfeat.data.kit import BLACKLISTS, GROUND_TRUTHS, find_kit, kit_classes, kit_numbers, numbers_of
from vggfeat.data.listing import LOOSE, Folder, class_images, contents, subfolders
from vggfeat.errors import DataError, UsageError

Subset = Literal["train", "val", "test"]

PLACES = ("ILSVRC2012", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "imagenet")
ORIGIN = Origin(
    "ilsvrc2012",
    "ILSVRC-2012",
    PLACES,
    "get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from https://image-net.org "
    "and unpack each into a folder of its name, or take images of your own in val/<class>/ or <class>/",
)
COUNTS = {"val": 50_000, "test": 100_000}  # of the flat subsets
KAGGLE = "LOC_val_solution.csv"
KAGGLE_PLACES = (".", "..", "../../..")  # relative to the folder of val: beside it, or beside ILSVRC/
MAX_TABLE = 16 << 20  # bytes
NUMBERED = re.compile(r"_val_(\d{8})\.\w+$")


class Files(Sequence[Path]):
    """The files of a folder by name. Each path is made when it is read: a million paths would take much memory."""

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
    """N images with one class each.

    Attributes
    ----------
    name : str
        The data set and its subset.
    classes : tuple of str
        Synsets such as `n01440764`, or names of class folders, in the order of the labels.
    paths : sequence of str
        N names relative to the data set's folder, with slashes, sorted.
    images : sequence of path
        N absolute paths, to read the images.
    labels : ndarray, int64, shape (N,), or None
        The position of each image's class in `classes`; None for a test set without class folders.
    notes : tuple of str
        Remarks for people, such as what was left out.
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
    """Read a subset of ILSVRC-2012, or of a data set with the same layout.

    Each folder is listed once; no image is opened.

    Parameters
    ----------
    root : str or path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/ilsvrc2012.
    subset : {"train", "val", "test"}
    classes : sequence of str, optional
        Read only images of these classes, numbered in this order. Default: the folders of train, or if there are none,
        those of the subset, sorted; for flat images the kit's 1000 synsets, sorted.
    kit : str or path, optional
        Folder of the development kit, for flat images. Default: looked for in the root and beside it.
    blacklist : bool
        Leave out the validation images that the 2014 kit lists as doubtful (1,762 of 50,000).

    Returns
    -------
    Classified

    Raises
    ------
    DataError
        If something is missing, damaged or in another layout, or if an image's class is not one of train's.
    UsageError
        If there is no such subset, a class is named twice, or the blacklist is for another subset than val.
    """
    check_choice("subset", subset, Subset)
    if classes is not None and len(set(classes)) < len(classes):
        raise UsageError("a class is named twice")
    if blacklist and subset != "val":
        raise UsageError(f"the blacklist is of validation images, not of {subset}; leave it out")
    top = locate(ORIGIN, root, lambda place: _folder(place, subset) is not None, f"/{subset}")
    folder = _folder(top, subset)
    assert folder is not None  # `locate` looked for it
    kits = find_kit(top, Path(root).resolve() if root is not None else top, kit)
    left_out = LeftOut()
    images, below = contents(folder, left_out)
    if below:
        left_out.add(LOOSE, *images)
        rows, names, notes = _in_folders(top, subset, below, classes, left_out)
        notes += [] if folder.name else [f"read as val, since {top.name} has class folders, but no folder val"]
    elif subset == "train":
        raise DataError(f"{folder.path}: training images lie in a folder for each class, {folder.title}/<class>/*.jpg")
    elif not images:
        raise DataError(f"{folder.path}: has neither class folders nor images; unpack the data set's archive there")
    elif subset == "test":
        return _flat_test(top, images, tuple(classes) if classes is not None else _classes_beside(top, kits), left_out)
    else:
        rows, names, notes = _flat_val(top, Path(folder.path), images, classes, kits)
    if blacklist:
        rows, note = _allowed(rows, kits)
        notes.append(note)
    rows.sort()
    paths = tuple(path for path, _ in rows)
    labels = np.fromiter((label for _, label in rows), np.int64, len(rows))
    name = f"{top.name} {subset}" if folder.name else top.name
    return Classified(name, names, paths, Files(top, paths), labels, (*notes, *left_out.lines()))


@cache
def synset_names() -> Mapping[str, str]:
    """Return synset -> name of the 1000 classes, sorted by synset, as the outputs of fc8 in all published nets.

    >>> list(synset_names().items())[217]
    ('n02102040', 'English springer')
    """
    text = resources.files("vggfeat.data").joinpath("synsets.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def train_classes(top: Path) -> tuple[str, ...]:
    """The folders of train, sorted; () if there is no train."""
    train = subsets.find(top, "train")
    return tuple(folder.title for folder in subfolders(train)) if train is not None else ()


def _folder(top: Path, subset: str) -> Folder | None:
    """The folder of a subset. A root that has class folders, but no folder of a subset, is val."""
    found = subsets.find(top, subset)
    if found is None and subset == "val" and top.is_dir():
        below = subfolders(Folder.root(top))
        named = [one for folders in subsets.by_subset(below).values() for one in folders]
        if not any(map(subfolders, named)) and any(contents(folder, LeftOut())[0] for folder in below):
            return Folder.root(top)
    return found


def _in_folders(
    top: Path, subset: str, below: Sequence[Folder], classes: Sequence[str] | None, left_out: LeftOut
) -> tuple[list[tuple[str, int]], tuple[str, ...], list[str]]:
    """(path, label) of each image in class folders; the classes; notes."""
    beside = train_classes(top) if subset != "train" else ()
    names = tuple(classes if classes is not None else beside or [folder.title for folder in below])
    place = {name: i for i, name in enumerate(names)}
    rows: list[tuple[str, int]] = []
    others = 0
    for folder in below:
        if folder.title in place:
            rows += [(path, place[folder.title]) for path in class_images(folder, left_out)]
        elif classes is None:
            raise DataError(
                f"{folder.path}: is a class that train does not have; add it to train, or remove this folder"
            )
        else:
            others += 1
    empty = len(names) - (len(below) - others)
    notes = [f"classes left out, because they were not asked for: {others:,}"] if others else []
    notes += [f"classes without a folder in {subset}: {empty:,}"] if empty else []
    if not rows:
        above = Path(below[0].path).parent
        raise DataError(f"{above}: none of its {len(below)} folders is one of the given classes; name others")
    return rows, names, notes


def _flat_val(
    top: Path, folder: Path, images: Sequence[str], classes: Sequence[str] | None, kits: Sequence[Path]
) -> tuple[list[tuple[str, int]], tuple[str, ...], list[str]]:
    """(path, label) of each flat image, with the classes of a table; the classes; notes."""
    synsets, known = _ground_truth(top, folder, images, kits)
    names = tuple(classes) if classes is not None else known
    place = {name: i for i, name in enumerate(names)}
    rows = [(path, place[synset]) for path, synset in synsets.items() if synset in place]
    if not rows:
        raise DataError(f"{folder}: none of its images has one of the given classes; name others")
    others = len(synsets) - len(rows)
    notes = [f"images left out, because their classes were not asked for: {others:,}"] if others else []
    return rows, names, notes + shortfall("validation images", len(images), COUNTS["val"])


def _flat_test(top: Path, images: Sequence[str], classes: tuple[str, ...], left_out: LeftOut) -> Classified:
    paths = tuple(sorted(images))
    notes = shortfall("test images", len(images), COUNTS["test"]) + left_out.lines()
    return Classified(f"{top.name} test", classes, paths, Files(top, paths), None, tuple(notes))


def _classes_beside(top: Path, kits: Sequence[Path]) -> tuple[str, ...]:
    """The classes of a test set: the folders of train, else the kit's synsets, else the 1000 synsets."""
    return train_classes(top) or kit_classes(kits) or tuple(synset_names())


def _ground_truth(
    top: Path, folder: Path, images: Sequence[str], kits: Sequence[Path]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Path -> synset of each image, and all synsets, sorted."""
    table = next((top / place / KAGGLE for place in KAGGLE_PLACES if (top / place / KAGGLE).is_file()), None)
    if kits:
        of_image, known = numbers_of(kits[0])
    elif table is not None:
        return _kaggle(table, top, images), tuple(synset_names())
    else:
        raise DataError(
            f"{folder}: its images are not in class folders, so the development kit is needed: unpack "
            f"ILSVRC2012_devkit_t12.tar.gz (with {GROUND_TRUTHS[0]} and meta.mat) into {top}, or name it as --kit"
        )
    found = {}
    for path in images:
        match = NUMBERED.search(path)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(of_image):
            raise DataError(
                f"{top / path}: its name has no number in 1..{len(of_image)}, a line of the ground truth in "
                f"{kits[0]}; keep the archive's names (ILSVRC2012_val_00000001.JPEG)"
            )
        found[path] = of_image[number - 1]
    return found, known


def _kaggle(table: Path, top: Path, images: Iterable[str]) -> dict[str, str]:
    text = read_text(table, table.parent.resolve(), MAX_TABLE)
    try:
        rows = list(parse_csv(io.StringIO(text, newline="")))
    except ValueError as error:
        raise DataError(f"{table}: is no table ({error}); get it again") from None
    if rows[:1] != [["ImageId", "PredictionString"]]:
        raise DataError(f"{table}: its first line is not ImageId,PredictionString; get it again")
    known = {row[0]: row[1].split()[0] for row in rows[1:] if len(row) == 2 and row[1].strip()}
    found = {path: known.get(PurePosixPath(path).stem, "") for path in images}
    lacking = next((path for path, synset in found.items() if synset not in synset_names()), None)
    if lacking is not None:
        raise DataError(f"{table}: has no row for {top / lacking} with a synset; remove it or get the table again")
    return found


def _allowed(rows: Sequence[tuple[str, int]], kits: Sequence[Path]) -> tuple[list[tuple[str, int]], str]:
    """The images that are not on the kit's blacklist, and a note."""
    listed = kit_numbers(kits, BLACKLISTS)
    numbers = [NUMBERED.search(path) for path, _ in rows]
    allowed = [row for row, match in zip(rows, numbers, strict=True) if match is None or int(match[1]) not in listed]
    return allowed, f"images left out, because the kit's blacklist names them: {len(rows) - len(allowed):,}"
