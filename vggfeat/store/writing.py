"""Adding rows to a store."""

import json
import os
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
from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of, recorded
from vggfeat.errors import StoreError, UsageError
from vggfeat.store import files, parts
from vggfeat.store.identity import COLUMNS, NEW, UNKNOWN, Identity, Rows
from vggfeat.store.settling import News, add_rows, amend, remove_temporary, settle

FAILURES_SECONDS = 60  # after which a list of failures that has grown is written again
MAX_NEWS = 2**16  # rows whose parts are written again together


@dataclass(frozen=True)
class Record:
    """One row: name and label, size of the image in pixels, a vector (C,) for each scale Q, identity of the file.

    C is the same for all rows, unless the store holds lists.
    """

    path: str
    label: str | None
    width: int
    height: int
    scales: dict[int, np.ndarray]
    identity: Identity = UNKNOWN


class PartWriter:
    """Writes parts of a store that a Writer has opened, in this process or on another machine.

    fingerprint : of the store, with the dtype. owner : ends the names of temporary files; processes that write at the
    same time have different ones. failures : name -> reason; callers add to it, and a name that gets a row is removed.
    """

    def __init__(self, path: str | Path, fingerprint: Mapping[str, Any], owner: str = "") -> None:
        if (dtype := fingerprint["dtype"]) not in parts.DTYPES:
            raise UsageError(f"no dtype {dtype!r} for a store; take one of {', '.join(parts.DTYPES)}")
        self.path, self.fingerprint, self.dtype, self.owner = Path(path), fingerprint, parts.DTYPES[dtype], owner
        self.failures: dict[str, str] = {}

    def commit(self, records: Sequence[Record], number: int | None = None) -> None:
        """Write the records as one part with this number (None: the next one); no part for no records."""
        if records:
            name = parts.free_name(self.path, parts.next_number(self.path) if number is None else number)
            table = _table(records, self.fingerprint, self.dtype)
            parts.write(parts.signed(table, self.fingerprint), self.path / name, self.owner)
            for record in records:
                self.failures.pop(record.path, None)

    def fail(self, path: str, reason: str) -> None:
        """List an image that has no row."""
        self.failures[path] = reason

    def why_not(self, record: Record) -> str:
        """The reason why a record cannot be stored; empty if it can."""
        for what, text in (("name", record.path), ("label", record.label or "")):
            if len(text) > parts.MAX_TEXT:
                return f"its {what} has {len(text):,} characters, more than {parts.MAX_TEXT:,}; shorten it"
        longest = max(map(len, record.scales.values()))
        if longest > parts.MAX_LIST:
            return f"it has {longest:,} values at one scale, more than {parts.MAX_LIST:,}; leave that scale out"
        dtype = np.dtype(self.dtype.to_pandas_dtype())
        largest = np.finfo(dtype).max
        if all(np.abs(vector).max(initial=0) <= largest for vector in record.scales.values()):  # false for NaN as well
            return ""
        return f"its descriptor has values that are not finite in {dtype}; take another --precision or --dtype"


