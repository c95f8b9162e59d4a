"""The graph of nearest neighbours: computed once, and extended when the index grows."""

from dataclasses import replace

import numpy as np

from vggfeat._util.progress import progress
from vggfeat.errors import StoreError
from vggfeat.index.files import REBUILD, Arrays
from vggfeat.index.reading import Rows
from vggfeat.index.tuning import exact, merged
from vggfeat.neighbours import Neighbours

K = 15  # neighbours of each row
_BLOCK = 1024  # rows that are searched at once


def make(arrays: Arrays, alive: np.ndarray) -> None:
    """Compute the graph of the rows that count: exactly, or among candidates if the index has lists."""
    found = _unknown(arrays.state.rows, min(K, len(alive) - 1))
    _search(Rows(arrays, alive), alive, found)
    _write(arrays, found)


def extend(arrays: Arrays, before: int, alive: np.ndarray) -> None:
    """Take up the rows from `before` on, and the loss of rows that no longer count.

    New rows, and rows that have lost a neighbour, are searched for as in `make`. Other rows are compared with all new
    rows, exactly.
    """
    old = read(arrays, before)
    k = old.rows.shape[1]
    if not before or len(alive) <= k or k < K:
        make(arrays, alive)
        return
    found = _unknown(arrays.state.rows, k)
    found.rows[:before], found.cosines[:before] = old
    counts = np.zeros(arrays.state.rows + 1, bool)  # row -1 is the last one
    counts[alive] = True
    new = alive[alive >= before]
    kept = alive[alive < before]
    has_lost = ~counts[found.rows[kept]].all(axis=1)
    _join(arrays, kept[~has_lost], new, found)
    _search(Rows(arrays, alive), np.concatenate([kept[has_lost], new]), found)
    _write(arrays, found)


def read(arrays: Arrays, rows: int) -> Neighbours:
    """The graph by rows of the index, of which it has so many: int64 and float32 (rows, k); row -1 stands for none.

    Raises StoreError.
    """
    shape = rows, arrays.state.k
    found = Neighbours(arrays.read("neighbours", np.int64, *shape), arrays.read("cosines", np.float32, *shape))
    if not ((found.rows >= -1) & (found.rows < rows) & (np.abs(found.cosines) <= 1)).all():
        raise StoreError(f"{arrays.folder}: has a graph that is damaged; {REBUILD}")
    return found


def of_store(found: Neighbours, places: np.ndarray, rows: int) -> Neighbours:
    """The graph by the rows of the store, which has so many. places : of the rows of the index in the store, or -1."""
    alive, of_rows = np.flatnonzero(places >= 0), _unknown(rows, found.rows.shape[1])
    of_rows.rows[places[alive]] = np.append(places, -1)[found.rows[alive]]  # row -1 is the last one
    of_rows.cosines[places[alive]] = found.cosines[alive]
    return of_rows


def _unknown(rows: int, k: int) -> Neighbours:
    return Neighbours(np.full((rows, k), -1, np.int64), np.full((rows, k), -1, np.float32))


def _write(arrays: Arrays, found: Neighbours) -> None:
    arrays.write("neighbours", found.rows)
    arrays.write("cosines", found.cosines.clip(-1, 1))
    arrays.state = replace(arrays.state, k=found.rows.shape[1])


def _search(rows: Rows, wanted: np.ndarray, found: Neighbours) -> None:
    """Fill in the neighbours of the wanted rows; a row is not its own neighbour."""
    k = found.rows.shape[1]
    with progress(len(wanted), "finding neighbours", "row", delay=2) as bar:
        for start in range(0, len(wanted), _BLOCK):
            some = wanted[start : start + _BLOCK]
            near = rows.search(rows.X[some], k + 1)
            order = np.argsort(near.rows == some[:, None], axis=1, kind="stable")[:, :k]  # its own row comes last
            found.rows[some] = np.take_along_axis(near.rows, order, axis=1)
            found.cosines[some] = np.take_along_axis(near.cosines, order, axis=1)
            bar.update(len(some))


def _join(arrays: Arrays, kept: np.ndarray, new: np.ndarray, found: Neighbours) -> None:
    """Let new rows become neighbours of rows that have all of theirs."""
    X, k = arrays.descriptors(), found.rows.shape[1]
    for start in range(0, len(kept) if len(new) else 0, _BLOCK):
        some = kept[start : start + _BLOCK]
        near = exact(X, new, X[some], k)
        both = merged(Neighbours(found.rows[some], found.cosines[some]), near, k)
        found.rows[some], found.cosines[some] = both.rows, both.cosines
