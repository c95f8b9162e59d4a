"""The descriptor store: a folder of Parquet parts, a row an image, a column a scale.

    meta.json            format, versions, and the fingerprint: everything that decides a number
    part-00000.parquet   path, label, width, height, q256, q384, ...
    failures.csv         path, reason

The columns q256, ... are fixed-size lists of float32 or float16: flip-averaged, neither normalised nor
aggregated. Aggregation, normalisation and fusion are chosen when a store is read, without torch or a GPU.
"""

import csv
import fcntl
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vggfeat import __version__
from vggfeat.aggregate import Aggregation, Normalisation, aggregate, fuse
from vggfeat.errors import StoreError, UsageError

FORMAT = "vggfeat-store/1"
DTYPES = {"float32": pa.float32(), "float16": pa.float16()}


@dataclass(frozen=True)
class Record:
    """One image of a store: its name, label and size as read, and a vector (C,) for each scale Q."""

    path: str
    label: str | None
    width: int
    height: int
    scales: dict[int, np.ndarray]


@dataclass(frozen=True)
class Descriptors:
    """What `load` gives: X float32 (N, dim); paths and labels (None where there is none), N each; meta."""

    X: np.ndarray
    paths: list[str]
    labels: list[str | None]
    meta: dict[str, Any]


class Store:
    """A store on disk, for reading. Raises StoreError where there is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta = _read_meta(self.path)

    @property
    def fingerprint(self) -> dict[str, Any]:
        return self.meta["fingerprint"]

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(self.fingerprint["scales"])

    @property
    def parts(self) -> list[Path]:
        return sorted(self.path.glob("part-*.parquet"), key=lambda part: (len(part.name), part.name))

    @cached_property
    def paths(self) -> list[str]:
        """The names of all rows, in the order of the rows."""
        return self.read(["path"])["path"].to_pylist()

    @property
    def failures(self) -> dict[str, str]:
        """Name -> reason of each image that could not be described."""
        return read_failures(self.path)

    def __len__(self) -> int:
        return sum(_readable(part, lambda part: pq.read_metadata(part).num_rows) for part in self.parts)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows as an Arrow table. Raises StoreError, naming the part, where one is damaged."""
        tables = [_readable(part, lambda part: _read_part(part, columns)) for part in self.parts]
        if not tables:
            raise StoreError(f"{self.path}: has no rows yet; run the extraction again to continue it")
        table = pa.concat_tables(tables)
        for column in columns or ():
            if column not in table.column_names:
                raise StoreError(f"{self.path}: its parts lack the column {column}; extract it anew")
        return table


def load(
    path: str | Path | Sequence[str | Path],
    *,
    agg: Aggregation | None = None,
    normalize: Normalisation = "l2",
    scales: Sequence[int] | None = None,
) -> Descriptors:
    """Read a store, aggregated over its scales; several stores are fused (their nets' descriptors stacked).

    agg: "mean", "max" or "stack"; None is what was named at the extraction. scales: some of the stored ones;
    None for all. The rows come in the order of the (first) store; stores to be fused must hold the same images.

    Raises StoreError for a path that is no store, a damaged part, a scale that isn't stored, or stores of
    different images; UsageError for an unknown agg or normalize.
    """
    stores = [Store(p) for p in ([path] if isinstance(path, str | Path) else path)]
    if not stores:
        raise UsageError("no store to load")
    agg = agg or stores[0].meta.get("agg", "mean")
    names, labels, matrices = None, [], []
    for store in stores:
        chosen = _chosen_scales(store, scales)
        table = store.read(["path", "label", *(f"q{q}" for q in chosen)])
        if names is None:
            names, labels = table["path"].to_pylist(), table["label"].to_pylist()
        columns = [_matrix(table[f"q{q}"]) for q in chosen]
        matrix = aggregate(columns, agg, normalize)
        matrices.append(matrix[_same_order(names, table["path"].to_pylist(), store.path)])
    assert names is not None
    return Descriptors(fuse(matrices, normalize), names, labels, stores[0].meta)


def _chosen_scales(store: Store, scales: Sequence[int] | None) -> Sequence[int]:
    for q in scales or ():
        if q not in store.scales:
            raise StoreError(f"{store.path}: has no scale {q}; its scales are {','.join(map(str, store.scales))}")
    return scales or store.scales


def _same_order(wanted: list[str], found: list[str], path: Path) -> Any:
    if wanted == found:
        return slice(None)
    place = {name: i for i, name in enumerate(found)}
    missing = next((name for name in wanted if name not in place), None)
    if missing is not None or len(found) != len(wanted):
        raise StoreError(f"{path}: doesn't hold the same images as the other store ({missing or 'it has more'})")
    return [place[name] for name in wanted]


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    dim = column.type.list_size
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(flat).astype(np.float32, copy=False).reshape(-1, dim)


