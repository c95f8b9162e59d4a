"""How much of a large index a search reads: chosen and measured against exact search, with photos of the store."""

from typing import NamedTuple

import numpy as np

from vggfeat._util.progress import progress
from vggfeat.index.files import Recall
from vggfeat.index.fixed import FixedPoint
from vggfeat.index.lists import CHUNK, Lists, held_out, shuffled, slices
from vggfeat.neighbours import Neighbours, nearest

K = 10  # neighbours
CANDIDATES = (50, 100, 200, 400, 800)
_GATHER = 16  # times the cost of a value of a descriptor, relative to one of a code


class Tuned(NamedTuple):
    """How many lists a search reads, how many candidates it compares exactly, and what it then finds."""

    probes: int
    candidates: int
    recall: Recall


def tuned(X: FixedPoint, lists: Lists, alive: np.ndarray, goal: float) -> Tuned:
    """Choose the cheapest search that finds the share `goal` of the true neighbours.

    The queries are rows that have not trained the lists. Half of them choose, with two standard errors of safety; the
    recall is that of the other half. If no choice is good enough, the one that reads most is taken. alive : the rows
    that count.
    """
    chosen = shuffled(alive)[-max(2, held_out(len(alive))) :]
    Q = X[chosen]
    true = exact(X, alive, Q, K + 1, "measuring")
    truth = [_without(row, own)[:K] for row, own in zip(true.rows, chosen, strict=True)]
    half, found = len(chosen) // 2, {}
    for probes, candidates in _ways(len(alive), X.shape[1], *lists.coder.centres.shape):
        if probes not in found:
            found[probes] = lists.candidates(Q, probes, max(CANDIDATES) + 1)
        shares = _shares(found[probes][:, : candidates + 1], truth)
        if shares[:half].mean() - 2 * shares[:half].std() / half**0.5 >= goal:
            break
    return Tuned(probes, candidates, Recall(float(shares[half:].mean()), len(shares) - half))


def exact(X: FixedPoint, rows: np.ndarray, Q: np.ndarray, k: int, what: str = "", values: int = CHUNK) -> Neighbours:
    """The k nearest of some rows of X, read in pieces. rows of the result : numbers of rows of X.

    what : what a progress bar says; none without it. values : of the rows that are read at once.
    """
    best = Neighbours(np.empty((len(Q), 0), np.int64), np.empty((len(Q), 0), np.float32))
    with progress(len(rows), what, "row", disable=not what) as bar:
        for piece in slices(len(rows), X.shape[1], values):
            some = rows[piece]
            found = nearest(X[some], k, Q)
            best = merged(best, Neighbours(some[found.rows], found.cosines), k)
            bar.update(len(some))
    return best


def merged(one: Neighbours, other: Neighbours, k: int) -> Neighbours:
    """The k nearest of both, which have no row in common."""
    rows = np.concatenate([one.rows, other.rows], axis=1)
    cosines = np.concatenate([one.cosines, other.cosines], axis=1)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1))


def _ways(rows: int, dim: int, count: int, code: int) -> list[tuple[int, int]]:
    """Lists that are read and candidates, by the values that this takes: the cheapest first.

    dim, code : values of a descriptor, and of a code. count : how many lists there are.
    """
    probes = [*(2**n for n in range(count.bit_length()) if 2**n < count), count]
    ways = [(read, compared) for read in probes for compared in CANDIDATES]
    return sorted(ways, key=lambda way: way[0] * rows / count * code + _GATHER * way[1] * dim)


def _without(rows: np.ndarray, own: int) -> np.ndarray:
    return rows[rows != own]


def _shares(candidates: np.ndarray, truth: list[np.ndarray]) -> np.ndarray:
    """The share of the true neighbours of each query that is among its candidates."""
    return np.array([np.isin(true, some).mean() for true, some in zip(truth, candidates, strict=True)])
