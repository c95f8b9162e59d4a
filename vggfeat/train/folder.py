"""The folder of a run: its lock, its tables, and what it was begun with."""

import csv
import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vggfeat.errors import DataError, UsageError, VggfeatError
from vggfeat.train.checkpoint import write_whole

STEPS = ("epoch", "step", "lr", "loss")
EPOCHS = (
    *("epoch", "lr", "train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5"),
    *("images_per_s", "seconds"),
)


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

    def read_json(self, name: str) -> Any:
        """The value of a file, None where there is none. Raises VggfeatError for one that is damaged."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise VggfeatError(f"{self.path / name}: can't be read ({error}); remove it to start again") from None

    def agree(self, config: Mapping[str, Any]) -> None:
        """Begin the run, or make sure that it was begun with the same recipe and data.

        Raises UsageError, naming the first setting that differs with both values, or DataError.
        """
        known = self.read_json("config.json")
        if known is None:
            self.write_json("config.json", config)
            return
        for key, value in config["recipe"].items():
            if known.get("recipe", {}).get(key) != value:
                was = known.get("recipe", {}).get(key)
                raise UsageError(
                    f"{self.path}: was begun with {key} {was!r}, not {value!r}; name another folder for this"
                )
        if known.get("data", {}).get("sha256") != config["data"]["sha256"]:
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
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        with self.path.open("a", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines)
            if lines.tell() == 0:
                writer.writerow(self.columns)
            writer.writerows(rows)

    def keep(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Leave out the rows that come after a checkpoint: they will be made again. A row that a kill cut is
        among them."""
        kept = []
        for row in self.rows():
            if any(row.get(column) in (None, "") for column in self.columns) or not wanted(row):
                break
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
        if others and "config.json" not in others:
            raise UsageError(f"{path}: is a folder with other things in it, not a run; name another one")
        lock = (path / ".lock").open("wb")
    except OSError as error:
        raise VggfeatError(f"{path}: can't be written ({error.strerror})") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VggfeatError(f"{path}: another process is training there; wait for it to end") from None
        yield RunFolder(path)
