"""Adding rows to a store."""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from vggfeat import __version__
from vggfeat.errors import StoreError, UsageError
from vggfeat.store import files
from vggfeat.store.names import Names

LAUNCH = os.environ.get("TORCHELASTIC_RUN_ID", "")  # tells apart the runs of torchrun
FAILURES_SECONDS = 60  # between two writings of a list of failures that grows


@dataclass(frozen=True)
class Record:
    """One image of a store: its name, label and size as read, and a vector (C,) for each scale Q."""

    path: str
    label: str | None
    width: int
    height: int
    scales: dict[int, np.ndarray]


class Parts:
    """Writes parts of a store; who opened it, here or on another machine, is its Writer.

    scales : of the store. dtype : of its vectors. owner : tells apart the temporary files of those who write at once.
    failures : name -> reason, to be added to; a name that gets a row is dropped from it.
    """

    def __init__(self, path: str | Path, scales: Sequence[int], dtype: str = "float32", owner: str = "") -> None:
        if dtype not in files.DTYPES:
            raise UsageError(f"no dtype {dtype!r} for a store; take one of {', '.join(files.DTYPES)}")
        self.path, self.scales, self.dtype = Path(path), scales, files.DTYPES[dtype]
        self.failures: dict[str, str] = {}
        self._owner = owner

    def commit(self, records: Sequence[Record], number: int | None = None) -> None:
        """Write the records as one part, `number` by name (None: the next); no part for no records."""
        if records:
            table = self._table(records)
            name = files.part_name(self.path, files.next_number(self.path) if number is None else number)
            self._write(self.path / name, lambda file: files.write_part(table, file))
            for record in records:
                self.failures.pop(record.path, None)

    def unfit(self, record: Record) -> str:
        """Why a record can't be stored; empty where it can."""
        dtype = np.dtype(self.dtype.to_pandas_dtype())
        most = np.finfo(dtype).max
        if all(np.abs(vector).max(initial=0) <= most for vector in record.scales.values()):  # not so for NaN either
            return ""
        return f"its descriptor has values that are not finite in {dtype}; take another --precision or --dtype"

    def _write(self, file: Path, write: Any) -> None:
        files.write_whole(file, write, self._owner)

    def _table(self, records: Sequence[Record]) -> pa.Table:
        columns: dict[str, pa.Array] = {
            "path": pa.array([r.path for r in records], pa.string()),
            "label": pa.array([r.label for r in records], pa.string()),
            "width": pa.array([r.width for r in records], pa.int32()),
            "height": pa.array([r.height for r in records], pa.int32()),
        }
        for q in self.scales:
            matrix = np.stack([r.scales[q] for r in records]).astype(self.dtype.to_pandas_dtype())
            columns[f"q{q}"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
        return pa.table(columns)


class Writer(Parts):
    """Adds rows to a store, new or existing; a context manager that holds the store's lock.

    share : (i, n), the i-th of n processes that make one store together. Each writes other rows, into parts of its
    own; none needs to know of the others. The last to end puts their lists of failures into one.

    Parts and lists are written whole: to a temporary file, synced, then renamed. Raises StoreError where the
    store was made otherwise (both values are named), is in use by another process or can't be written.

    names : of the rows that the store held when it was opened. failures : name -> reason, to be added to.
    settled : whether, at the end, nobody else is still at work on the store.
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: dict[str, Any],
        *,
        agg: str = "mean",
        weights: str = "",
        dtype: str = "float32",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.rank, self.world = share
        self._mine = f"{self.rank}of{self.world}"
        self._alone = self.world == 1
        super().__init__(path, fingerprint["scales"], dtype, "" if self._alone else f".{self._mine}")
        meta = {
            "format": files.FORMAT,
            "vggfeat": __version__,
            "weights": weights,
            "agg": agg,
            "fingerprint": {**fingerprint, "dtype": dtype},
        }
        self.meta = json.loads(json.dumps(meta))  # as it will be read: tuples are lists there
        self.names = Names()
        self.settled = self.world == 1
        self._failures_file = self.path / ("failures.csv" if self._alone else f"failures-{self._mine}.csv")

    def __enter__(self) -> "Writer":
        with ExitStack() as stack:
            self._lock(stack)
            self._resume()
            self._locks = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._locks:
            if error is not None:
                with suppress(StoreError):  # it would hide the error that matters
                    self._write_failures()
                return
            self._write_failures()
            if not self._alone:
                self._write(self.path / f".ended-{self._mine}", lambda file: file.write_text(LAUNCH, encoding="utf-8"))
                ended = [file.read_text(encoding="utf-8") for file in self.path.glob(f".ended-*of{self.world}")]
                if ended.count(LAUNCH) == self.world:  # one that a former run left says nothing of this one
                    settle(self.path, self._owner)
                    self.settled = True

    def _lock(self, stack: ExitStack) -> None:
        """A process alone shuts out all others; one of several shares the store with all but its double."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = {entry.name for entry in self.path.iterdir() if not entry.name.startswith((".", "meta.json"))}
            if others and not (self.path / "meta.json").exists():
                raise StoreError(f"{self.path}: is a folder with other things in it, not a store; name another one")
            self._flock(stack, ".lock", fcntl.LOCK_EX if self._alone else fcntl.LOCK_SH)
            if not self._alone:
                self._flock(stack, f".lock-{self.rank}", fcntl.LOCK_EX)
        except OSError as error:
            raise StoreError(f"{self.path}: can't be written ({error.strerror})") from error

    def _flock(self, stack: ExitStack, name: str, kind: int) -> None:
        lock = stack.enter_context((self.path / name).open("wb"))
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(f"{self.path}: another process is writing to this store; wait for it to end") from error
        except OSError:
            # Some network file systems have no locks. Two runs at once then cost work, but never a row: parts are
            # written whole under names of their own, and what is there twice is dropped by the next run.
            pass

    def _resume(self) -> None:
        """Take up what the folder holds; a new one gets its meta.json."""
        (self.path / f".ended-{self._mine}").unlink(missing_ok=True)
        if not (self.path / "meta.json").exists():
            self._write_meta(self.meta)
        stored = files.read_meta(self.path)
        files.check_fingerprint(self.path, stored["fingerprint"], self.meta["fingerprint"])
        if self._alone and stored.get("agg") != self.meta["agg"]:  # how to read it, as was said last
            self._write_meta(stored | {"agg": self.meta["agg"]})
        self._written: dict[str, str] = {}
        self._written_at = time.monotonic()
        if self._alone:
            self.settle()
        else:
            for left_over in self.path.glob(f"*{self._owner}.tmp"):
                left_over.unlink(missing_ok=True)
            for part in files.parts(self.path):
                _fresh(part, self.names)

    def _write_meta(self, meta: dict[str, Any]) -> None:
        text = json.dumps(meta, indent=1) + "\n"
        self._write(self.path / "meta.json", lambda file: file.write_text(text, encoding="utf-8"))

    def settle(self) -> None:
        """Take up what others have left or written; only where this writer has the store to itself."""
        self._write_failures()
        self.names, self.failures = settle(self.path)
        self._written = dict(self.failures)

    def commit(self, records: Sequence[Record], number: int | None = None) -> None:
        super().commit(records, number)
        if time.monotonic() - self._written_at > FAILURES_SECONDS:
            self._write_failures()

    def _write_failures(self) -> None:
        if self.failures != self._written:
            self._write(self._failures_file, lambda file: files.write_failures(file, self.failures))
            self._written = dict(self.failures)
        self._written_at = time.monotonic()


def settle(store: Path, owner: str = "") -> tuple[Names, dict[str, str]]:
    """Make one store of what several runs or processes left: each image has one row, or one line in failures.csv.

    owner : of the temporary files that are left over; all, where the process has the store to itself. Others may only
    have ended, or have nothing to write yet. Returns the names of the rows, and the failures.
    """
    names, failures = Names(), files.read_failures(store)
    lists, known = files.failure_lists(store), len(failures)
    for part in files.parts(store):
        fresh = _fresh(part, names, failures)
        if not all(fresh):
            _keep(part, fresh)
    if len(failures) != known or lists[1:]:
        files.write_whole(store / "failures.csv", lambda file: files.write_failures(file, failures))
    for pattern in ("failures-*of*.csv", ".ended-*of*", f"*{owner}.tmp"):
        for left in store.glob(pattern):
            left.unlink(missing_ok=True)
    return names, failures


def names_within(store: Path, places: range) -> Names:
    """The names of the rows in those parts that are named by one of these places."""
    names = Names()
    for part in files.parts(store):
        if files.number_of(part) in places:
            _fresh(part, names)
    return names


def _fresh(part: Path, names: Names, failures: dict[str, str] | None = None) -> list[bool]:
    """For each row of a part whether its name is new; a name with a row is no failure."""
    fresh = []
    for batch in files.part_batches(part, ["path"], files.ROW_GROUP):
        for name in batch.column("path").to_pylist():
            fresh.append(names.add(name))
            if failures:
                failures.pop(name, None)
    return fresh


def _keep(part: Path, rows: list[bool]) -> None:
    """Write a part anew with some of its rows: the others stand in earlier parts."""
    if any(rows):
        table = pa.Table.from_batches(list(files.part_batches(part))).filter(pa.array(rows))
        files.write_whole(part, lambda file: files.write_part(table, file))
    else:
        part.unlink(missing_ok=True)
