"""From margins to what a user reads: the most probable classes, or none of these."""

from typing import NamedTuple

import numpy as np

from vggfeat.errors import UsageError
from vggfeat.model.calibration import probabilities
from vggfeat.model.file import Content

TOP = 5


class Answer(NamedTuple):
    """What a model says of one photo.

    Attributes
    ----------
    classes : list of (str, float)
        The most probable classes, the best first, with their calibrated probabilities in 0..1.
    none_of_these : bool
        Whether the largest margin is below the threshold of the model: the photo shows none of its classes.
    """

    classes: list[tuple[str, float]]
    none_of_these: bool


def answers_of(margins: np.ndarray, content: Content, top: int) -> list[Answer]:
    """The answers of a model to photos with these margins, float32 (N, K). Raises UsageError if `top` is below 1."""
    if top < 1:
        raise UsageError(f"top must be 1 or more, not {top}")
    chances = probabilities(margins, content.temperature)
    order = np.argsort(-margins, axis=1, kind="stable")[:, :top]
    none = margins.max(axis=1, initial=-np.inf) < content.threshold
    return [
        Answer([(content.classes[k], float(row[k])) for k in best], bool(refused))
        for row, best, refused in zip(chances, order, none, strict=True)
    ]
