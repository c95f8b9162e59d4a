"""When and how boxes are merged. Free of numpy."""

import math
from dataclasses import dataclass
from typing import Literal

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError

Rule = Literal["library", "overfeat", "none"]
Average = Literal["counts", "equal"]


@dataclass(frozen=True)
class MergeRule:
    """When two boxes of a class are merged, and what they become.

    The paper leaves this open. `merging.merge` says exactly what each rule does.

    Parameters
    ----------
    rule : {"library", "overfeat", "none"}
        library: pairs whose centres are near and that overlap, the nearest first, as in the library of OverFeat's
        authors; overfeat: always the pair that matches best, as in OverFeat's text; none: boxes stay as they are.
    vertical : float
        Of library: the largest vertical distance of two centres, as a share of the larger half-height.
    horizontal : float
        Of library: the largest horizontal distance of two centres, as a share of the larger half-width.
    apart : float
        Of library: the largest 1 - IoU of two boxes, below 1.
    score : float
        Of overfeat: the largest match score of two boxes, which is the distance of their centres, divided by the mean
        of their diagonals, plus 1 - IoU.
    average : {"counts", "equal"}
        How the coordinates of two boxes are averaged: weighted by how many boxes each stands for, or equally.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    rule: Rule = "library"
    vertical: float = 0.5
    horizontal: float = 0.3
    apart: float = 0.5
    score: float = 0.75
    average: Average = "counts"

    def __post_init__(self) -> None:
        check_choice("merging rule", self.rule, Rule)
        check_choice("average", self.average, Average)
        for name in ("vertical", "horizontal", "apart", "score"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be 0 or more and finite, not {getattr(self, name)}")
        if self.apart >= 1:
            raise UsageError(f"apart must be below 1, not {self.apart}: boxes that do not overlap are not merged")
