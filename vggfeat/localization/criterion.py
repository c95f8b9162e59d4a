"""When a guess is right: the errors of localisation, and what two baselines without a net would reach.

The criterion is that of ILSVRC's development kit (`eval_localization_flat.m`): a guess is right if its class is the
true one and its IoU with one of the true boxes is at least 0.5. The paper writes "above 0.5".
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.localization.merging import overlap

GUESSES = 5  # of an image that count
LIMIT = 0.5  # of the IoU

Reading = Literal["kit", "paper"]  # at least the limit, or above it
Boxes = Sequence[np.ndarray]  # float64 (B_i, 4) of each image


def best_iou(boxes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The IoU of each box with the true box that fits it best.

    Parameters
    ----------
    boxes : ndarray, float, shape (N, 4)
        x0, y0, x1, y1; the right and the lower edge lie outside the last pixel.
    truth : ndarray, float, shape (B, 4)
        All true boxes of the image, in the same units.

    Returns
    -------
    ndarray, float64, shape (N,)
        In 0..1; NaN coordinates give 0.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return overlap(boxes[:, None], np.asarray(truth, np.float64)).max(axis=1)


def fits(iou: np.ndarray, reading: Reading = "kit", limit: float = LIMIT) -> np.ndarray:
    """Which boxes overlap enough.

    Parameters
    ----------
    iou : ndarray, float
        As of `best_iou`.
    reading : {"kit", "paper"}
        kit: at least the limit; paper: above it.
    limit : float
        The limit.

    Returns
    -------
    ndarray, bool
    """
    check_choice("reading of the criterion", reading, Reading)
    return iou >= limit if reading == "kit" else iou > limit


def right_guesses(
    classes: Sequence[Sequence[int]], boxes: Boxes, labels: np.ndarray, truth: Boxes, reading: Reading = "kit"
) -> np.ndarray:
    """Which guesses of each image are right.

    Parameters
    ----------
    classes : sequence of sequence of int
        The guessed classes of each of N images, the best first. Only the first five count; there may be fewer.
    boxes : sequence of ndarray, float, shape (G_i, 4)
        The guessed boxes.
    labels : ndarray, int, shape (N,)
        The true classes.
    truth : sequence of ndarray, float, shape (B_i, 4)
        The true boxes.
    reading : {"kit", "paper"}
        As for `fits`.

    Returns
    -------
    ndarray, bool, shape (N, 5)
        False for guesses that were not made.

    Raises
    ------
    UsageError
        If the lengths differ.
    """
    if not len(classes) == len(boxes) == len(labels) == len(truth):
        raise UsageError(f"guesses of {len(classes)} images, but {len(labels)} labels and {len(truth)} true boxes")
    right = np.zeros((len(labels), GUESSES), bool)
    for row, (guessed, found, label, true) in enumerate(zip(classes, boxes, labels, truth, strict=True)):
        if len(guessed) != len(found):
            raise UsageError(f"image {row}: {len(guessed)} guessed classes, but {len(found)} boxes")
        same = np.asarray(guessed[:GUESSES], np.int64) == label
        right[row, : len(same)] = same & fits(best_iou(found[:GUESSES], true), reading)
    return right


def top_error(right: np.ndarray, k: int = GUESSES) -> float:
    """The share of images of which none of the first k guesses is right.

    Parameters
    ----------
    right : ndarray, bool, shape (N, 5)
        As of `right_guesses`.
    k : int
        The number of guesses that count.

    Returns
    -------
    float
        In 0..1; NaN without images.
    """
    return float(1 - right[:, :k].any(axis=1).mean()) if len(right) else float("nan")


def single_iou(boxes: np.ndarray, truth: Boxes) -> np.ndarray:
    """The IoU of one box for each image with the true box that fits it best, as protocol 1 asks for.

    Parameters
    ----------
    boxes : ndarray, float, shape (N, 4)
    truth : sequence of ndarray, float, shape (B_i, 4)

    Returns
    -------
    ndarray, float64, shape (N,)
        Its mean is the mean IoU, and ``1 - fits(...).mean()`` the error.
    """
    pairs = zip(np.asarray(boxes, np.float64), truth, strict=True)
    return np.array([best_iou(box, true)[0] for box, true in pairs], np.float64)


def errors_by_class(right: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The share of the images of each class that are wrong.

    Parameters
    ----------
    right : ndarray, bool, shape (N,)
        Which images are right.
    labels : ndarray, int, shape (N,)
        The true classes.
    classes : int
        Their number K.

    Returns
    -------
    ndarray, float64, shape (K,)
        NaN for a class without images.
    """
    images = np.bincount(labels, minlength=classes)
    wrong = np.bincount(labels[~right], minlength=classes)
    return np.divide(wrong, images, out=np.full(classes, np.nan), where=images > 0)


def constant_box(boxes: Boxes, sizes: np.ndarray) -> np.ndarray:
    """The mean box of training images, relative to the image: what a net must beat.

    Parameters
    ----------
    boxes : sequence of ndarray, float, shape (B_i, 4)
        The boxes of each training image; the largest, the first, counts.
    sizes : ndarray, int, shape (N, 2)
        Height and width of each training image.

    Returns
    -------
    ndarray, float64, shape (4,)
        x0, y0, x1, y1, in 0..1.
    """
    return np.mean(np.array([box[0] for box in boxes]) / _scales(sizes), axis=0)


def in_images(box: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """A box that is relative to the image, in each of some images.

    Parameters
    ----------
    box : ndarray, float, shape (4,)
        As of `constant_box`; ``(0, 0, 1, 1)`` is the whole image.
    sizes : ndarray, int, shape (N, 2)
        Height and width of each image.

    Returns
    -------
    ndarray, float64, shape (N, 4)
        In pixels.
    """
    return np.asarray(box, np.float64) * _scales(sizes)


def _scales(sizes: np.ndarray) -> np.ndarray:
    """Width, height, width, height of each image, (N, 4)."""
    return np.asarray(sizes, np.float64)[:, [1, 0, 1, 0]]