def _table(records: Sequence[Record], fingerprint: Mapping[str, Any], dtype: pa.DataType) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "path": pa.array([r.path for r in records], pa.string()),
        "label": pa.array([r.label for r in records], pa.string()),
        "width": pa.array([r.width for r in records], pa.int32()),
        "height": pa.array([r.height for r in records], pa.int32()),
    }
    for i, (column, kind) in enumerate(COLUMNS.items()):
        columns[column] = pa.array([r.identity[i] for r in records], kind)
    lists = parts.holds_lists(fingerprint)
    for q in fingerprint["scales"]:
        vectors = [r.scales[q] for r in records]
        flat = pa.array(np.concatenate(vectors).astype(dtype.to_pandas_dtype()))
        if lists:
            offsets = np.cumsum([0, *map(len, vectors)], dtype=np.int32)
            columns[f"q{q}"] = pa.ListArray.from_arrays(pa.array(offsets), flat)
        else:
            columns[f"q{q}"] = pa.FixedSizeListArray.from_arrays(flat, len(vectors[0]))
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
    rows : the rows that the store had when it was opened. remarks : what a user should know of its parts.
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
        meta = {
            "format": files.FORMAT,
            "vggfeat": __version__,
            "weights": weights,
            "agg": agg,
            "source": source,
            "fingerprint": {**fingerprint, "dtype": dtype},
        }
        self.meta = json.loads(json.dumps(meta))  # as it is read again: with lists instead of tuples
        super().__init__(path, self.meta["fingerprint"], "" if self._alone else f".{mine}")
        self.rows, self.remarks = Rows(), LeftOut()
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
            self._check_place()
            self._write_failures()
            self._amend()
            if not self._alone:
                with files.writing(self._ended_file, self.owner) as temporary:
                    temporary.write_text(self._launch, encoding="utf-8")
                ended = [file.read_bytes() for file in self.path.glob(f".ended-*of{self._world}") if file.is_file()]
                if ended.count(self._launch.encode()) == self._world:
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
            self._lock_file = stack.enter_context(lock(self.path / ".lock", shared=not self._alone))
            self._lasts = self._is_in_place()  # on some network file systems the number of a file changes
            if not self._alone:
                stack.enter_context(lock(self.path / f".lock-{self._rank}"))
        except Locked as error:
            raise StoreError(f"{self.path}: another process is writing to this store; wait for it to end") from error
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = reason_of(error)
            raise StoreError(f"{self.path}: cannot be written ({reason}); name another folder") from error

    def _is_in_place(self) -> bool:
        """Whether the path still leads to the file that is locked."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._lock_file.fileno()), (self.path / ".lock").stat())
        return False

    def _check_place(self) -> None:
        """Raise StoreError, before anything is written, if the folder is no longer the one that was locked."""
        if self._lasts and not self._is_in_place():
            raise StoreError(
                f"{self.path}: the folder or its .lock was replaced or removed during this run; what was written is in "
                "the folder that was here before: put it back and run the same command again to continue"
            )

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
            for number, part in enumerate(parts.listed(self.path)):
                with parts.opened(part, self.fingerprint) as one:
                    add_rows(one, number, self.rows, self.remarks)
            return
        # The default of `load` is the aggregation that was named last.
        new = {"agg": self.meta["agg"]}
        if self.meta["source"]:  # it is that of the store, or new; an earlier version may have stored a password
            new["source"] = self.meta["source"]
        if stored | new != stored:
            files.write_meta(self.path, stored | new)
        self.remarks = self.settle()

    def _check_source(self, stored: Mapping[str, Any]) -> None:
        known, wanted = recorded(stored.get("source") or ""), self.meta["source"]
        if known and wanted and known != wanted and not (self._moved and self._alone):
            raise StoreError(
                f"{self.path}: holds images of {known}, not of {wanted}; name another store with --out, "
                "or, if the images were moved there, add --moved"
            )

    def settle(self) -> LeftOut:
        """Take up what other processes left or wrote, and return what a user should know of the parts.

        Only if this writer is alone.
        """
        self._check_place()
        self._write_failures()
        self._parts, self.rows, self.failures, remarks = settle(self.path)
        self._listed = dict(self.failures)
        return remarks

    def commit(self, records: Sequence[Record], number: int | None = None) -> None:
        """Write the records as `PartWriter` does, drop the old rows of their images, and at times list the failures."""
        self._check_place()
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
            changed = sorted({*self._dropped, *self._news})
            if changed:
                self._check_place()
            for number in changed:
                dropped, news = self._dropped.pop(number, set()), self._news.pop(number, {})
                amend(self._parts[number], self.fingerprint, dropped, news)

    def _write_failures(self) -> None:
        if self.failures != self._listed:
            self._check_place()
            files.write_failures(self._failures_file, self.failures, self.owner)
            self._listed = dict(self.failures)
        self._listed_at = time.monotonic()
