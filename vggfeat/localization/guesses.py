"""What a localiser says of an image: for each of the likeliest classes one box (protocol 2)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from vggfeat.boxes import clipped
from vggfeat.localization.merging import merge
from vggfeat.localization.rules import MergeRule

TOP = 5

Corners = tuple[float, float, float, float]


class Located(NamedTuple):
    """A class of an image and the box of its object.

    Attributes
    ----------
    label : str
        The class; "" from a net whose boxes have no class.
    probability : float
        Of the class, in 0..1.
    box : tuple of 4 float
        x0, y0, x1, y1 in pixels of the stored photo, from 0, clipped to it. The right and lower edge lie outside the
        last pixel.
    confidence : float
        The sum of the confidences of the candidates that were merged; 0 without a candidate.
    candidates : int
        How many candidates were merged.
    """

    label: str
    probability: float
    box: Corners
    confidence: float
    candidates: int


def best_classes(posterior: np.ndarray, top: int = TOP) -> np.ndarray:
    """The numbers of the likeliest classes, the likeliest first; of equal ones the first."""
    return np.argsort(-posterior, kind="stable")[:top]


def guesses(
    candidates: Sequence[np.ndarray],
    posterior: np.ndarray,
    names: Sequence[str],
    size: tuple[int, int],
    rule: MergeRule,
    top: int = TOP,
) -> list[Located]:
    """The box of each of the likeliest classes: of the merged candidates the one with the highest confidence.

    candidates : of each net at each scale, float (n, 6), as `describing.ROW` says. posterior, names : of the K classes.
    size : height and width of the photo. A class without a candidate gets an empty box.
    """
    rows = np.concatenate(candidates)
    found = []
    for number in best_classes(posterior, top).tolist():
        own = rows[rows[:, 0] == number]
        merged = merge(own[:, 2:], own[:, 1], rule)
        best = (merged.boxes[0], merged.confidences[0], merged.counts[0]) if len(own) else (np.zeros(4), 0.0, 0)
        box = corners_of(best[0], size)
        found.append(Located(names[number], float(posterior[number]), box, float(best[1]), int(best[2])))
    return found


def corners_of(box: np.ndarray, size: tuple[int, int]) -> Corners:
    """A box clipped to a photo of this height and width."""
    x0, y0, x1, y1 = clipped(torch.from_numpy(np.asarray(box, np.float64))[None], size)[0].tolist()
    return x0, y0, x1, y1
