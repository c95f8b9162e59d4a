"""Stored posteriors: runs, each of one net, one method and several scales, and their averages (Sect. 4.2 to 4.4).

A run is a store as those of descriptors, whose columns q256, q384, ... hold posteriors, with run.json beside them: the
classes, and how many images there are. Everything that is reported is arithmetic on runs.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vggfeat.data.imagenet import Classified
from vggfeat.errors import StoreError, UsageError
from vggfeat.evaluate.classes import Outputs, columns
from vggfeat.evaluate.methods import METHODS
from vggfeat.store import Store

FACTS = "run.json"


@dataclass(frozen=True)
class Facts:
    """run.json. outputs : fc8's names. places : class of the data set -> its place among them. images : how many
    there are, broken ones too. train_scale : S or (Smin, Smax), None where nobody tells. notes : the data set's.
    """

    data: str
    labelled: bool
    images: int
    outputs: list[str]
    places: dict[str, int]
    train_scale: list[int] | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """A finished run. Raises StoreError, by `open_run`, for one that isn't."""

    store: Store
    facts: Facts

    @property
    def made(self) -> dict[str, Any]:
        """The fingerprint without the scales: what decides the posteriors at any scale."""
        return {key: value for key, value in self.store.fingerprint.items() if key != "scales"}

    @property
    def outputs(self) -> Outputs:
        return Outputs(str(self.store.path), self.facts.outputs, self.facts.places)


@dataclass
class Net:
    """All that is stored of one net: the run that holds the posteriors of each (method, Q). mark : tells it from others
    that are called the same.
    """

    name: str
    width: float
    weights: str
    sha256: str
    facts: Facts
    runs: dict[tuple[str, int], Run] = field(default_factory=dict)
    mark: str = ""

    @property
    def title(self) -> str:
        """D, or A x0.1875 for a narrower net; D (S=256) where there are several."""
        plain = self.name if self.width == 1 else f"{self.name} ×{self.width:g}"
        return f"{plain} ({self.mark})" if self.mark else plain

    @property
    def train_scale(self) -> tuple[int, ...] | None:
        return tuple(self.facts.train_scale) if self.facts.train_scale else None

    @property
    def methods(self) -> list[str]:
        return [method for method in METHODS if self.scales(method)]

    def scales(self, *methods: str) -> tuple[int, ...]:
        """The scales that all of the methods are stored at."""
        each = [{q for stored, q in self.runs if stored == method} for method in methods]
        return tuple(sorted(set.intersection(*each))) if each else ()


@dataclass(frozen=True)
class Choice:
    """Some of a net's posteriors, to be averaged over the scales and then over the methods."""

    net: Net
    methods: tuple[str, ...]
    scales: tuple[int, ...]

    def runs(self) -> Iterator[tuple[Run, int]]:
        for method in self.methods:
            for q in self.scales:
                yield self.net.runs[method, q], q


@dataclass(frozen=True)
class Posteriors:
    """Of the N images `paths`, sorted. truth : int (N,), places among the outputs; None without labels.
    matrix : float32 (N, K). facts : of the first run, whose outputs are the K columns.
    """

    paths: list[str]
    truth: np.ndarray | None
    matrix: np.ndarray
    facts: Facts


