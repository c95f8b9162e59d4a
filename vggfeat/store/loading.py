"""Stores as a matrix: scales aggregated, nets fused, in memory or in a file."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vggfeat.aggregate import aggregate, fuse
from vggfeat.errors import StoreError, UsageError
from vggfeat.spec import Aggregation, Normalisation, whole_scales
from vggfeat.store import files
from vggfeat.store.reading import Store


@dataclass(frozen=True)
class Descriptors:
    """What `load` gives: X float32 (N, dim); paths and labels (None where there is none), N each; meta."""

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
    """Read a store, aggregated over its scales; several stores are fused (their nets' descriptors stacked).

    agg: "mean", "max" or "stack"; None is what was named at the extraction. scales: some of the stored ones;
    None for all. The rows come in the order of the (first) store; stores to be fused must hold the same images.
    rows: which of them: a slice, their numbers (in the order wanted, from the end if negative), or a mask; None for
    all. mmap: X is written into this .npy file and mapped from there, read-only, for stores larger than memory.

    Besides X, some 20 MB are in use at a time, and the names. Raises StoreError for a path that is no store, a
    damaged part, a scale that isn't stored, or stores of different images; UsageError for an unknown agg or
    normalize, or rows that aren't there.
    """
    selection = Selection(path, agg=agg, normalize=normalize, scales=scales, rows=rows)
    if mmap is not None:
        X = selection.mapped(Path(mmap))
    else:
        X = np.empty(selection.shape, np.float32)
        selection.into(X)
    return Descriptors(X, selection.paths, selection.labels, selection.meta)


class Selection:
    """Rows of one or several stores, aggregated, normalised and fused when `into` is called; see `load`.

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
        aggregate([np.zeros((1, 1))], self._agg, normalize)  # complains of a wrong word before the work
        chosen_scales = whole_scales(scales) if scales is not None else ()
        self._scales = [_chosen_scales(store, chosen_scales) for store in self._stores]
        self._rows = self._choose(rows)
        dims = [_dim(store, chosen) for store, chosen in zip(self._stores, self._scales, strict=True)]
        self._dims = [
            dim * (len(chosen) if self._agg == "stack" else 1) for dim, chosen in zip(dims, self._scales, strict=True)
        ]
        self.shape = (len(self.paths), sum(self._dims))

    def _choose(self, rows: slice | Sequence[int] | np.ndarray | None) -> list[np.ndarray]:
        """For each store the place of each wanted row, int64 (N,); sets paths and labels."""
        table = self._stores[0].read(["path", "label"])
        chosen = _numbers(rows, len(table))
        wanted = table if rows is None else table.take(pa.array(chosen))
        self.paths: list[str] = wanted["path"].to_pylist()
        self.labels: list[str | None] = wanted["label"].to_pylist()
        first = table["path"]
        others = [_places(first, store) for store in self._stores[1:]]
        return [chosen, *(chosen if place is None else place[chosen] for place in others)]

    def into(self, X: Any) -> None:
        """Fill X, float32 of `shape`: an array, a memory map, an HDF5 data set."""
        left = 0
        for store, scales, rows, dim in zip(self._stores, self._scales, self._rows, self._dims, strict=True):
            for places, columns in _wanted(store, [f"q{q}" for q in scales], rows):
                X[places, left : left + dim] = aggregate(columns, self._agg, self._normalize)
            left += dim
        if len(self._stores) > 1:
            edges = np.cumsum(self._dims)[:-1]
            for start in range(0, len(X), files.BATCH):
                some = slice(start, start + files.BATCH)
                X[some] = fuse(np.split(X[some], edges, axis=1), self._normalize)

    def mapped(self, file: Path) -> np.ndarray:
        """The matrix in a .npy file, mapped from there, read-only; the file is there whole or not at all."""
        temporary = file.with_name(f"{file.name}.tmp")
        try:
            with temporary.open("wb") as out:
                header = {"descr": "<f4", "fortran_order": False, "shape": self.shape}
                np.lib.format.write_array_header_1_0(out, header)
                out.flush()
                # Room on the disk, now: a map that finds none when it is written to kills the process.
                os.posix_fallocate(out.fileno(), 0, out.tell() + 4 * self.shape[0] * self.shape[1])
            if self.shape[0]:  # nothing can't be mapped
                X = np.load(temporary, mmap_mode="r+")
                self.into(X)
                X.flush()
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
        return np.load(file, mmap_mode="r" if self.shape[0] else None)


def _chosen_scales(store: Store, scales: tuple[int, ...]) -> Sequence[int]:
    for q in scales:
        if q not in store.scales:
            raise StoreError(f"{store.path}: has no scale {q}; its scales are {','.join(map(str, store.scales))}")
    return scales or store.scales


def _dim(store: Store, scales: Sequence[int]) -> int:
    schema = files.part_schema(store.parts[0])
    lengths = {schema.field(f"q{q}").type.list_size for q in scales if f"q{q}" in schema.names}
    if len(lengths) != 1:
        raise StoreError(f"{store.parts[0]}: lacks the column q{scales[-1]}; extract the store anew")
    return int(lengths.pop())


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


def _places(wanted: pa.ChunkedArray, store: Store) -> np.ndarray | None:
    """Where the rows of the first store stand in another one, int64 (N,); None: at the same places."""
    found = store.read(["path"])["path"]
    if found.equals(wanted):
        return None
    place = {name: i for i, name in enumerate(found.to_pylist())}
    missing = next((name for name in wanted.to_pylist() if name not in place), None)
    if missing is not None or len(found) != len(wanted):
        raise StoreError(f"{store.path}: doesn't hold the same images as the other store ({missing or 'it has more'})")
    return np.array([place[name] for name in wanted.to_pylist()], np.int64)


def _wanted(store: Store, columns: list[str], rows: np.ndarray) -> Iterator[tuple[Any, list[np.ndarray]]]:
    """(where some rows stand in the result, float32 (n, C) for each column), in the order of the store."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    start = 0
    for number, size in enumerate(store.sizes):
        end = start + size
        if np.searchsorted(ordered, start) == np.searchsorted(ordered, end):  # none of them: not even opened
            start = end
            continue
        for batch in store.part_batches(number, columns):
            low, high = np.searchsorted(ordered, (start, start + len(batch)))
            if low < high:
                places = order[low:high]
                ascending = np.argsort(places)  # as HDF5 wants it
                inside = (ordered[low:high] - start)[ascending]
                yield _as_slice(places[ascending]), [_matrix(batch.column(column))[inside] for column in columns]
            start += len(batch)


def _as_slice(places: np.ndarray) -> Any:
    if places[-1] - places[0] + 1 == len(places):
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _matrix(column: pa.Array) -> np.ndarray:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(-1, column.type.list_size)
