"""The folder of a run: its lock, its tables, and what it was begun with."""

import csv
import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vggfeat.errors import DataError, UsageError, VggfeatError
from vggfeat.train.checkpoint import write_whole

STEPS = ("epoch", "step", "lr", "loss")
EPOCHS = (
    *("epoch", "lr", "train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5"),
    *("images_per_s", "seconds"),
)
CONFIG = "config.json"


class RunFolder:
    """Paths and tables of a run; only process 0 writes.

    config.json (recipe, data, start), statistics.json (mean and principal components of the pixels), log.csv (a row an
    epoch), steps.csv (a row a step), failures.csv (images that could not be read), curves.png, result.json,
    checkpoint.safetensors, best.safetensors and last.safetensors (native weights).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.safetensors"
        self.best, self.last = path / "best.safetensors", path / "last.safetensors"
        self.steps = Table(path / "steps.csv", STEPS)
        self.epochs = Table(path / "log.csv", EPOCHS)
        self.failures = Table(path / "failures.csv", ("path", "reason"))

    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=1) + "\n"
        write_whole(self.path / name, lambda part: part.write_text(text, encoding="utf-8"))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The value of a file, None where there is none. Raises VggfeatError for one that is damaged."""
        file = self.path / name
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
            reason: Any = "it is no object"
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            reason = error
        what = f"{self.path} and begin the run again" if name == CONFIG else "it, and it is made anew"
        raise VggfeatError(f"{file}: can't be read ({reason}); remove {what}")

    def begun(self) -> dict[str, Any]:
        """config.json, with its parts `recipe`, `data` and `start`, which may be empty; nothing where there is none.
        Raises VggfeatError for one that is damaged."""
        known = self.read_json(CONFIG)
        if known is None:
            return {}
        parts = {key: known.get(key, {}) for key in ("recipe", "data", "start")}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise VggfeatError(f"{self.path / CONFIG}: is damaged; remove {self.path} and begin the run again")
        return known | parts

    def agree(self, config: Mapping[str, Any]) -> None:
        """Begin the run, or make sure that it was begun with the same recipe and data.

        Raises UsageError, naming the first setting that differs with both values, or DataError.
        """
        known = self.begun()
        if not known:
            self.write_json(CONFIG, config)
            return
        for key, value in config["recipe"].items():
            if (was := known["recipe"].get(key)) != value:
                raise UsageError(
                    f"{self.path}: was begun with {key} {was!r}, not {value!r}; name another folder for this"
                )
        if known["data"].get("sha256") != config["data"]["sha256"]:
            raise DataError(f"{self.path}: was begun with other images or labels; name another folder for these")

    def add_failures(self, failures: Sequence[tuple[str, str]]) -> int:
        """List images that could not be read; how many there are by now."""
        known = {row["path"]: row["reason"] for row in self.failures.rows()}
        found = {**known, **dict(failures)}
        if found != known:
            self.failures.replace(sorted(found.items()))
        return len(found)


class Table:
    """A CSV file that grows by rows."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, columns

    def rows(self) -> list[dict[str, str]]:
        """Raises VggfeatError for a file that is no such table."""
        if not self.path.exists():
            return []
        try:
            with self.path.open(newline="", encoding="utf-8") as lines:
                table = csv.DictReader(lines)
                rows = list(table)
        except (OSError, ValueError, csv.Error) as error:
            raise VggfeatError(f"{self.path}: can't be read ({error}); remove it") from None
        if rows and list(table.fieldnames or ()) != list(self.columns):
            raise VggfeatError(f"{self.path}: has other columns than {','.join(self.columns)}; remove it")
        return rows

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines)
            if lines.tell() == 0:
                writer.writerow(self.columns)
            writer.writerows(rows)

    def keep(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Leave out the rows that come after a checkpoint: they will be made again. A row that a kill cut is
        among them; one that is damaged is left out too."""
        kept = []
        for row in self.rows():
            with suppress(ValueError):
                if all(row.get(column) not in (None, "") for column in self.columns) and wanted(row):
                    kept.append([row[column] for column in self.columns])
        self.replace(kept)

    def replace(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write the whole file anew."""

        def write(part: Path) -> None:
            part.unlink(missing_ok=True)
            Table(part, self.columns).add(rows)

        write_whole(self.path, write)


@contextmanager
def held(path: Path, main: bool) -> Iterator[RunFolder]:
    """The folder of a run, made where there is none, and locked by process 0.

    Raises UsageError for a folder with other things in it, VggfeatError for one in use or not writable.
    """
    if not main:
        yield RunFolder(path)
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = {entry.name for entry in path.iterdir()} - {".lock", ".config.json.part"}
        if others and CONFIG not in others:
            raise UsageError(f"{path}: is a folder with other things in it, not a run; name another one")
        lock = (path / ".lock").open("wb")
    except OSError as error:
        raise VggfeatError(f"{path}: can't be written ({error.strerror})") from error
    with lock:
        try:
            # not flock, which processes that decode would inherit, and hold for a while when this one is killed
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # which of them is the system's choice
            raise VggfeatError(f"{path}: another process is training there; wait for it to end") from None
        yield RunFolder(path)
