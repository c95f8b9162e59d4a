"""Index: search among the descriptors of a store."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from vggfeat._util.options import takes
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError
from vggfeat.images import Source
from vggfeat.index import graph, queries
from vggfeat.index.building import bring_up_to_date, graph_of
from vggfeat.index.duplicates import Duplicates, find_duplicates
from vggfeat.index.files import Arrays, Recall, folder_of
from vggfeat.index.reading import Rows, places_of
from vggfeat.index.settings import IndexSettings
from vggfeat.inputs import is_image
from vggfeat.neighbours import Neighbours
from vggfeat.spec import Lineage
from vggfeat.store import Store
from vggfeat.store.remaking import describer_of_store

K = 10


class Match(NamedTuple):
    """A photo that is near a query.

    Parameters
    ----------
    path : str
        Its name in the store.
    label : str or None
        Its label.
    similarity : float
        The cosine of the two descriptors, at most 1.
    row : int
        Its row in the store.
    """

    path: str
    label: str | None
    similarity: float
    row: int


class Index:
    """An index of the photos of a store, which finds those that look like another photo.

    If the store has no index, it is made. If rows of the store were added, changed or removed, the index is brought up
    to date first; a line on stderr says so. It is kept in the folder `_index` of the store.

    Parameters
    ----------
    store : str or path
        A store of `vggfeat.extract`.
    weights : str or path, optional
        The weights by which the store was made. Needed only if they have no name in the registry, to search for images.
    lineage : {"oxford", "torchvision"} or None
        The lineage of these weights, if it was given when the store was made.
    device : str
        Where images are described: auto, cpu, cuda, cuda:1, ...

    Raises
    ------
    StoreError
        If the folder is not a store, the index is damaged or belongs to another store, or it cannot be written.
    UsageError
        If the index needs faiss, and it is not installed.

    Examples
    --------
    >>> index = vggfeat.Index("photos.vggfeat")  # doctest: +SKIP
    >>> index.search("cat.jpg", k=3)  # doctest: +SKIP
    [Match(path='cats/3.jpg', label='cats', similarity=0.93, row=17), ...]
    """

    def __init__(
        self,
        store: str | Path,
        *,
        weights: str | Path | None = None,
        lineage: Lineage | None = None,
        device: str = "auto",
    ) -> None:
        self.store = Store(store)
        self._state = bring_up_to_date(self.store)
        self._weights, self._lineage, self._device = weights, lineage, device

    def __len__(self) -> int:
        """Number of photos in the index."""
        return len(self._alive)

    @property
    def settings(self) -> IndexSettings:
        """The settings by which the index was made."""
        return self._state.settings

    @property
    def recall(self) -> Recall | None:
        """Share of the ten true neighbours that a search finds, as it was measured; None if each search is exact."""
        return self._state.lists.recall if self._state.lists else None

    def search(self, query: Source | Store | Iterable[Source], k: int = K) -> list[Match] | list[list[Match]]:
        """Find the photos that are nearest to one image or to several.

        Parameters
        ----------
        query : image, list of images, descriptors, or store
            An image is what `vggfeat.describe` takes. Descriptors are an array of float, (dim,) or (N, dim). The rows
            of a store, or of its path, must have been described in the same way; if it is the store of this index, a
            photo is not among its own neighbours.
        k : int
            How many photos for each query.

        Returns
        -------
        list of Match for one image or descriptor, list of such lists for several
            The nearest first; fewer than k if the index has fewer.

        Raises
        ------
        UsageError
            If k is less than 1, or descriptors do not fit.
        ImageError
            If an image cannot be read; the message names the file.
        StoreError
            If the index is damaged, or the weights are not those of the store.
        """
        single = query.ndim == 1 if isinstance(query, np.ndarray) and query.dtype.kind == "f" else is_image(query)
        single = single and not queries.is_store(query)
        found = self.nearest(query, k)
        matches = [self._matches(rows, cosines) for rows, cosines in zip(found.rows, found.cosines, strict=True)]
        return matches[0] if single else matches

    def nearest(self, query: Source | Store | Iterable[Source], k: int = K) -> Neighbours:
        """As `search`, as arrays.

        Parameters
        ----------
        query, k
            As for `search`.

        Returns
        -------
        Neighbours
            Rows of the store, int64 (N, k), and cosines, float32 (N, k), the nearest first.
        """
        if k < 1:
            raise UsageError(f"k must be 1 or more, not {k}")
        if queries.is_store(query) and queries.opened(query).path.samefile(self.store.path):
            found = self.neighbours if k <= graph.K else self._of_own_rows(k)
            return Neighbours(found.rows[:, :k], found.cosines[:, :k])
        found = self._rows.search(self._vectors(query), k)
        return Neighbours(self._in_store(found.rows), found.cosines)

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest neighbours of each row of the store: rows int64 (N, 15), and cosines float32 (N, 15).

        They are computed once, and kept with the index. When rows are added or removed, only these and their neighbours
        are computed again. They are exact, except those of rows that were searched for among candidates. A row of an
        image that has another row, which the same extraction would remove, has none: -1, with the cosine -1. Fewer than
        16 photos have fewer neighbours.
        """
        return graph_of(self.store, self._state.basis)

    def duplicates(self, threshold: float | None = None) -> Duplicates:
        """Find photos that the store has twice: equal files, equal pixels, and near twins.

        All photos of a group are near each other: the cosine of each pair reaches the threshold. Nothing is deleted.

        Parameters
        ----------
        threshold : float, optional
            From which cosine on two photos are near twins. Default: proposed from the distances between the photos.

        Returns
        -------
        Duplicates

        Raises
        ------
        UsageError
            If the threshold is not between 0 and 1.
        StoreError
            If the index is damaged.
        """
        if threshold is not None and not 0 < threshold <= 1:
            raise UsageError(f"threshold must be above 0 and at most 1, not {threshold:g}")
        return find_duplicates(self.store, self.neighbours, self._nearest_of, self.descriptors, threshold)

    def descriptors(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Descriptors of rows of the store.

        Parameters
        ----------
        rows : sequence of int
            Rows of the store.

        Returns
        -------
        ndarray, float32, shape (len(rows), dim)
            L2 norm 1, rounded to 16 bits; zeros for a row of an image that has another row.
        """
        at = self._numbers[rows]
        return np.where(at[:, None] < 0, np.float32(0), self._rows.X[at])

    @cached_property
    def _arrays(self) -> Arrays:
        return Arrays(folder_of(self.store.path), self._state)

    @cached_property
    def _places(self) -> np.ndarray:
        """int64: for each row of the index its row in the store, -1 for none."""
        return places_of(self._arrays, len(self.store))

    @cached_property
    def _alive(self) -> np.ndarray:
        return np.flatnonzero(self._places >= 0)

    @cached_property
    def _numbers(self) -> np.ndarray:
        """int64: for each row of the store its row in the index, -1 for none."""
        numbers = np.full(len(self.store), -1, np.int64)
        numbers[self._places[self._alive]] = self._alive
        return numbers

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self._arrays, self._alive)

    @cached_property
    def _names(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        table = self.store.read(["path", "label"])
        return table["path"], table["label"]

    @cached_property
    def _describer(self) -> Describer:
        state = self._state
        return describer_of_store(self.store, state.agg, state.normalize, self._weights, self._lineage, self._device)

    def _in_store(self, rows: np.ndarray) -> np.ndarray:
        return np.append(self._places, -1)[rows]  # row -1 is the last one

    def _vectors(self, query: Any) -> np.ndarray:
        if queries.is_store(query):
            return queries.stored_vectors(query, self.store, self._state)
        vectors = queries.given_vectors(query, self._state.dim)
        return np.atleast_2d(self._describer.describe(query)) if vectors is None else vectors

    def _of_own_rows(self, k: int) -> Neighbours:
        return self._nearest_of(np.arange(len(self.store)), k)

    def _nearest_of(self, rows: np.ndarray, k: int) -> Neighbours:
        """The neighbours of rows of the store, as `neighbours`."""
        found = self._rows.search(self.descriptors(rows), k + 1)
        near = self._in_store(found.rows)
        order = np.argsort(near == rows[:, None], axis=1, kind="stable")[:, :k]
        return Neighbours(np.take_along_axis(near, order, axis=1), np.take_along_axis(found.cosines, order, axis=1))

    def _matches(self, rows: np.ndarray, cosines: np.ndarray) -> list[Match]:
        paths, labels = self._names
        return [
            Match(paths[row].as_py(), labels[row].as_py(), cosine, row)
            for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
            if row >= 0
        ]


@takes(settings=IndexSettings)
def build(store: str | Path, *, settings: IndexSettings, rebuild: bool = False) -> Index:
    """Build the index of a store, or bring it up to date: new rows are added, rows that are gone are left out.

    Parameters
    ----------
    store : str or path
        A store of `vggfeat.extract`.
    agg, normalize, exact_rows, goal
        See `IndexSettings`. An index that was made with other settings is made anew.
    settings : IndexSettings
        All of these as one object, instead of them.
    rebuild : bool
        Make the index anew, also if it fits the store.

    Returns
    -------
    Index

    Raises
    ------
    StoreError
        If the folder is not a store, the index is damaged or belongs to another store, or it cannot be written.
    UsageError
        If a setting is invalid, or the index needs faiss, and it is not installed.
    """
    bring_up_to_date(Store(store), settings, rebuild)
    return Index(store)
