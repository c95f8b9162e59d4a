"""The folder of a run: its lock, its tables, and the settings with which it was begun."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from vggfeat._util.csv_files import Columns, finite, read_table, whole
from vggfeat._util.files import Locked, lock, replacing
from vggfeat._util.json_files import read_json
from vggfeat._util.printable import reason_of, say
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import DataError, UsageError, VggfeatError
from vggfeat.train.settings import difference
from vggfeat.weights.run_files import CONFIG, EPOCHS, HEALTH, LOG, RunConfig

STEPS = {"epoch": whole, "step": whole, "lr": finite, "loss": finite}
FAILURES = {"path": str, "reason": str}
MAX_TABLE = 2**30  # bytes: 20 million steps
MAX_LINE = 2**20  # bytes
MAX_REASON = 500  # characters of why an image is unreadable; some libraries give whole pages
LOCK = ".lock"
# Unfinished files of a killed run; earlier versions wrote .part.
LEFTOVER = re.compile(
    r"\.((config|statistics|result)\.json|(log|steps|failures)\.csv|curves\.png"
    r"|(checkpoint|best|last)\.safetensors)(\.\d+(-[0-9a-f]+)?)?\.(tmp|part)"
)


T = TypeVar("T")


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Name the file in errors that happen while it is written."""
    try:
        yield
    except OSError as error:
        reason = reason_of(error)
        raise VggfeatError(
            f"{file}: cannot be written ({reason}); the earlier file is kept: correct this and run the command again"
        ) from error


class CsvTable:
    """A CSV file to which rows are added. more : columns that earlier versions did not write, and that may be empty."""

    def __init__(self, path: Path, columns: Columns, more: Columns = MappingProxyType({})) -> None:
        self.path, self.columns, self.more = path, columns, more

    def rows(self) -> list[dict[str, Any]]:
        """All rows. Raises VggfeatError if the file is not such a table."""
        try:
            return list(read_table(self.path, self.columns, MAX_TABLE, self.more))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            reason = reason_of(error)
            raise VggfeatError(f"{self.path}: cannot be read ({reason}); remove it") from None

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows at the end."""
        with writing(self.path):
            self._append(self.path, rows)

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Remove the other rows, and the last one if a killed run, or a full disk, left it incomplete."""
        self._mend()
        self.replace([list(row.values()) for row in self.rows() if wanted(row)])

    def replace(self, rows: Sequence[Sequence[Any]]) -> None:
        """Replace the whole file."""
        with writing(self.path), replacing(self.path) as temporary:
            self._append(temporary, rows)

    def _mend(self) -> None:
        """Remove the beginning of a line at the end."""
        try:
            with open_regular(self.path) as file:
                start = max(0, file.seek(0, os.SEEK_END) - MAX_LINE)
                file.seek(start)
                last = file.read()
        except OSError:  # reading the rows says why
            return
        end = last.rfind(b"\n") + 1
        if end == len(last) or not (end or ",".join((*self.columns, *self.more)).encode().startswith(last)):
            return
        with writing(self.path):
            os.truncate(self.path, start + end)
        say(f"{self.path}: its last line was not complete and is left out")

    def _append(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        with path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as lines:
            writer = csv.writer(lines)
            if lines.tell() == 0:
                writer.writerow((*self.columns, *self.more))
            writer.writerows(rows)


class RunFolder:
    """Paths and tables of a run; only process 0 writes.

    config.json (recipe, data, start), statistics.json (mean and principal components of the pixels), log.csv (one row
    per epoch), steps.csv (one row per step), failures.csv (unreadable images), curves.png, result.json,
    checkpoint.safetensors, best.safetensors and last.safetensors (native weights).

    log : the columns of log.csv. own : the identity of the folder, in process 0.
    """

    def __init__(self, path: Path, log: Columns = EPOCHS, own: tuple[int, int] | None = None) -> None:
        self.path, self.own = path, own
        self.checkpoint = path / "checkpoint.safetensors"
        self.best, self.last = path / "best.safetensors", path / "last.safetensors"
        self.steps = CsvTable(path / "steps.csv", STEPS)
        self.epochs = CsvTable(path / LOG, log, HEALTH)
        self.failures = CsvTable(path / "failures.csv", FAILURES)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all."""
        file = self.path / name
        with writing(file), replacing(file) as temporary:
            temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    def read_json(self, name: str, kind: type[T]) -> T | None:
        """The value in a JSON file; None if there is no file. Raises VggfeatError if it is damaged."""
        file = self.path / name
        try:
            return read_json(file, kind)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = reason_of(error)
        what = f"{self.path} and begin the run again" if name == CONFIG else "it; it is written again"
        raise VggfeatError(f"{file}: cannot be read ({reason}); remove {what}")

    def begun(self) -> RunConfig | None:
        """config.json; None if the run has not begun. Raises VggfeatError if it is damaged."""
        return self.read_json(CONFIG, RunConfig)

    def check_or_begin(self, config: Mapping[str, Any]) -> None:
        """Begin the run, or check that it was begun with the same recipe and data.

        Raises UsageError, with the first setting that differs and both values, or DataError.
        """
        known = self.begun()
        if known is None:
            self.write_json(CONFIG, config)
            return
        if changed := difference(known.recipe, config["recipe"]):
            raise UsageError(f"{self.path}: was begun with {changed}; name another folder")
        if known.data.sha256 != config["data"]["sha256"]:
            raise DataError(f"{self.path}: was begun with different images or labels; name another folder")

    def check_in_place(self) -> None:
        """Raise VggfeatError if another folder has taken the place of the run's."""
        if self.own is not None and _identity(self.path) != self.own:
            raise VggfeatError(
                f"{self.path}: is not the folder in which this run began; move that folder back, and run the "
                "same command again"
            )

    def rewind(self, epoch: int, step: int) -> None:
        """Remove the rows from this step on, which will be made again."""
        self.steps.keep(lambda row: (row["epoch"], row["step"]) < (epoch, step))
        self.epochs.keep(lambda row: row["epoch"] < epoch)

    def add_failures(self, failures: Sequence[tuple[str, str]]) -> int:
        """List unreadable images; returns how many are listed now."""
        known = {row["path"]: row["reason"] for row in self.failures.rows()}
        found = known | {path: reason[:MAX_REASON] for path, reason in failures}
        if found != known:
            self.failures.replace(sorted(found.items()))
        return len(found)


@contextmanager
def held(path: Path, main: bool, log: Columns = EPOCHS) -> Iterator[RunFolder]:
    """The folder of a run, created if needed, and locked by process 0.

    Raises UsageError for a folder that holds other things, VggfeatError if it is in use or cannot be written.
    """
    own = None
    with ExitStack() as stack:
        if main:
            try:
                _prepare(path)
                # Decoding processes must not inherit the lock: they may outlive this process for a while.
                stack.enter_context(lock(path / LOCK, per_process=True))
                own = _identity(path)
                for name in filter(LEFTOVER.fullmatch, _names(path)):
                    (path / name).unlink(missing_ok=True)
            except Locked:
                raise VggfeatError(f"{path}: another process is training there; wait until it ends") from None
            except OSError as error:
                raise VggfeatError(f"{path}: cannot be written ({reason_of(error)}); name another folder") from error
        yield RunFolder(path, log, own)


def _prepare(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    others = {name for name in _names(path) if name != LOCK and not LEFTOVER.fullmatch(name)}
    if others and CONFIG not in others:
        raise UsageError(f"{path}: is a folder with other things in it, not a run; name another folder")


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a folder; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _names(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir()]
