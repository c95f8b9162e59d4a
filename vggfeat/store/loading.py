"""Stores as a matrix: aggregated over the scales, fused over the nets, in memory or in a file."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vggfeat._util.files import remove_leftovers, replacing, reserve
from vggfeat._util.left_out import LeftOut
from vggfeat._util.options import check_choice
from vggfeat._util.printable import say
from vggfeat.aggregate import aggregate, fuse
from vggfeat.errors import StoreError, UsageError
from vggfeat.spec import Aggregation, Normalisation, whole_scales
from vggfeat.store.parts import BATCH, UNSIGNED
from vggfeat.store.reading import Store

TWICE = "rows of images that have another row, which the same extraction removes"


@dataclass(frozen=True)
class Descriptors:
    """Descriptors in memory or in a mapped file, as `load` returns them.

    Attributes
    ----------
    X : ndarray, float32, shape (N, dim)
        One descriptor per row.
    paths : list of N str
        Names of the images.
    labels : list of N str or None
        Labels of the images; None for an image without one.
    meta : dict
        meta.json of the (first) store.
    """

    X: np.ndarray
    paths: list[str]
    labels: list[str | None]
    meta: dict[str, Any]


def load(
    path: str | Path | Sequence[str | Path],
    *,
    agg: Aggregation | None = None,
    normalize: Normalisation = "l2",
    scales: Sequence[int] | None = None,
    rows: slice | Sequence[int] | np.ndarray | None = None,
    mmap: str | Path | None = None,
) -> Descriptors:
    """Read a store, aggregated over its scales; several stores are fused: the descriptors of their nets are stacked.

    Besides the matrix and the names, about 20 MB of memory are used.

    Parameters
    ----------
    path : str, path, or sequence of these
        One store, or several stores of the same images.
    agg : {"mean", "max", "stack"}, optional
        Aggregation over the scales. Default: the one named at the extraction.
    normalize : {"l2", "per-scale", "none"}
        L2 normalisation: once at the end (as in the paper), of each scale and at the end, or none.
    scales : sequence of int, optional
        Some of the stored scales. Default: all.
    rows : slice, sequence of int, or boolean mask, optional
        Some of the rows, in this order; negative numbers count from the end. Default: all, in the order of the
        (first) store.
    mmap : str or path, optional
        A .npy file. The matrix is written to it and mapped from there, read-only: for stores larger than memory.

    Returns
    -------
    Descriptors

    Raises
    ------
    StoreError
        If a path is not a store, a part is damaged, a scale is not stored, or the stores hold different images.
    UsageError
        If `agg` or `normalize` is unknown, or `rows` does not fit.
    OSError
        If the file `mmap` cannot be written.

    References
    ----------
    Appendix B, "Generalisation of Very Deep Features".
    """
    selection = Selection(path, agg=agg, normalize=normalize, scales=scales, rows=rows)
    if mmap is not None:
        X = selection.mapped(Path(mmap))
    else:
        X = np.empty(selection.shape, np.float32)
        selection.fill(X)
    return Descriptors(X, selection.paths, selection.labels, selection.meta)


class Rows(Protocol):
    """Descriptors that can be written to a file; shape : (N, dim)."""

    shape: tuple[int, int]
    paths: list[str]
    labels: list[str | None]

    def fill(self, X: Any) -> None:
        """Fill X, float32 of `shape`: an array, a memory map, an HDF5 data set."""


def write_npy(rows: Rows, file: Path) -> None:
    """Write the matrix as .npy. Raises OSError."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": rows.shape})
    with file.open("w+b") as out:
        write_matrix(rows, out, head.getvalue())


def write_matrix(rows: Rows, out: IO[bytes], head: bytes = b"") -> np.ndarray:
    """Write `head` and then the matrix to a file that is empty, open to read and write, and return a map of the matrix.

    Raises OSError if the disk has no room; it is reserved first, since a write to the map would then end the process.
    """
    out.write(head)
    reserve(out, 4 * rows.shape[0] * rows.shape[1])
    if not rows.shape[0]:  # nothing cannot be mapped
        return np.empty(rows.shape, np.float32)
    X = np.memmap(out, "<f4", "r+", len(head), rows.shape)
    rows.fill(X)
    X.flush()
    return X


