"""Adding rows to a store."""

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from vggfeat import __version__
from vggfeat._util.files import Locked, lock
from vggfeat._util.printable import recorded
from vggfeat.errors import StoreError, UsageError
from vggfeat.store import files
from vggfeat.store.identity import COLUMNS, NEW, UNKNOWN, Identity, Rows
from vggfeat.store.settling import News, add_rows, amend, remove_temporary, settle

FAILURES_SECONDS = 60  # after which a list of failures that has grown is written again
MAX_NEWS = 2**16  # rows whose parts are written again together


@dataclass(frozen=True)
class Record:
    """One row: name and label, size of the image in pixels, a vector (C,) for each scale Q, identity of the file."""

    path: str
    label: str | None
    width: int
    height: int
    scales: dict[int, np.ndarray]
    identity: Identity = UNKNOWN


class PartWriter:
    """Writes parts of a store that a Writer has opened, in this process or on another machine.

    scales, dtype : of the store's vectors. owner : ends the names of temporary files; processes that write at the same
    time have different ones. failures : name -> reason; callers add to it, and a name that gets a row is removed.
    """

    def __init__(self, path: str | Path, scales: Sequence[int], dtype: str = "float32", owner: str = "") -> None:
        if dtype not in files.DTYPES:
            raise UsageError(f"no dtype {dtype!r} for a store; take one of {', '.join(files.DTYPES)}")
        self.path, self.scales, self.dtype, self.owner = Path(path), scales, files.DTYPES[dtype], owner
        self.failures: dict[str, str] = {}

    def commit(self, records: Sequence[Record], number: int | None = None) -> None:
        """Write the records as one part with this number (None: the next one); no part for no records."""
        if records:
            name = files.part_name(self.path, files.next_number(self.path) if number is None else number)
            files.write_part(_table(records, self.scales, self.dtype), self.path / name, self.owner)
            for record in records:
                self.failures.pop(record.path, None)

    def fail(self, path: str, reason: str) -> None:
        """List an image that has no row."""
        self.failures[path] = reason

    def why_not(self, record: Record) -> str:
        """The reason why a record cannot be stored; empty if it can."""
        dtype = np.dtype(self.dtype.to_pandas_dtype())
        largest = np.finfo(dtype).max
        if all(np.abs(vector).max(initial=0) <= largest for vector in record.scales.values()):  # false for NaN as well
            return ""
        return f"its descriptor has values that are not finite in {dtype}; take another --precision or --dtype"


