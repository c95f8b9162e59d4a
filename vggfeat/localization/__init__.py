"""Localisation, the system that won ILSVRC-2014 (Appendix A).

rules       MergeRule: when and how boxes are merged
merging     merge: the boxes of one class become fewer
criterion   when a guess is right; errors, mean IoU, and the baselines
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.localization.rules import MergeRule

if TYPE_CHECKING:
    from vggfeat.localization.merging import Merged, merge

__getattr__ = attach(
    __name__,
    {
        "Merged": "vggfeat.localization.merging",
        "merge": "vggfeat.localization.merging",
    },
)

__all__ = ["MergeRule", "Merged", "merge"]