class Selection:
    """Rows of one or several stores, to be aggregated, normalised and fused; the arguments and errors are `load`'s.

    shape : (N, dim) of the matrix. paths, labels : of its rows. meta : of the (first) store.
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path],
        *,
        agg: Aggregation | None = None,
        normalize: Normalisation = "l2",
        scales: Sequence[int] | None = None,
        rows: slice | Sequence[int] | np.ndarray | None = None,
    ) -> None:
        self._stores = [Store(p) for p in ([path] if isinstance(path, str | Path) else path)]
        if not self._stores:
            raise UsageError("no store to load")
        self.meta = self._stores[0].meta
        self._agg: Aggregation = agg or self.meta.get("agg", "mean")
        self._normalize: Normalisation = normalize
        check_choice("aggregation", self._agg, Aggregation)
        check_choice("normalisation", normalize, Normalisation)
        chosen_scales = whole_scales(scales) if scales is not None else ()
        self._scales = [_chosen_scales(store, chosen_scales) for store in self._stores]
        table = self._stores[0].read(["path", "label"])
        chosen = _numbers(rows, len(table))
        wanted = table if rows is None else table.take(pa.array(chosen))
        self.paths: list[str] = wanted["path"].to_pylist()
        self.labels: list[str | None] = wanted["label"].to_pylist()
        say_what_is_odd(self._stores[0], table["path"])
        for store in self._stores[1:]:
            say_what_is_odd(store)
        others = [_places(self._stores[0], table["path"], store) for store in self._stores[1:]]
        self._rows = [chosen, *(chosen if place is None else place[chosen] for place in others)]
        self._dims = [
            store.length * (len(chosen) if self._agg == "stack" else 1)
            for store, chosen in zip(self._stores, self._scales, strict=True)
        ]
        self.shape = (len(self.paths), sum(self._dims))

    def fill(self, X: Any) -> None:
        """See `Rows`."""
        left = 0
        for store, scales, rows, dim in zip(self._stores, self._scales, self._rows, self._dims, strict=True):
            for places, columns in _wanted(store, [f"q{q}" for q in scales], rows):
                X[places, left : left + dim] = aggregate(columns, self._agg, self._normalize)
            left += dim
        if len(self._stores) > 1:
            edges = np.cumsum(self._dims)[:-1]
            for start in range(0, len(X), BATCH):
                some = slice(start, start + BATCH)
                X[some] = fuse(np.split(X[some], edges, axis=1), self._normalize)

    def mapped(self, file: Path) -> np.ndarray:
        """The matrix in a .npy file, mapped read-only; the file is written whole or not at all. Raises OSError."""
        remove_leftovers(file)
        with replacing(file) as temporary:
            write_npy(self, temporary)
        return np.load(file, mmap_mode="r" if self.shape[0] else None)


def _chosen_scales(store: Store, scales: tuple[int, ...]) -> Sequence[int]:
    for q in scales:
        if q not in store.scales:
            raise StoreError(f"{store.path}: has no scale {q}; its scales are {','.join(map(str, store.scales))}")
    return scales or store.scales


def _numbers(rows: slice | Sequence[int] | np.ndarray | None, count: int) -> np.ndarray:
    every = np.arange(count, dtype=np.int64)
    try:
        if rows is None or isinstance(rows, slice):
            return every[rows or slice(None)]
        wanted = np.asarray(rows)
        if wanted.ndim != 1:
            raise ValueError(f"give a slice, a list of numbers or a mask, not {rows!r}")
        return every[wanted if len(wanted) else wanted.astype(np.int64)]
    except (IndexError, TypeError, ValueError) as error:
        raise UsageError(f"rows of a store of {count}: {error}") from error


def say_what_is_odd(store: Store, names: pa.ChunkedArray | None = None) -> None:
    """Print what a user should know of a store. names : of its rows, to look for those that stand twice.

    Raises StoreError if a run was killed between the new row of a changed image and dropping the old one.
    """
    remarks = LeftOut()
    for part, footer in zip(store.parts, store.footers, strict=True):
        if not footer.signed:
            remarks.add(UNSIGNED, part.name)
    if names is not None and (twice := len(names) - pc.count_distinct(names).as_py()):
        of_name = (
            store.read(["path", "sha256"]).group_by("path").aggregate([("sha256", "count_distinct"), ([], "count_all")])
        )
        changed = of_name.filter(pc.greater(of_name["sha256_count_distinct"], 1))["path"]
        if len(changed):
            raise StoreError(
                f"{store.path}: has rows of two images named {changed[0].as_py()}, because a run was killed; "
                "run the same extraction again"
            )
        remarks.add(TWICE, of_name.filter(pc.greater(of_name["count_all"], 1))["path"][0].as_py(), count=twice)
    for line in remarks.lines():
        say(f"{store.path}: {line}")


def _places(first: Store, wanted: pa.ChunkedArray, store: Store) -> np.ndarray | None:
    """The numbers in another store of the rows of the first one, int64 (N,); None if they are the same.

    Raises StoreError if the stores hold different images.
    """
    table = store.read(["path", "sha256"])
    found, order = table["path"], None
    if not found.equals(wanted):
        place = {name: i for i, name in enumerate(found.to_pylist())}
        missing = next((name for name in wanted.to_pylist() if name not in place), None)
        if missing is not None or len(found) != len(wanted):
            difference = f"{missing} is missing" if missing is not None else "it has more"
            raise StoreError(f"{store.path}: does not hold the same images as the first store ({difference})")
        order = np.array([place[name] for name in wanted.to_pylist()], np.int64)
        table = table.take(pa.array(order))
    changed = pc.fill_null(pc.not_equal(first.read(["sha256"])["sha256"], table["sha256"]), False)
    if (at := pc.index(changed, True).as_py()) >= 0:
        raise StoreError(
            f"{first.path} and {store.path}: {wanted[at].as_py()} is a different image in each; "
            "run the extraction of both again"
        )
    return order


def _wanted(store: Store, columns: list[str], rows: np.ndarray) -> Iterator[tuple[Any, list[np.ndarray]]]:
    """(places of some rows in the result, float32 (n, C) for each column), in the order of the store."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    start = 0
    for number, size in enumerate(store.sizes):
        end = start + size
        if np.searchsorted(ordered, start) == np.searchsorted(ordered, end):  # its file is not even opened
            start = end
            continue
        for batch in store.batches(columns, part=number):
            low, high = np.searchsorted(ordered, (start, start + len(batch)))
            if low < high:
                places = order[low:high]
                ascending = np.argsort(places)  # HDF5 requires it
                inside = (ordered[low:high] - start)[ascending]
                yield _as_slice(places[ascending]), [matrix_of(batch.column(column))[inside] for column in columns]
            start += len(batch)


def _as_slice(places: np.ndarray) -> Any:
    if places[-1] - places[0] + 1 == len(places):
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def matrix_of(column: pa.Array) -> np.ndarray:
    """The vectors of a batch, float32 (n, C)."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(-1, column.type.list_size)
