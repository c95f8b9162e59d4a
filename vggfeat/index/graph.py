"""The graph of nearest neighbours: computed once, and extended when the index grows."""

from dataclasses import replace

import numpy as np

from vggfeat._util.progress import progress
from vggfeat.index.files import Arrays
from vggfeat.index.reading import Rows
from vggfeat.index.tuning import exact, merged
from vggfeat.neighbours import Neighbours

K = 15  # neighbours of each row
_BLOCK = 1024  # rows that are searched at once


def make(arrays: Arrays, alive: np.ndarray) -> None:
    """Compute the graph of the rows that count, at least two."""
    k = min(K, len(alive) - 1)
    found = Neighbours(np.full((arrays.state.rows, k), -1, np.int64), np.full((arrays.state.rows, k), -1, np.float32))
    _search(Rows(arrays, alive), alive, found)
    _write(arrays, found)


def extend(arrays: Arrays, before: int, alive: np.ndarray) -> None:
    """Take up the rows from `before` on, and the loss of rows that no longer count."""
    old = _read(arrays, before)
    k = old.rows.shape[1]
    if not before or len(alive) <= k or k < K:
        make(arrays, alive)
        return
    more = arrays.state.rows - before
    found = Neighbours(
        np.concatenate([old.rows, np.full((more, k), -1, np.int64)]),
        np.concatenate([old.cosines, np.full((more, k), -1, np.float32)]),
    )
    counts = np.zeros(arrays.state.rows + 1, bool)  # row -1 is the last one
    counts[alive] = True
    new = alive[alive >= before]
    kept = alive[alive < before]
    has_lost = ~counts[found.rows[kept]].all(axis=1)
    _join(arrays, kept[~has_lost], new, found)
    _search(Rows(arrays, alive), np.concatenate([kept[has_lost], new]), found)
    _write(arrays, found)


def read(arrays: Arrays) -> Neighbours:
    """The graph by rows of the index: int64 and float32 (rows, k); row -1 stands for none. Raises StoreError."""
    return _read(arrays, arrays.state.rows)


def _read(arrays: Arrays, rows: int) -> Neighbours:
    shape = rows, arrays.state.k
    return Neighbours(arrays.read("neighbours", np.int64, *shape), arrays.read("cosines", np.float32, *shape))


def _write(arrays: Arrays, found: Neighbours) -> None:
    arrays.write("neighbours", found.rows)
    arrays.write("cosines", found.cosines)
    arrays.state = replace(arrays.state, k=found.rows.shape[1])


def _search(rows: Rows, wanted: np.ndarray, found: Neighbours) -> None:
    """Fill in the neighbours of the wanted rows; a row is not its own neighbour."""
    k = found.rows.shape[1]
    with progress(len(wanted), "finding neighbours", "row") as bar:
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
