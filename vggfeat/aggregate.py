"""From the descriptors of single scales to the descriptor of an image: stacking or pooling, L2, fusion
(Appendix B). Plain numpy, so that stored descriptors can be aggregated without torch or a GPU.
"""

from collections.abc import Iterable, Sequence
from operator import index
from typing import Literal

import numpy as np

from vggfeat.errors import UsageError

Aggregation = Literal["stack", "mean", "max"]
Normalisation = Literal["l2", "per-scale", "none"]
AGGREGATIONS = ("stack", "mean", "max")
NORMALISATIONS = ("l2", "per-scale", "none")


def whole(scales: Iterable[int]) -> tuple[int, ...]:
    """The scales as a tuple of int; raises UsageError for what isn't whole, or stands there twice."""
    try:
        chosen = tuple(index(q) for q in scales)
    except TypeError as error:
        raise UsageError(f"scales must be whole numbers, such as (256, 384, 512), not {scales!r}") from error
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"a scale is given twice: {','.join(map(str, chosen))}")
    return chosen


def l2_normalise(x: np.ndarray) -> np.ndarray:
    """Rows of (N, dim) scaled to L2 norm 1; a row of zeros stays zero."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norm == 0, 1, norm)


def aggregate(scales: Sequence[np.ndarray], agg: Aggregation = "mean", normalize: Normalisation = "l2") -> np.ndarray:
    """One matrix from the (N, C) matrices of S scales: (N, S * C) for stack, (N, C) for mean and max.

    normalize: "l2" once at the end (the paper), "per-scale" each scale and then the end, "none".
    Raises UsageError for another word.
    """
    if agg not in AGGREGATIONS:
        raise UsageError(f"no aggregation {agg!r}; take one of {', '.join(AGGREGATIONS)}")
    if normalize not in NORMALISATIONS:
        raise UsageError(f"no normalisation {normalize!r}; take one of {', '.join(NORMALISATIONS)}")
    if normalize == "per-scale":
        scales = [l2_normalise(x) for x in scales]
    if agg == "stack":
        x = np.concatenate(scales, axis=1)
    else:
        x = (np.mean if agg == "mean" else np.max)(scales, axis=0)
    return x if normalize == "none" else l2_normalise(x)


def fuse(nets: Sequence[np.ndarray], normalize: Normalisation = "l2") -> np.ndarray:
    """Late fusion: the (N, dim) descriptors of several nets side by side, the whole scaled to norm 1.

    The nets' descriptors come normalised from `aggregate`, so that each has the same say.
    """
    x = nets[0] if len(nets) == 1 else np.concatenate(nets, axis=1)
    return x if normalize == "none" or len(nets) == 1 else l2_normalise(x)
