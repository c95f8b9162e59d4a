"""The folder of a run: its lock, its tables, and the settings with which it was begun."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from vggfeat._util.files import Locked, lock, replacing
from vggfeat.errors import DataError, UsageError, VggfeatError

STEPS = ("epoch", "step", "lr", "loss")
EPOCHS = (
    *("epoch", "lr", "train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5"),
    *("images_per_s", "seconds"),
)
CONFIG = "config.json"
LOCK = ".lock"
# Unfinished files of a killed run; earlier versions wrote .part.
LEFTOVER = re.compile(
    r"\.((config|statistics|result)\.json|(log|steps|failures)\.csv|curves\.png"
    r"|(checkpoint|best|last)\.safetensors)(\.\d+(-[0-9a-f]+)?)?\.(tmp|part)"
)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Name the file in errors that happen while it is written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise VggfeatError(
            f"{file}: cannot be written ({reason}); the earlier file is kept: correct this and run the command again"
        ) from error


class CsvTable:
    """A CSV file to which rows are added."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, columns

    def rows(self) -> list[dict[str, str]]:
        """All rows. Raises VggfeatError if the file is not such a table."""
        if not self.path.exists():
            return []
        try:
            with self.path.open(newline="", encoding="utf-8") as lines:
                table = csv.DictReader(lines)
                rows = list(table)
        except (OSError, ValueError, csv.Error) as error:
            raise VggfeatError(f"{self.path}: cannot be read ({error}); remove it") from None
        if rows and list(table.fieldnames or ()) != list(self.columns):
            raise VggfeatError(f"{self.path}: its columns are not {','.join(self.columns)}; remove it")
        return rows

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows at the end."""
        with writing(self.path):
            self._append(self.path, rows)

    def keep(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Remove the other rows, and incomplete rows that a killed run left."""
        kept = []
        for row in self.rows():
            with suppress(ValueError):
                if all(row.get(column) not in (None, "") for column in self.columns) and wanted(row):
                    kept.append([row[column] for column in self.columns])
        self.replace(kept)

    def replace(self, rows: Sequence[Sequence[Any]]) -> None:
        """Replace the whole file."""
        with writing(self.path), replacing(self.path) as temporary:
            self._append(temporary, rows)

    def _append(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        with path.open("a", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines)
            if lines.tell() == 0:
                writer.writerow(self.columns)
            writer.writerows(rows)


class RunFolder:
    """Paths and tables of a run; only process 0 writes.

    config.json (recipe, data, start), statistics.json (mean and principal components of the pixels), log.csv (one row
    per epoch), steps.csv (one row per step), failures.csv (unreadable images), curves.png, result.json,
    checkpoint.safetensors, best.safetensors and last.safetensors (native weights).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.best, self.last = path / "best.safetensors", path / "last.safetensors"
        self.steps = CsvTable(path / "steps.csv", STEPS)
        self.epochs = CsvTable(path / "log.csv", EPOCHS)
        self.failures = CsvTable(path / "failures.csv", ("path", "reason"))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, whole or not at all."""
        file = self.path / name
        with writing(file), replacing(file) as temporary:
            temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The object in a JSON file; None if there is no file. Raises VggfeatError if it is damaged."""
        file = self.path / name
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
            reason: Any = "it is not an object"
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = error
        what = f"{self.path} and begin the run again" if name == CONFIG else "it; it is written again"
        raise VggfeatError(f"{file}: cannot be read ({reason}); remove {what}")

    def begun(self) -> dict[str, Any]:
        """config.json with its parts `recipe`, `data` and `start`, which may be empty; {} if the run has not begun.

        Raises VggfeatError if it is damaged.
        """
        known = self.read_json(CONFIG)
        if known is None:
            return {}
        parts = {key: known.get(key, {}) for key in ("recipe", "data", "start")}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise VggfeatError(f"{self.path / CONFIG}: is damaged; remove {self.path} and begin the run again")
        return known | parts

    def check_or_begin(self, config: Mapping[str, Any]) -> None:
        """Begin the run, or check that it was begun with the same recipe and data.

        Raises UsageError, with the first setting that differs and both values, or DataError.
        """
        known = self.begun()
        if not known:
            self.write_json(CONFIG, config)
            return
        for key, value in config["recipe"].items():
            if (was := known["recipe"].get(key)) != value:
                raise UsageError(f"{self.path}: was begun with {key} {was!r}, not {value!r}; name another folder")
        if known["data"].get("sha256") != config["data"]["sha256"]:
            raise DataError(f"{self.path}: was begun with different images or labels; name another folder")

    def rewind(self, epoch: int, step: int) -> None:
        """Remove the rows from this step on, which will be made again."""
        self.steps.keep(lambda row: (int(row["epoch"]), int(row["step"])) < (epoch, step))
        self.epochs.keep(lambda row: int(row["epoch"]) < epoch)

    def add_failures(self, failures: Sequence[tuple[str, str]]) -> int:
        """List unreadable images; returns how many are listed now."""
        known = {row["path"]: row["reason"] for row in self.failures.rows()}
        found = {**known, **dict(failures)}
        if found != known:
            self.failures.replace(sorted(found.items()))
        return len(found)


@contextmanager
def held(path: Path, main: bool) -> Iterator[RunFolder]:
    """The folder of a run, created if needed, and locked by process 0.

    Raises UsageError for a folder that holds other things, VggfeatError if it is in use or cannot be written.
    """
    with ExitStack() as stack:
        if main:
            try:
                _prepare(path)
                # Decoding processes must not inherit the lock: they may outlive this process for a while.
                stack.enter_context(lock(path / LOCK, per_process=True))
                for name in filter(LEFTOVER.fullmatch, _names(path)):
                    (path / name).unlink(missing_ok=True)
            except Locked:
                raise VggfeatError(f"{path}: another process is training there; wait until it ends") from None
            except OSError as error:
                raise VggfeatError(f"{path}: cannot be written ({error.strerror}); name another folder") from error
        yield RunFolder(path)


def _prepare(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    others = {name for name in _names(path) if name != LOCK and not LEFTOVER.fullmatch(name)}
    if others and CONFIG not in others:
        raise UsageError(f"{path}: is a folder with other things in it, not a run; name another folder")


def _names(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir()]
