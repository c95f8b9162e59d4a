"""Inverted lists of codes: which rows of a large index may be near a query.

A descriptor is projected to its principal components, and these are rounded to 8 bits: its code. The codes are divided
among lists, each with a centre, and a search reads the lists whose centres are nearest to the query. All arrays are
plain numbers that are checked, and faiss is filled with them when the index is opened: faiss reads no file, because a
damaged or hostile file of its own format can end the process.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from vggfeat.errors import StoreError, UsageError
from vggfeat.index.files import REBUILD
from vggfeat.index.fixed import FixedPoint

DIM = 128  # principal components, at most
SAMPLE = 20_000  # rows that the principal components are computed of, at most
VALUES = 2**27  # of these rows, at most
QUERIES = 500  # rows that are held out, at most
PER_LIST = 40  # rows of the sample for each centre
ROUNDS = 10  # of k-means
_NARROWEST = 1e-3  # range of the codes, if all rows are equal
CHUNK = 2**25  # values that are encoded at once
SEED = 0


def import_faiss() -> Any:
    """Import faiss. Raises UsageError if it is missing."""
    try:
        import faiss
    except ImportError as error:
        raise UsageError("an index of so many rows needs faiss: pip install 'vggfeat[index]'") from error
    return faiss


class Coder(NamedTuple):
    """Makes codes. mean : float32 (dim,). projection : float32 (dim, d). centres : float32 (lists, d), in the unit of
    the codes, which are 128 + scale * the projected values.
    """

    mean: np.ndarray
    projection: np.ndarray
    centres: np.ndarray
    scale: float

    def project(self, X: np.ndarray) -> np.ndarray:
        """float32 (n, d) of descriptors float32 (n, dim), in the unit of the codes."""
        return (X - self.mean) @ self.projection * self.scale + 128

    def encode(self, X: FixedPoint, first: int, bar: Any) -> tuple[np.ndarray, np.ndarray]:
        """Codes uint8 (n, d), and lists int32 (n,), of the rows from `first` on. bar : counts them."""
        faiss, rows = import_faiss(), np.arange(first, len(X))
        codes, lists = np.empty((len(rows), self.centres.shape[1]), np.uint8), np.empty(len(rows), np.int32)
        for some in slices(len(rows), X.shape[1]):
            projected = self.project(X[rows[some]])
            codes[some] = np.clip(np.rint(projected), 0, 255)
            lists[some] = faiss.knn(projected, self.centres, 1)[1][:, 0]
            bar.update(len(projected))
        return codes, lists


def slices(rows: int, dim: int, values: int = CHUNK) -> Iterator[slice]:
    """The rows in pieces of so many values."""
    step = max(1, values // dim)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def list_count(rows: int) -> int:
    """How many lists for so many rows."""
    return int(min(max(1, 4 * round(rows**0.5)), rows // PER_LIST + 1))


def shuffled(rows: np.ndarray) -> np.ndarray:
    """The rows in the order in which they are drawn: the first ones train, the last ones are held out as queries."""
    return np.random.default_rng(SEED).permutation(rows)


def held_out(rows: int) -> int:
    """How many of so many rows are held out as queries."""
    return min(QUERIES, rows // 5)


def trained(X: FixedPoint, rows: np.ndarray) -> Coder:
    """Choose components and centres by some of these rows of the descriptors."""
    from sklearn.utils.extmath import randomized_svd

    faiss = import_faiss()
    count, dim = list_count(len(rows)), X.shape[1]
    sample = shuffled(rows)[: min(max(SAMPLE, PER_LIST * count), len(rows) - held_out(len(rows)))]
    some = X[np.sort(sample[: min(SAMPLE, VALUES // dim)])]
    mean = some.mean(axis=0)
    some -= mean
    # of the sample, not of its covariance, which has 1.2 GB for 12,288 values
    _, _, components = randomized_svd(some, min(DIM, *some.shape), random_state=SEED)
    projection = np.ascontiguousarray(components.T, np.float32)
    widest = float(np.abs(some @ projection).max())
    coder = Coder(mean, projection, np.empty((0, projection.shape[1]), np.float32), 127 / max(widest, _NARROWEST))
    sample.sort()
    projected = np.concatenate([coder.project(X[sample[piece]]) for piece in slices(len(sample), dim)])
    count = min(count, len(projected))
    means = faiss.Kmeans(
        projected.shape[1], count, niter=ROUNDS, seed=SEED, min_points_per_centroid=1, max_points_per_centroid=PER_LIST
    )
    means.train(projected)
    return coder._replace(centres=means.centroids.reshape(count, -1))


class Lists:
    """The lists in memory. codes : uint8 (rows, d). lists : int32 (rows,). alive : int (n,), the rows that are listed.

    Raises StoreError if the arrays do not fit together.
    """

    def __init__(self, coder: Coder, codes: np.ndarray, lists: np.ndarray, alive: np.ndarray) -> None:
        if not (np.isfinite(coder.centres).all() and np.isfinite(coder.projection).all()):
            raise StoreError(f"the index: its centres are not finite; {REBUILD}")
        if len(lists) and not 0 <= lists.min() <= lists.max() < len(coder.centres):
            raise StoreError(f"the index: a row is in a list that does not exist; {REBUILD}")
        self.coder, self._codes, self._lists, self._alive = coder, codes, lists, alive

    @cached_property
    def _index(self) -> Any:
        faiss = import_faiss()
        count, dim = self.coder.centres.shape
        centres = faiss.IndexFlatL2(dim)
        centres.add(np.ascontiguousarray(self.coder.centres))
        index = faiss.IndexIVFScalarQuantizer(
            centres, dim, count, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2, False
        )
        index.is_trained = True
        rows = self._alive[np.argsort(self._lists[self._alive], kind="stable")]
        edges = np.searchsorted(self._lists[rows], np.arange(count + 1))
        for number in range(count):
            ids = np.ascontiguousarray(rows[edges[number] : edges[number + 1]], np.int64)
            codes = np.ascontiguousarray(self._codes[ids])
            index.invlists.add_entries(number, len(ids), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
        index.ntotal = len(rows)
        return index

    def candidates(self, Q: np.ndarray, probes: int, most: int) -> np.ndarray:
        """int64 (n, most): rows that may be near each query, the likeliest first; -1 where there are no more."""
        self._index.nprobe = probes
        coded = np.clip(self.coder.project(Q), 0, 255)  # faiss makes bytes of the queries, and does not clip
        return self._index.search(coded, most)[1]