def _table(records: Sequence[Record], scales: Sequence[int], dtype: pa.DataType) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "path": pa.array([r.path for r in records], pa.string()),
        "label": pa.array([r.label for r in records], pa.string()),
        "width": pa.array([r.width for r in records], pa.int32()),
        "height": pa.array([r.height for r in records], pa.int32()),
    }
    for i, (column, kind) in enumerate(COLUMNS.items()):
        columns[column] = pa.array([r.identity[i] for r in records], kind)
    for q in scales:
        matrix = np.stack([r.scales[q] for r in records]).astype(dtype.to_pandas_dtype())
        columns[f"q{q}"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    return pa.table(columns)


class Writer(PartWriter):
    """Adds rows to a new or existing store; a context manager that holds the store's lock.

    Files are written whole or not at all. Raises StoreError if the store was made with other settings (both values are
    named), is in use by another process, or cannot be written.

    share : (i, n), the i-th of n processes that write one store together, each its own rows and parts, without knowing
        of the others. The last one to end joins their lists of failures.
    launch : tells the runs of such processes apart: a process that ended in an earlier run has not ended in this one.
    source : where the images come from. A store of another source is refused, unless `moved`: then the images of the
        stored source have moved to this one.
    rows : the rows that the store had when it was opened.
    settled : after the end, whether no other process still works on the store.
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
        launch: str = "",
        source: str | None = None,
        moved: bool = False,
    ) -> None:
        self._rank, self._world = share
        self._alone, self._launch = self._world == 1, launch
        mine = f"{self._rank}of{self._world}"
        super().__init__(path, fingerprint["scales"], dtype, "" if self._alone else f".{mine}")
        meta = {
            "format": files.FORMAT,
            "vggfeat": __version__,
            "weights": weights,
            "agg": agg,
            "source": source,
            "fingerprint": {**fingerprint, "dtype": dtype},
        }
        self.meta = json.loads(json.dumps(meta))  # as it is read again: with lists instead of tuples
        self.rows = Rows()
        self.settled = self._alone
        self._moved = moved
        self._parts: list[Path] = []  # in which `rows` counts
        self._dropped: dict[int, set[str]] = defaultdict(set)  # number of the part -> names whose row has no image now
        self._news: dict[int, dict[str, News]] = defaultdict(dict)
        self._changing = RLock()  # `note` is called by the thread that lists the source
        self._failures_file = self.path / ("failures.csv" if self._alone else f"failures-{mine}.csv")
        self._ended_file = self.path / f".ended-{mine}"
        self._listed: dict[str, str] = {}  # the failures as the file has them
        self._listed_at = time.monotonic()

    def __enter__(self) -> "Writer":
        with ExitStack() as stack:
            self._lock(stack)
            self._open()
            self._locks = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._locks:
            if error is not None:
                with suppress(StoreError):  # it would hide the error that matters
                    self._write_failures()
                    self._amend()
                return
            self._write_failures()
            self._amend()
            if not self._alone:
                with files.writing(self._ended_file, self.owner) as temporary:
                    temporary.write_text(self._launch, encoding="utf-8")
                ended = [file.read_text(encoding="utf-8") for file in self.path.glob(f".ended-*of{self._world}")]
                if ended.count(self._launch) == self._world:
                    settle(self.path, self.owner)
                    self.settled = True

    def _lock(self, stack: ExitStack) -> None:
        """Exclude all other processes; one of several excludes only the processes outside its run, and its double.

        Without locks, as on some network file systems, two runs at the same time cost work, but never a row: parts are
        written whole under different names, and the next run drops rows that exist twice.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = {entry.name for entry in self.path.iterdir() if not entry.name.startswith((".", "meta.json"))}
            if others and not (self.path / "meta.json").exists():
                raise StoreError(f"{self.path}: is a folder with other things in it, not a store; name another folder")
            stack.enter_context(lock(self.path / ".lock", shared=not self._alone))
            if not self._alone:
                stack.enter_context(lock(self.path / f".lock-{self._rank}"))
        except Locked as error:
            raise StoreError(f"{self.path}: another process is writing to this store; wait for it to end") from error
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror}); name another folder") from error

    def _open(self) -> None:
        """Take up what the folder contains; a new store gets its meta.json."""
        self._ended_file.unlink(missing_ok=True)
        if not (self.path / "meta.json").exists():
            files.write_meta(self.path, self.meta, self.owner)
        stored = files.read_meta(self.path)
        files.check_fingerprint(self.path, stored["fingerprint"], self.meta["fingerprint"])
        self._check_source(stored)
        if not self._alone:
            remove_temporary(self.path, self.owner)
            for number, part in enumerate(files.parts(self.path)):
                add_rows(part, number, self.rows)
            return
        # The default of `load` is the aggregation that was named last.
        new = {"agg": self.meta["agg"]}
        if self.meta["source"]:  # it is that of the store, or new; an earlier version may have stored a password
            new["source"] = self.meta["source"]
        if stored | new != stored:
            files.write_meta(self.path, stored | new)
        self.settle()

    def _check_source(self, stored: Mapping[str, Any]) -> None:
        known, wanted = recorded(stored.get("source") or ""), self.meta["source"]
        if known and wanted and known != wanted and not (self._moved and self._alone):
            raise StoreError(
                f"{self.path}: holds images of {known}, not of {wanted}; name another store with --out, "
                "or, if the images were moved there, add --moved"
            )

    def settle(self) -> None:
        """Take up what other processes left or wrote; only if this writer is alone."""
        self._write_failures()
        self._parts, self.rows, self.failures = settle(self.path)
        self._listed = dict(self.failures)

    def commit(self, records: Sequence[Record], number: int | None = None) -> None:
        """Write the records as `PartWriter` does, drop the old rows of their images, and at times list the failures."""
        super().commit(records, number)
        for record in records:
            self._drop(record.path)
        self._amend()
        if time.monotonic() - self._listed_at > FAILURES_SECONDS:
            self._write_failures()

    def fail(self, path: str, reason: str) -> None:
        """List an image as failed. If it has a row, that is of an earlier image of this name, and is dropped."""
        super().fail(path, reason)
        self._drop(path)

    def note(self, path: str, news: News) -> None:
        """Change the row of an image whose values stay."""
        row = self.rows.get(path)
        if row is not None and row.part != NEW:
            with self._changing:
                self._news[row.part][path] = news
                if sum(map(len, self._news.values())) >= MAX_NEWS:
                    self._amend()

    def _drop(self, path: str) -> None:
        row = self.rows.get(path)
        if row is not None and row.part != NEW:
            with self._changing:
                self._dropped[row.part].add(path)

    def _amend(self) -> None:
        """Write again the parts in which rows have changed."""
        with self._changing:
            for number in sorted({*self._dropped, *self._news}):
                amend(self._parts[number], self._dropped.pop(number, set()), self._news.pop(number, {}))

    def _write_failures(self) -> None:
        if self.failures != self._listed:
            files.write_failures(self._failures_file, self.failures, self.owner)
            self._listed = dict(self.failures)
        self._listed_at = time.monotonic()
