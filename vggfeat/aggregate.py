"""From the descriptors of single scales to the descriptor of an image: aggregation, L2 normalisation, fusion
(Appendix B). Plain numpy, so that stored descriptors are aggregated without torch or a GPU.
"""

from collections.abc import Sequence

import numpy as np

from vggfeat._util.options import check_choice
from vggfeat.spec import Aggregation, Normalisation

__all__ = ["aggregate", "fuse", "l2_normalise"]


def l2_normalise(x: np.ndarray) -> np.ndarray:
    """Scale the rows of a matrix to L2 norm 1.

    Parameters
    ----------
    x : ndarray, shape (N, dim)

    Returns
    -------
    ndarray, shape (N, dim)
        A row of zeros stays zero.
    """
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norm == 0, 1, norm)


def aggregate(scales: Sequence[np.ndarray], agg: Aggregation = "mean", normalize: Normalisation = "l2") -> np.ndarray:
    """Aggregate the descriptors of several scales.

    Parameters
    ----------
    scales : sequence of S ndarrays, shape (N, C)
        The descriptors at each scale, not normalised.
    agg : {"mean", "max", "stack"}
        Aggregation over the scales.
    normalize : {"l2", "per-scale", "none"}
        L2 normalisation: once at the end (as in the paper), of each scale and at the end, or none.

    Returns
    -------
    ndarray, shape (N, C), or (N, S * C) for "stack"

    Raises
    ------
    UsageError
        If `agg` or `normalize` is unknown.

    References
    ----------
    Appendix B, "Evaluation on VOC-2007 and VOC-2012" and "on Caltech-101 and Caltech-256".
    """
    check_choice("aggregation", agg, Aggregation)
    check_choice("normalisation", normalize, Normalisation)
    if normalize == "per-scale":
        scales = [l2_normalise(x) for x in scales]
    if agg == "stack":
        x = np.concatenate(scales, axis=1)
    else:
        x = (np.mean if agg == "mean" else np.max)(scales, axis=0)
    return x if normalize == "none" else l2_normalise(x)


def fuse(nets: Sequence[np.ndarray], normalize: Normalisation = "l2") -> np.ndarray:
    """Stack the descriptors of several nets (late fusion).

    Parameters
    ----------
    nets : sequence of ndarrays, shape (N, dim)
        The descriptors of each net, normalised by `aggregate` so that all nets weigh the same.
    normalize : {"l2", "per-scale", "none"}
        "none" leaves the stack as it is; otherwise it is scaled to norm 1.

    Returns
    -------
    ndarray, shape (N, sum of dims)
    """
    x = nets[0] if len(nets) == 1 else np.concatenate(nets, axis=1)
    return x if normalize == "none" or len(nets) == 1 else l2_normalise(x)
