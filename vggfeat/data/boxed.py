"""Photos with the true boxes of one class each, for localisation (Appendix A)."""

import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vggfeat._util.left_out import LeftOut
from vggfeat._util.options import check_choice
from vggfeat.data import boxes_csv, boxes_xml
from vggfeat.data.base import MissingSubsetError
from vggfeat.data.marked import Marked, edge_note, mend
from vggfeat.errors import DataError, UsageError

Subset = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False)
class Boxed:
    """N photos with one class each, and the boxes of its objects.

    Parameters
    ----------
    name : str
        The data and their subset.
    classes : tuple of str
        K names, in the order of the labels.
    paths : sequence of str
        N names of the photos, sorted.
    images : sequence of path
        N absolute paths, to read the photos.
    labels : ndarray, int64, shape (N,)
        The position of each photo's class in `classes`.
    boxes : tuple of ndarray, float64, shape (B_i, 4)
        All boxes of the photo's class, at least one, the largest first: x0, y0, x1, y1 in pixels of the stored photo
        (its EXIF orientation is not applied), from 0. The right and the lower edge lie outside the last pixel.
    sizes : ndarray, int64, shape (N, 2)
        Height and width of each stored photo, in pixels.
    notes : tuple of str
        What was changed or left out, one line each.
    """

    name: str
    classes: tuple[str, ...]
    paths: Sequence[str]
    images: Sequence[Path]
    labels: np.ndarray
    boxes: tuple[np.ndarray, ...]
    sizes: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Boxed":
        """Keep some of the photos.

        Parameters
        ----------
        rows : sequence of int
            Their positions.

        Returns
        -------
        Boxed
        """
        rows = np.asarray(rows, np.int64)
        return replace(
            self,
            paths=tuple(self.paths[row] for row in rows),
            images=tuple(self.images[row] for row in rows),
            labels=self.labels[rows],
            boxes=tuple(self.boxes[row] for row in rows),
            sizes=self.sizes[rows],
        )


def read_boxed(
    data: str | os.PathLike[str],
    subset: Subset,
    *,
    images: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Boxed:
    """Read the photos of a subset that have boxes.

    The largest box of a photo gives its class, and its boxes of other classes are left out. A box that leaves its photo
    is cut, and swapped corners are put right. `notes` has the number of what was changed or left out.

    Parameters
    ----------
    data : str or path
        One of

        - A CSV file with the columns path,label,x0,y0,x1,y1 and, if it has subsets, subset. Without subsets all photos
          are train. Several rows of a path are several boxes of a photo; a row with empty corners has no box.
        - A folder VOC2007 or VOC2012, or VOCdevkit above it. Its corners count from 1 and include the last pixel.
        - A folder with Data/CLS-LOC and Annotations/CLS-LOC of ILSVRC, subsets train and val. Its corners count from 0
          and include the last pixel.

    subset : {"train", "val", "test"}
    images : str or path, optional
        The folder of the photos of a CSV file. Default: its own folder, or the folder `images` in it.
    classes : sequence of str, optional
        The classes, in the order of the labels. Default: those of the subset train, sorted; for VOC its twenty; for
        ILSVRC without train the 1000 synsets.

    Returns
    -------
    Boxed

    Raises
    ------
    DataError
        If the data do not have the subset (`data.base.MissingSubsetError`), something is missing, damaged or in
        another layout, or a class is unknown. The message names the file.
    UsageError
        If there is no such subset, or a class is named twice.
    """
    check_choice("subset", subset, Subset)
    if classes is not None and len(set(classes)) < len(classes):
        raise UsageError("a class is named twice")
    top = Path(data).resolve()
    left_out = LeftOut()
    name, known, photos = _marked(top, subset, images, classes, left_out)
    found = mend(photos, left_out)
    notes = left_out.lines()
    if not found:
        alone = not top.is_dir() and images is None
        remedy = ", or put the photos, or a link to them, beside it as images/" if alone else ""
        raise DataError(
            f"{top}: has no photo with a valid box in {subset} ({'; '.join(notes)}); check its paths{remedy}"
        )
    if not top.is_dir():  # the other formats say what their corners mean
        notes += edge_note(found)
    number = {name: k for k, name in enumerate(known)}
    return Boxed(
        name=f"{name} {subset}",
        classes=known,
        paths=tuple(one.path for one in found),
        images=tuple(one.file for one in found),
        labels=np.array([number[one.label] for one in found], np.int64),
        boxes=tuple(one.boxes for one in found),
        sizes=np.array([one.size for one in found], np.int64),
        notes=tuple(notes),
    )


def true_boxes(data: str | os.PathLike[str]) -> dict[Path, np.ndarray]:
    """Read the boxes of all subsets.

    Parameters
    ----------
    data : str or path
        As for `read_boxed`.

    Returns
    -------
    dict of Path to ndarray, float64, shape (B, 4)
        The file of each photo, with links resolved, and its boxes as `Boxed` has them.

    Raises
    ------
    DataError
        As `read_boxed`.
    """
    found: dict[Path, np.ndarray] = {}
    for subset in get_args(Subset):
        with suppress(MissingSubsetError):
            boxed = read_boxed(data, subset)
            found |= {file.resolve(): boxes for file, boxes in zip(boxed.images, boxed.boxes, strict=True)}
    return found


def _marked(
    top: Path, subset: Subset, images: str | os.PathLike[str] | None, classes: Sequence[str] | None, left_out: LeftOut
) -> tuple[str, tuple[str, ...], list[Marked]]:
    """The name of the data, their classes, and the photos of a subset with boxes as they are written."""
    if not top.is_dir():
        folder = Path(images).resolve() if images is not None else None
        return f"{top.parent.name}/{top.name}", *boxes_csv.read(top, subset, folder, classes)
    if images is not None:
        raise UsageError(f"{top}: is a folder with photos of its own; images is for a CSV file only")
    if (root := boxes_xml.find_ilsvrc(top)) is not None:
        return root.name, *boxes_xml.read_ilsvrc(root, subset, classes, left_out)
    if (kit := boxes_xml.find_voc(top)) is not None:
        return kit.name, *boxes_xml.read_voc(kit, subset, classes)
    raise DataError(
        f"{top}: no boxes found; give a CSV file with path,label,x0,y0,x1,y1, a VOCdevkit, or a folder with "
        f"{boxes_xml.PHOTOS} and {boxes_xml.ANNOTATIONS}"
    )


def held_out(boxed: Boxed, share: float = 0.2, seed: int = 0) -> tuple[Boxed, Boxed]:
    """Split photos into those to train on and those to validate on, class by class.

    The photos of a class are ordered by a checksum of the seed and the path, and the first are held out: the same on
    every machine, whatever the other classes are.

    Parameters
    ----------
    boxed : Boxed
        The photos.
    share : float
        The share of each class that is held out, in 0..1, rounded, and at least one photo. At least one photo of each
        class is left to train on, so that a class of one photo gives none.
    seed : int
        Number of the split.

    Returns
    -------
    train, validation : Boxed

    Raises
    ------
    UsageError
        If the share is not in 0..1.
    """
    if not 0 < share < 1:
        raise UsageError(f"the held-out share must be above 0 and below 1, not {share}")
    keys = np.array([zlib.crc32(f"{seed}\0{path}".encode()) for path in boxed.paths])
    held = np.zeros(len(boxed), bool)
    for label in np.unique(boxed.labels):
        rows = np.flatnonzero(boxed.labels == label)
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held[rows[np.argsort(keys[rows], kind="stable")][:count]] = True
    return boxed.take(np.flatnonzero(~held)), boxed.take(np.flatnonzero(held))
