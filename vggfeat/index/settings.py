"""The settings of an index. Imports neither torch nor numpy."""

from dataclasses import dataclass
from typing import Literal

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.spec import Aggregation

UnitNorm = Literal["l2", "per-scale"]


@dataclass(frozen=True)
class IndexSettings:
    """Settings of an index.

    Parameters
    ----------
    agg : {"mean", "max", "stack"} or None
        Aggregation over the scales. Default: as extracted.
    normalize : {"l2", "per-scale"}
        L2 normalisation: once at the end, or of each scale and at the end.
    exact_rows : int
        Up to so many rows each search is exact. A larger index compares a query with candidates, and needs faiss.
    goal : float
        Share of the ten true neighbours that a search among candidates has to find. It chooses how many are compared.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    agg: Aggregation | None = None
    normalize: UnitNorm = "l2"
    exact_rows: int = 20_000
    goal: float = 0.99

    def __post_init__(self) -> None:
        if self.agg is not None:
            check_choice("aggregation", self.agg, Aggregation)
        check_choice("normalisation", self.normalize, UnitNorm)
        if self.exact_rows < 0:
            raise UsageError(f"exact_rows must be 0 or more, not {self.exact_rows}")
        if not 0 < self.goal < 1:
            raise UsageError(f"goal must be between 0 and 1, not {self.goal:g}")
