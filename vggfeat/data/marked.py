"""Photos with boxes as their files give them, and the boxes put right: inside the photo, of one class, not empty."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError, ImageError
from vggfeat.reading import opened

NOT_FOUND = "photos left out, because they are not found"
UNREADABLE = "photos left out, because they cannot be read"
NO_BOX = "photos left out, because they have no valid box"
EMPTY = "boxes left out, because they have no area"
OUTSIDE = "boxes left out, because they lie outside their photo"
OTHER_CLASS = "boxes left out, because their photo is of another class"
SWAPPED = "boxes whose corners were swapped, and are put right"
CUT = "boxes that were cut at the edge of their photo"

LAST_PIXEL = 0.05  # share of boxes that end there, above which a reader is told

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels from 0; right and lower edge outside the last pixel


class Marked(NamedTuple):
    """A photo and its objects.

    path : its name. file : what to read. objects : the class and the box of each. label : the class of the photo;
    None for that of its largest box.
    """

    path: str
    file: Path
    objects: list[tuple[str, Box]]
    label: str | None = None


class Mended(NamedTuple):
    """A photo, its class, its boxes of that class, float64 (B, 4), largest first, and its (height, width)."""

    path: str
    file: Path
    label: str
    boxes: np.ndarray
    size: tuple[int, int]


def mend(photos: Iterable[Marked], left_out: LeftOut) -> list[Mended]:
    """The photos that have a valid box, sorted by name. What is changed or left out is counted."""
    found = (_mended(photo, left_out) for photo in photos)
    return sorted((one for one in found if one is not None), key=lambda one: one.path)


def edge_note(photos: Sequence[Mended]) -> list[str]:
    """A note if the right and lower edges seem to name the last pixel, and not the place behind it."""
    apart = np.concatenate([photo.size[::-1] - photo.boxes[:, 2:] for photo in photos])
    on_last = int((apart == 1).any(axis=1).sum())
    if (apart < 1).any() or on_last < LAST_PIXEL * len(apart):
        return []
    return [
        f"boxes that end at the last pixel: {on_last:,} of {len(apart):,}, and none ends behind it; "
        "if x1 and y1 name the last pixel of a box, add 1 to them"
    ]


def check_class(where: str, label: str, classes: Collection[str]) -> None:
    """Raise DataError, which begins with `where`, for a class that is not one of the classes."""
    if label not in classes:
        raise DataError(f"{where}: class {label!r} is not one of the {len(classes):,} known classes; correct it")


def _mended(photo: Marked, left_out: LeftOut) -> Mended | None:
    if not photo.objects:
        left_out.add(NO_BOX, photo.path)
        return None
    if (size := _size(photo, left_out)) is None:
        return None
    labels = np.array([label for label, _ in photo.objects])
    boxes, kept = _inside(np.array([box for _, box in photo.objects], np.float64), size, photo.path, left_out)
    if not kept.any():
        left_out.add(NO_BOX, photo.path)
        return None
    labels, boxes = labels[kept], boxes[kept]
    order = np.argsort(-_areas(boxes), kind="stable")
    label = photo.label or str(labels[order[0]])
    of_class = order[labels[order] == label]
    left_out.add(OTHER_CLASS, *[photo.path] * (len(order) - len(of_class)))
    if not len(of_class):
        left_out.add(NO_BOX, photo.path)
        return None
    return Mended(photo.path, photo.file, label, boxes[of_class], size)


def _size(photo: Marked, left_out: LeftOut) -> tuple[int, int] | None:
    """Height and width of the stored photo, from its header."""
    if not photo.file.is_file():
        left_out.add(NOT_FOUND, photo.path)
        return None
    try:
        with opened(photo.file) as image:
            return image.image.height, image.image.width
    except ImageError:
        left_out.add(UNREADABLE, photo.path)
        return None


def _inside(boxes: np.ndarray, size: tuple[int, int], path: str, left_out: LeftOut) -> tuple[np.ndarray, np.ndarray]:
    """The boxes with their corners in order, cut at the edges, float64 (B, 4); which of them are valid, bool (B,)."""
    height, width = size
    first, last = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    ordered = np.concatenate([first, last], axis=1)
    cut = np.clip(ordered, 0, [width, height, width, height])
    empty = _without_area(ordered)
    outside = ~empty & _without_area(cut)
    kept = ~empty & ~outside
    for reason, which in (
        (EMPTY, empty),
        (OUTSIDE, outside),
        (SWAPPED, kept & (ordered != boxes).any(axis=1)),
        (CUT, kept & (cut != ordered).any(axis=1)),
    ):
        left_out.add(reason, *[path] * int(which.sum()))
    return cut, kept


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _without_area(boxes: np.ndarray) -> np.ndarray:
    """Whether a side is 0, bool (B,). The area itself may be too large for a number."""
    return (boxes[:, 2:] == boxes[:, :2]).any(axis=1)
