"""How much of a large index a search reads: chosen and measured against exact search, with photos of the store."""

from typing import NamedTuple

import numpy as np

from vggfeat._util.progress import progress
from vggfeat.index.files import Lists as Known
from vggfeat.index.files import Recall
from vggfeat.index.lists import Coder, Lists, slices
from vggfeat.neighbours import Neighbours, nearest

K = 10  # neighbours
QUERIES = 500  # half of them choose, half of them measure
CANDIDATES = (50, 100, 200, 400, 800)
_GATHER = 16  # times the cost of a value of a descriptor, relative to one of a code


class Tuned(NamedTuple):
    """How many lists a search reads, how many candidates it compares exactly, and what it then finds."""

    probes: int
    candidates: int
    recall: Recall


def tuned(X: np.ndarray, lists: Lists, alive: np.ndarray, goal: float, queries: int = QUERIES) -> Tuned:
    """Choose the cheapest search that finds the share `goal` of the true neighbours.

    Half of the queries choose, with one standard error of safety; the recall is that of the other half. If no choice is
    good enough, the one that reads most is taken. X : float16 (rows, dim). alive : the rows that count.
    """
    chosen = np.random.default_rng(len(alive)).permutation(alive)[:queries]
    Q = X[chosen].astype(np.float32)
    true = exact(X, alive, Q, K + 1, "measuring")
    truth = [_without(row, own)[:K] for row, own in zip(true.rows, chosen, strict=True)]
    ways = [(p, c) for p in _probes(len(lists.coder.centres)) for c in CANDIDATES]
    ways.sort(
        key=lambda way: (
            way[0] * len(alive) / len(lists.coder.centres) * lists.coder.centres.shape[1]
            + _GATHER * way[1] * X.shape[1]
        )
    )
    half = len(chosen) // 2 or 1
    found: dict[int, np.ndarray] = {}
    best = ways[-1]
    for probes, candidates in ways:
        if probes not in found:
            found[probes] = lists.candidates(Q, probes, max(CANDIDATES) + 1)
        shares = _shares(found[probes][:half, : candidates + 1], truth[:half])
        if shares.mean() - shares.std() / len(shares) ** 0.5 >= goal:
            best = probes, candidates
            break
    rest = slice(half, None) if len(chosen) > half else slice(None)
    value = _shares(found[best[0]][rest, : best[1] + 1], truth[rest]).mean()
    return Tuned(*best, Recall(float(value), len(truth[rest])))


def described(coder: Coder, rows: int, found: Tuned) -> Known:
    """What index.json says of the lists."""
    count, dim = coder.centres.shape
    return Known(rows, dim, count, coder.scale, found.probes, found.candidates, found.recall)


def exact(X: np.ndarray, rows: np.ndarray, Q: np.ndarray, k: int, what: str = "") -> Neighbours:
    """The k nearest of some rows of X, float16 (N, dim), read in pieces. rows of the result : numbers of rows of X.

    what : what a progress bar says; none without it.
    """
    best = Neighbours(np.empty((len(Q), 0), np.int64), np.empty((len(Q), 0), np.float32))
    with progress(len(rows), what, "row", disable=not what) as bar:
        for piece in slices(len(rows), X.shape[1]):
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


def _probes(count: int) -> list[int]:
    """1, 2, 4, ... and all lists."""
    return [*(2**n for n in range(count.bit_length()) if 2**n < count), count]


def _without(rows: np.ndarray, own: int) -> np.ndarray:
    return rows[rows != own]


def _shares(candidates: np.ndarray, truth: list[np.ndarray]) -> np.ndarray:
    """The share of the true neighbours of each query that is among its candidates."""
    return np.array([np.isin(true, some).mean() for true, some in zip(truth, candidates, strict=True)])
