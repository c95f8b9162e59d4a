"""The rows of an index, searched exactly or among candidates."""

from functools import cached_property

import numpy as np

from vggfeat.errors import StoreError
from vggfeat.index.files import REBUILD, Arrays
from vggfeat.index.lists import Coder, Lists
from vggfeat.index.tuning import K, exact
from vggfeat.neighbours import Neighbours, nearest

KEPT = 2**28  # values of a matrix that is kept in memory as float32
_ROUNDING = 0.01  # of a cosine; beyond, the rows are damaged


def coder_of(arrays: Arrays) -> Coder:
    """The coder of an index with lists. Raises StoreError if its files are damaged."""
    lists, dim = arrays.state.lists, arrays.state.dim
    assert lists is not None
    return Coder(
        arrays.read("mean", np.float32, dim),
        arrays.read("projection", np.float32, dim, lists.dim),
        arrays.read("centres", np.float32, lists.count, lists.dim),
        lists.scale,
    )


def places_of(arrays: Arrays, rows: int) -> np.ndarray:
    """int64: for each row of the index its row in the store, which has so many; -1 for none. Raises StoreError."""
    places = arrays.read("places", np.int64, arrays.state.rows)
    if len(places) and not -1 <= places.min() <= places.max() < rows:
        raise StoreError(f"{arrays.folder}: has rows that its store does not have; {REBUILD}")
    return places


def alive_of(arrays: Arrays) -> np.ndarray:
    """int64: the rows of the index that its store still has. Raises StoreError."""
    return np.flatnonzero(arrays.read("places", np.int64, arrays.state.rows) >= 0)


class Rows:
    """The rows of an index that its store still has.

    X : all descriptors of the index. alive : int64, the numbers of the rows that count.
    Raises StoreError if a file is damaged.
    """

    def __init__(self, arrays: Arrays, alive: np.ndarray) -> None:
        self.X, self.alive, self._arrays = arrays.descriptors(), alive, arrays

    def search(self, Q: np.ndarray, k: int) -> Neighbours:
        """The k nearest rows of the index for each query, float32 (n, dim) of norm 1; all if there are fewer."""
        k = min(k, len(self.alive))
        with np.errstate(invalid="ignore", over="ignore"):  # of damaged rows
            found = self._exactly(Q, k) if self._lists is None else self._among_candidates(self._lists, Q, k)
        if not (np.abs(found.cosines) <= 1 + _ROUNDING).all():  # false for NaN as well
            raise StoreError(f"{self._arrays.folder}: holds descriptors that are damaged; {REBUILD}")
        return Neighbours(found.rows, found.cosines.clip(-1, 1))

    @cached_property
    def _lists(self) -> Lists | None:
        state = self._arrays.state
        if state.lists is None:
            return None
        codes = self._arrays.read("codes", np.uint8, state.rows, state.lists.dim)
        return Lists(coder_of(self._arrays), codes, self._arrays.read("lists", np.int32, state.rows), self.alive)

    @cached_property
    def _matrix(self) -> np.ndarray:
        return self.X[self.alive]

    def _exactly(self, Q: np.ndarray, k: int) -> Neighbours:
        if len(self.alive) * self.X.shape[1] > KEPT:
            return exact(self.X, self.alive, Q, k)
        found = nearest(self._matrix, k, Q)
        return Neighbours(self.alive[found.rows], found.cosines)

    def _among_candidates(self, lists: Lists, Q: np.ndarray, k: int) -> Neighbours:
        known = self._arrays.state.lists
        assert known is not None
        most = min(known.candidates * -(-k // K), len(self.alive))
        candidates, probes = lists.candidates(Q, known.probes, most), known.probes
        while probes < known.count and (short := candidates[:, k - 1] < 0).any():  # the lists that were read are short
            probes = min(4 * probes, known.count)
            candidates[short] = lists.candidates(Q[short], probes, most)
        found = Neighbours(np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32))
        for n, rows in enumerate(candidates):
            rows = rows[rows >= 0]
            cosines = self.X[rows] @ Q[n]
            best = np.argsort(-cosines, kind="stable")[:k]
            found.rows[n], found.cosines[n] = rows[best], cosines[best]
        return found
