"""ImageSet, which every reader returns, and what the readers share: finding a data set and reading its texts."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggfeat._util import regular_files
from vggfeat._util.printable import reason_of
from vggfeat.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set of N samples and K classes.

    A sample is an image or, in the action sets, a part of one.

    Parameters
    ----------
    name : str
        Name of the data set, as in `READERS`.
    classes : tuple of str
        K class names, in the order of the data set.
    paths : tuple of str
        N unique sample names, sorted: the POSIX paths of the images, relative to the data set's folder. If several
        samples share an image, `#1`, `#2`, ... follow.
    images : sequence of Path or ndarray
        N images to read: absolute paths, or arrays, uint8, shape (H, W, 3), RGB.
    labels : ndarray, bool, shape (N, K)
        Which classes a sample has.
    ignore : ndarray, bool, shape (N, K)
        Which classes a sample is ignored for, in training and in evaluation; its labels are False there.
    subset : ndarray of str, shape (N,), optional
        "train", "val" or "test", if the data set defines subsets.
    boxes : ndarray, int, shape (N, 4), optional
        x0, y0, x1, y1 in pixels from 0, if a sample is the part image[y0:y1, x0:x1] of its image. A box may lie
        partly or wholly outside its image.
    listed : ndarray, bool, shape (N, K), optional
        Which samples need a score for a class, if the data set lists them for each class.
    notes : tuple of str
        Differences from the published data set, and what was left out, one line each.

    Raises
    ------
    UsageError
        If the paths are not sorted and unique, or the lengths differ.
    """

    name: str
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    images: Sequence[Path | np.ndarray]
    labels: np.ndarray
    ignore: np.ndarray
    subset: np.ndarray | None = None
    boxes: np.ndarray | None = None
    listed: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(a >= b for a, b in pairwise(self.paths)):  # a seed must give the same split everywhere
            raise UsageError(f"{self.name}: paths must be sorted and unique")
        shape = (len(self.paths), len(self.classes))
        if len(self.images) != shape[0] or self.labels.shape != shape or self.ignore.shape != shape:
            raise UsageError(f"{self.name}: images, labels and ignore must match {shape[0]} paths, {shape[1]} classes")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def label_index(self) -> np.ndarray:
        """The class of each sample.

        Returns
        -------
        ndarray, int, shape (N,)
            Positions in `classes`.

        Raises
        ------
        UsageError
            If a sample does not have exactly one class.
        """
        if not (self.labels.sum(axis=1) == 1).all():
            raise UsageError(f"{self.name}: an image may have several classes or none; use labels")
        return self.labels.argmax(axis=1)


class Sample(NamedTuple):
    """One image with one class; `label` is the position of the class."""

    path: str
    image: Path | np.ndarray
    label: int
    subset: str = ""


def single_label(name: str, classes: Sequence[str], samples: Iterable[Sample], notes: Iterable[str] = ()) -> ImageSet:
    """The ImageSet of samples with one class each, in any order."""
    rows = sorted(samples, key=lambda sample: sample.path)
    labels = np.zeros((len(rows), len(classes)), dtype=bool)
    labels[np.arange(len(rows)), [row.label for row in rows]] = True
    return ImageSet(
        name=name,
        classes=tuple(classes),
        paths=tuple(row.path for row in rows),
        images=tuple(row.image for row in rows),
        labels=labels,
        ignore=np.zeros_like(labels),
        subset=np.array([row.subset for row in rows]) if any(row.subset for row in rows) else None,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Archive:
    """A public archive of a data set, a tar or a zip.

    sign : a file or folder of the data set's own folder; if it exists, the archive is unpacked.
    inner : for a zip, the path of the tar in it that holds the data.
    """

    url: str
    md5: str
    sign: str
    inner: str | None = None


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from, and where it is looked for.

    name : on the command line. title : in messages.
    places : folders to look in, relative to the root; the root itself is tried first.
    get : how to get the data, for messages. archives : those that can be downloaded; they are unpacked in the root.
    """

    name: str
    title: str
    places: tuple[str, ...]
    get: str
    archives: tuple[Archive, ...] = ()


class MissingDataError(DataError):
    """A data set that is not there; the message says how to get it."""


class MissingSubsetError(DataError):
    """A subset that a data set does not have; the message names it."""


def data_folder(name: str, given: str | os.PathLike[str] | None = None, get: str = "") -> Path:
    """The folder in which to look for a data set, absolute: `given`, or $VGGFEAT_DATA/<name>.

    get : ends the error line: how to get the data. Raises DataError if neither is set.
    """
    if given is not None:
        return Path(given).resolve()
    if os.environ.get("VGGFEAT_DATA"):
        return Path(os.environ["VGGFEAT_DATA"], name).resolve()
    raise DataError(f"{name}: no folder given; pass it as --root, or set $VGGFEAT_DATA to the folder above it{get}")


def locate(
    origin: Origin, given: str | os.PathLike[str] | None, fits: Callable[[Path], bool], content: str = ""
) -> Path:
    """The data set's own folder, absolute and without links: the first place that `fits`.

    content : what is looked for in each place, for the message. Raises MissingDataError if no place fits.
    """
    top = data_folder(origin.name, given, f"; {origin.get}")
    for place in (".", *origin.places):
        if fits(top / place):
            return (top / place).resolve()
    reason = "" if top.is_dir() else ", no such folder"
    places = " or ".join(place + content for place in origin.places)
    fetch = "; or download it with --download" if origin.archives else ""
    raise MissingDataError(
        f"{top}: {origin.title} not found{reason}; looked for {places}; {origin.get}, "
        f"and pass its folder as --root or put it in $VGGFEAT_DATA/{origin.name}{fetch}"
    )


def read_text(file: Path, inside: Path, limit: int) -> str:
    """The text of a file in `inside`. Raises DataError if it is missing, has more than `limit` bytes or is no UTF-8."""
    if not _file_inside(file, inside):
        raise DataError(f"{file}: missing, or a link out of {inside}; unpack the data set again")
    try:
        return regular_files.read_text(file, limit)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
        raise DataError(f"{file}: cannot be read ({reason}); unpack the data set again") from error


def shortfall(what: str, found: int, expected: int) -> list[str]:
    """A note if the number found is not the expected one."""
    return [] if found == expected else [f"found {found:,} of {expected:,} {what}"]


def _file_inside(file: Path, inside: Path) -> bool:
    try:
        target = file.resolve(strict=True)
    except (OSError, RuntimeError):  # broken, or a loop
        return False
    return target.is_file() and target.is_relative_to(inside)
