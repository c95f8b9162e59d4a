"""Nearest neighbours and near twins among descriptors, exactly, for tens of thousands of rows. Free of torch.

A twin of a photo is almost the same photo: another compression, another size, a slight crop, the next of a burst.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat.errors import UsageError

_SHARE = 1 / 8  # of the median distance to the nearest neighbour
_FARTHEST = 0.05  # 1 - cosine; no twins beyond, however unlike the photos of a collection are
_FEWEST = 8  # rows; of fewer the median says little
_ROUNDING = 1e-6  # of the cosine of equal rows
_CELLS = 2**24  # of a block of the matrix of cosines: 64 MiB


class Neighbours(NamedTuple):
    """The nearest rows of each query, nearest first.

    Parameters
    ----------
    rows : ndarray, int64, shape (Q, k)
        Row numbers. Equally near rows are in any order.
    cosines : ndarray, float32, shape (Q, k)
        Their cosine similarity, from -1 to 1.
    """

    rows: NDArray[np.int64]
    cosines: NDArray[np.float32]


class TwinThreshold(NamedTuple):
    """From which similarity on two rows are near twins.

    Parameters
    ----------
    value : float
        A cosine.
    reason : str
        How it follows from the data, as a sentence without a full stop.
    """

    value: float
    reason: str


def nearest(X: ArrayLike, k: int, queries: ArrayLike | None = None) -> Neighbours:
    """Find the k nearest rows of each query by cosine similarity, exactly.

    Parameters
    ----------
    X : array_like, float, shape (N, D)
        Descriptors of norm 1.
    k : int
        How many neighbours. If there are fewer rows, all of them are given.
    queries : array_like, float, shape (Q, D), optional
        Descriptors of norm 1. Default: each row of X, whose own row is not among its neighbours.

    Returns
    -------
    Neighbours

    Raises
    ------
    UsageError
        If k is less than 1, or the queries have another dimension than the rows.
    """
    rows = np.asarray(X, np.float32)
    asked = rows if queries is None else np.asarray(queries, np.float32)
    if k < 1:
        raise UsageError(f"k must be at least 1, not {k}")
    if asked.ndim != 2 or asked.shape[1] != rows.shape[1]:
        raise UsageError(f"the queries have shape {asked.shape}; expected (Q, {rows.shape[1]})")
    k = min(k, len(rows) - (queries is None))
    found = Neighbours(np.empty((len(asked), k), np.int64), np.empty((len(asked), k), np.float32))
    for start, stop in _blocks(len(asked), len(rows)):
        cosines = asked[start:stop] @ rows.T
        if queries is None:
            cosines[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k] if k else np.empty((stop - start, 0), np.int64)
        values = np.take_along_axis(cosines, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found.rows[start:stop] = np.take_along_axis(best, order, axis=1)
        found.cosines[start:stop] = np.take_along_axis(values, order, axis=1)
    return found


def twin_threshold(cosines: ArrayLike) -> TwinThreshold:
    """Propose from which cosine on two photos of a collection are twins.

    Parameters
    ----------
    cosines : array_like, float, shape (N,)
        The cosine of each row to its nearest neighbour.

    Returns
    -------
    TwinThreshold

    Notes
    -----
    How near different photos are depends on net, layer, scale and collection; so the threshold is taken from the
    collection. Twins are at most an eighth of the median distance (1 - cosine) to the nearest neighbour apart, and
    never more than 0.05. If most photos of a collection have a twin, the median is that of twins, and only the nearest
    of them are found.
    """
    distances = 1 - np.asarray(cosines, np.float64)
    if len(distances) < _FEWEST:
        return TwinThreshold(1 - _FARTHEST / 2, f"a fixed value, because there are fewer than {_FEWEST} photos")
    median = float(np.median(distances))
    if _SHARE * median >= _FARTHEST:
        return TwinThreshold(1 - _FARTHEST, f"twins are at most {_FARTHEST} apart (1 - cosine)")
    reason = (
        f"the median distance (1 - cosine) of a photo to its nearest neighbour is {median:.3g}, "
        "and twins are at most an eighth of that apart"
    )
    return TwinThreshold(1 - max(_SHARE * median, _ROUNDING), reason)


def near_pairs(
    graph: Neighbours, threshold: float, rows: NDArray[np.int64] | None = None
) -> dict[tuple[int, int], float]:
    """Find the pairs of rows in a graph of nearest neighbours whose cosine reaches a threshold.

    Parameters
    ----------
    graph : Neighbours
        Of some rows; row -1 stands for none.
    threshold : float
        The least cosine of a pair.
    rows : ndarray, int64, shape (Q,), optional
        Whose neighbours these are. Default: of rows 0 to Q - 1.

    Returns
    -------
    dict of (int, int) to float
        Two row numbers, the smaller one first -> their cosine.
    """
    at, place = np.nonzero((graph.cosines >= threshold) & (graph.rows >= 0))
    pairs = np.sort(np.stack([at if rows is None else rows[at], graph.rows[at, place]], axis=1), axis=1)
    return dict(zip(map(tuple, pairs.tolist()), graph.cosines[at, place].tolist(), strict=True))


def twin_pairs(X: ArrayLike, threshold: float) -> NDArray[np.int64]:
    """Find all pairs of rows whose cosine reaches a threshold, exactly.

    Parameters
    ----------
    X : array_like, float, shape (N, D)
        Descriptors of norm 1.
    threshold : float
        The least cosine of a pair.

    Returns
    -------
    ndarray, int64, shape (P, 2)
        Row numbers, the smaller one first, in ascending order.
    """
    rows = np.asarray(X, np.float32)
    pairs = [np.empty((0, 2), np.int64)]
    for start, stop in _blocks(len(rows), len(rows)):
        near = np.argwhere(rows[start:stop] @ rows[start:].T >= threshold) + start
        pairs.append(near[near[:, 0] < near[:, 1]])
    return np.concatenate(pairs)


def twin_groups(pairs: ArrayLike, n: int) -> NDArray[np.int64]:
    """Number the groups of rows that pairs connect, directly or by way of others.

    Parameters
    ----------
    pairs : array_like, int, shape (P, 2)
        Row numbers.
    n : int
        How many rows there are.

    Returns
    -------
    ndarray, int64, shape (n,)
        The group of each row, from 0; a row without a twin is a group of its own.

    Examples
    --------
    >>> twin_groups([(0, 2), (2, 3)], 5).tolist()
    [0, 1, 0, 0, 2]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = np.asarray(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _blocks(n: int, width: int) -> list[tuple[int, int]]:
    """Ranges of rows whose block of an (n, width) matrix is small enough to hold."""
    step = max(1, _CELLS // max(1, width))
    return [(start, min(start + step, n)) for start in range(0, n, step)]