class Writer:
    """Adds rows to a store, new or existing; a context manager that holds the store's lock.

    Parts and lists are written whole: to a temporary file, synced, then renamed. Raises StoreError where the
    store was made otherwise (both values are named), is in use by another process or can't be written.

    done : the names that the store held when it was opened. failures : name -> reason, to be added to.
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: dict[str, Any],
        *,
        agg: str = "mean",
        weights: str = "",
        dtype: str = "float32",
    ) -> None:
        if dtype not in DTYPES:
            raise UsageError(f"no dtype {dtype!r} for a store; take one of {', '.join(DTYPES)}")
        self.path = Path(path)
        self.dtype = DTYPES[dtype]
        meta = {
            "format": FORMAT,
            "vggfeat": __version__,
            "weights": weights,
            "agg": agg,
            "fingerprint": {**fingerprint, "dtype": dtype},
        }
        self.meta = json.loads(json.dumps(meta))  # as it will be read: tuples are lists there
        self.done: set[str] = set()
        self.failures: dict[str, str] = {}
        self._written_failures: dict[str, str] = {}

    def __enter__(self) -> "Writer":
        self._lock = self._locked()
        try:
            self._resume()
        except BaseException:
            self._lock.close()
            raise
        return self

    def _locked(self) -> IO[bytes]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = {entry.name for entry in self.path.iterdir()} - {".lock", "meta.json.tmp"}
            if others and "meta.json" not in others:
                raise StoreError(f"{self.path}: is a folder with other things in it, not a store; name another one")
            lock = (self.path / ".lock").open("wb")
        except OSError as error:
            raise StoreError(f"{self.path}: can't be written ({error.strerror})") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise StoreError(f"{self.path}: another process is writing to this store; wait for it to end") from error
        return lock

    def _resume(self) -> None:
        """Take up what the folder holds; a new one gets its meta.json."""
        for left_over in self.path.glob("*.tmp"):
            left_over.unlink()
        if not (self.path / "meta.json").exists():
            self._write("meta.json", lambda file: file.write_text(json.dumps(self.meta, indent=1) + "\n"))
        store = Store(self.path)
        _check_fingerprint(self.path, store.fingerprint, self.meta["fingerprint"])
        self.done = set(store.paths) if store.parts else set()
        self.failures = store.failures
        self._written_failures = dict(self.failures)
        self._next = 1 + max((int(part.stem.removeprefix("part-")) for part in store.parts), default=-1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def commit(self, records: Sequence[Record]) -> None:
        """Write the records as one part (none for no records), and the failures if there are new ones."""
        if records:
            table = self._table(records)
            self._write(
                f"part-{self._next:05d}.parquet",
                lambda file: pq.write_table(table, file, compression="zstd", use_dictionary=["path", "label"]),
            )
            self._next += 1
            for record in records:
                self.failures.pop(record.path, None)
        if self.failures != self._written_failures:
            self._write("failures.csv", lambda file: write_failures(file, self.failures))
            self._written_failures = dict(self.failures)

    def _table(self, records: Sequence[Record]) -> pa.Table:
        columns: dict[str, pa.Array] = {
            "path": pa.array([r.path for r in records], pa.string()),
            "label": pa.array([r.label for r in records], pa.string()),
            "width": pa.array([r.width for r in records], pa.int32()),
            "height": pa.array([r.height for r in records], pa.int32()),
        }
        for q in self.meta["fingerprint"]["scales"]:
            matrix = np.stack([r.scales[q] for r in records]).astype(self.dtype.to_pandas_dtype())
            columns[f"q{q}"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        return pa.table(columns)

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        temporary = self.path / f"{name}.tmp"
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.rename(self.path / name)
            folder = os.open(self.path, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise StoreError(
                f"{self.path / name}: can't be written ({error.strerror or error}); "
                "what was written before is kept, run the same command again to continue"
            ) from error


def read_failures(store: Path) -> dict[str, str]:
    """failures.csv of a store as name -> reason."""
    file = store / "failures.csv"
    if not file.exists():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        return {row["path"]: row["reason"] for row in csv.DictReader(lines)}


def write_failures(file: Path, failures: dict[str, str]) -> None:
    """The same, written; sorted by name."""
    with file.open("w", newline="", encoding="utf-8") as lines:
        rows = csv.writer(lines)
        rows.writerow(["path", "reason"])
        rows.writerows(sorted(failures.items()))


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads((path / "meta.json").read_text())
    except FileNotFoundError as error:
        raise StoreError(f"{path}: is no descriptor store (it has no meta.json)") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path / 'meta.json'}: can't be read ({error})") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise StoreError(f"{path}: is not a store of the format {FORMAT} that this version reads")
    fingerprint = meta.get("fingerprint")
    if not isinstance(fingerprint, dict) or not isinstance(fingerprint.get("scales"), list):
        raise StoreError(f"{path / 'meta.json'}: has no fingerprint; extract the store anew")
    return meta


def _check_fingerprint(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in sorted(stored.keys() | wanted.keys()):
        if stored.get(key) != wanted.get(key):
            raise StoreError(
                f"{path}: was made with {key} {stored.get(key)!r}, not {wanted.get(key)!r}; "
                "give the same options or name another store"
            )


def _read_part(part: Path, columns: Sequence[str] | None) -> pa.Table:
    with pq.ParquetFile(part) as file:
        return file.read(columns=columns)  # leaves out columns that aren't there


def _readable(part: Path, read: Callable[[Path], Any]) -> Any:
    try:
        return read(part)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise StoreError(
            f"{part}: is damaged ({str(error).splitlines()[0]}); "
            "delete it and run the extraction again, which describes its images anew"
        ) from error