def write_facts(store: Path, images: Classified, outputs: Outputs, train_scale: Sequence[int] | None) -> None:
    """Write run.json, whole or not at all."""
    facts = Facts(
        data=images.name,
        labelled=images.labels is not None,
        images=len(images),
        outputs=list(outputs.names),
        places=dict(outputs.places),
        train_scale=list(train_scale) if train_scale else None,
        notes=list(images.notes),
    )
    temporary = store / f"{FACTS}.tmp"
    temporary.write_text(json.dumps(asdict(facts), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    temporary.replace(store / FACTS)


def open_runs(paths: Sequence[str | Path]) -> list[Net]:
    """The nets of runs, in their order; a path is a run or a folder of runs.

    Raises StoreError for a path that is neither, for a run that isn't finished, and where two runs hold the same net,
    method and scale but were made otherwise; UsageError for no path.
    """
    if not paths:
        raise UsageError("no run given; `vggfeat evaluate --data ROOT` makes them")
    nets: dict[tuple[str, str], Net] = {}
    for run in (open_run(path) for given in paths for path in _stores(Path(given))):
        made = run.made
        key = made["weights_sha256"], run.facts.data
        new = Net(made["net"], made["width"], run.store.meta["weights"], made["weights_sha256"], run.facts)
        net = nets.setdefault(key, new)
        _check_facts(run, net)
        for q in run.store.scales:
            other = net.runs.setdefault((made["method"], q), run)
            if other.made != made:
                raise StoreError(
                    f"{run.store.path} and {other.store.path} both hold {net.title}, {made['method']}, Q={q}, but were "
                    "made otherwise; give one of them"
                )
    _tell_apart(list(nets.values()))
    return list(nets.values())


def _tell_apart(nets: Sequence[Net]) -> None:
    """Mark nets of one title by S, else by the name of their weights, else by the weights' checksum as well."""
    alike: dict[str, list[Net]] = {}
    for net in nets:
        alike.setdefault(net.title, []).append(net)
    for same in alike.values():
        names = [Path(net.weights).stem for net in same]
        trained = [f"S={'-'.join(map(str, net.train_scale))}" if net.train_scale else "" for net in same]
        sums = [f"{name}, {net.sha256[:6]}" for name, net in zip(names, same, strict=True)]
        complete = (marks for marks in (trained, names) if len({*marks, ""}) > len(same))  # none empty, none twice
        marks = next(complete, sums)
        for net, mark in zip(same, marks, strict=True):
            net.mark = mark if len(same) > 1 else ""


def _check_facts(run: Run, net: Net) -> None:
    for name, value in asdict(run.facts).items():
        if value != (known := asdict(net.facts)[name]):
            values = f": {value}, not {known}" if name in ("images", "train_scale") else ""
            raise StoreError(
                f"{run.store.path}: differs in {name}{values} from another run of the same weights; evaluate both alike"
            )


def _stores(path: Path) -> list[Path]:
    if (path / "meta.json").exists():
        return [path]
    below = sorted(meta.parent for meta in path.glob("*/meta.json")) if path.is_dir() else []
    if not below:
        raise StoreError(f"{path}: is neither a run nor a folder of runs; `vggfeat evaluate --data ROOT` makes them")
    return below


def open_run(path: Path) -> Run:
    """A finished run; raises StoreError where it is none, or isn't finished."""
    store = Store(path)
    if "method" not in store.fingerprint:
        raise StoreError(f"{path}: holds descriptors, not posteriors; `vggfeat evaluate --data ROOT` makes those")
    try:
        facts = Facts(**json.loads((path / FACTS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StoreError(f"{path}: isn't finished; the command that began it continues it") from None
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"{path / FACTS}: can't be read ({error}); run the command that made it again") from error
    there = len(store) + len(store.failures)
    if there < facts.images:
        raise StoreError(f"{path}: holds {there} of {facts.images} images; the command that began it continues it")
    if there > facts.images:
        raise StoreError(f"{path}: holds images that {facts.data} no longer has; remove it and evaluate again")
    return Run(store, facts)


def average(choices: Sequence[Choice]) -> Posteriors:
    """The mean of posteriors over the scales, over the methods, and over the nets, of the images that all runs hold.

    The outputs of all runs are brought to the order of the first one's (`classes.columns`).

    Raises UsageError for runs of different data, images or classes, and for nothing to average; StoreError for
    damaged parts.
    """
    runs = [run for choice in choices for run, _ in choice.runs()]
    if not runs:
        raise UsageError("nothing to average: no net, method or scale")
    _check_data(runs)
    facts = runs[0].facts
    order = {run.store.path: columns(runs[0].outputs, run.outputs) for run in runs}
    labels = _common(runs)
    if not labels:
        raise UsageError(f"{runs[0].store.path} and the other runs hold no image in common")
    paths = list(labels)
    place = {path: i for i, path in enumerate(paths)}
    matrix = np.zeros((len(paths), len(facts.outputs)), np.float32)
    for choice in choices:
        share = 1 / (len(choices) * len(choice.methods) * len(choice.scales))
        for run, q in choice.runs():
            for names, values in _parts(run.store, q):
                at = np.array([place.get(name, -1) for name in names])
                matrix[at[at >= 0]] += np.float32(share) * values[at >= 0][:, order[run.store.path]]
    truth = np.array([facts.places[labels[path]] for path in paths], np.int64) if facts.labelled else None
    return Posteriors(paths, truth, matrix, facts)


def _check_data(runs: Sequence[Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.facts.data != first.facts.data:
            raise UsageError(f"{run.store.path} is of {run.facts.data}, {first.store.path} of {first.facts.data}")


def _common(runs: Sequence[Run]) -> dict[str, str]:
    """Path -> label of the images that all runs hold, sorted by path."""
    tables = {run.store.path: run.store for run in runs}
    first, *others = tables.values()
    table = first.read(["path", "label"])
    names = set.intersection(set(table["path"].to_pylist()), *(set(store.paths) for store in others))
    rows = zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True)
    return dict(sorted((path, label) for path, label in rows if path in names))


def _parts(store: Store, q: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """(paths, float32 (n, K)) of each part of a store: a column of 50,000 images by 1000 classes takes 200 MB."""
    for part in store.parts:
        try:
            with pq.ParquetFile(part) as file:
                table = file.read(columns=["path", f"q{q}"])
            column = table[f"q{q}"].combine_chunks()
        except (OSError, KeyError, ValueError) as error:  # what Arrow raises is one of them
            raise StoreError(f"{part}: is damaged ({error}); delete it and give the command again") from error
        values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
        yield table["path"].to_pylist(), values
