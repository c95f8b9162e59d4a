"""Stored predictions: runs, each of one box net, one protocol and several scales. All scores are computed from them.

A run is a store like those of descriptors. Its columns q256, ... hold boxes in pixels of the photo, not clipped:

    protocol 1   x0, y0, x1, y1 of each class (or of all), from the centre crop
    protocol 2   rows class, confidence, x0, y0, x1, y1: candidates before any merging, of the likeliest classes at
                 each place; class is a number of `outputs`

Its file run.json has the classes, the true boxes and the number of images. The posteriors of the classes are a run of
`vggfeat evaluate`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import numpy as np
from msgspec import Meta

from vggfeat._util.json_files import Count
from vggfeat.errors import StoreError, UsageError
from vggfeat.evaluate.classes import Outputs
from vggfeat.evaluate.finished import AGAIN, read_facts
from vggfeat.localization.describing import ROW
from vggfeat.store import Store

MAKER = "vggfeat localize evaluate DATA --model MODEL"  # of runs
MAX_FACTS = 2**28  # bytes; ILSVRC's validation set has about 10 MB

Corners = Annotated[list[float], Meta(min_length=4, max_length=4)]


@dataclass(frozen=True)
class BoxFacts:
    """run.json.

    images : how many, with unreadable ones. outputs : the names of the classes of the boxes; empty if boxes have none.
    places : class of the data set -> its number in `outputs`; empty as well. truth : image -> its true boxes.
    constant : the mean training box, x0, y0, x1, y1 in units of the photo's sides; None without training boxes.
    train_scale : S, None if unknown. tuned : which layers were fine-tuned, None if unknown. notes : of the data set.
    """

    data: str
    images: Count
    outputs: list[str]
    places: dict[str, Count]
    truth: dict[str, Annotated[list[Corners], Meta(min_length=1)]]
    constant: Corners | None = None
    train_scale: list[Count] | None = None
    tuned: Literal["all", "fc"] | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.truth) != self.images:
            raise ValueError(f"has true boxes of {len(self.truth)} images, not of {self.images}")
        if max(self.places.values(), default=-1) >= len(self.outputs):
            raise ValueError(f"a class is none of the {len(self.outputs)} outputs")


class Made(TypedDict):
    """What the fingerprint of a run has, beside other keys."""

    net: str
    width: float
    weights_sha256: str
    method: Literal["dense", "centre"]
    boxes: Literal["scr", "pcr"]
    scales: list[Count]


class StoredBoxes(NamedTuple):
    """A row of a run. size : height and width of the photo. boxes : scale -> float32 (N, 4) or (N, 6)."""

    path: str
    label: str
    size: tuple[int, int]
    sha256: str | None
    boxes: dict[int, np.ndarray]


@dataclass(frozen=True)
class BoxRun:
    """A finished run; `open_box_run` opens it."""

    store: Store
    facts: BoxFacts

    @property
    def protocol(self) -> int:
        return 2 if self.store.fingerprint["method"] == "dense" else 1

    @property
    def made(self) -> dict[str, Any]:
        """The fingerprint without the scales: what decides the boxes at any scale."""
        return {key: value for key, value in self.store.fingerprint.items() if key != "scales"}

    @property
    def regression(self) -> str:
        return str(self.store.fingerprint["boxes"])

    @property
    def outputs(self) -> Outputs:
        return Outputs(str(self.store.path), self.facts.outputs, self.facts.places)

    def _fits(self, rows: np.ndarray) -> bool:
        """Whether rows are of classes of this run."""
        classes = max(1, len(self.facts.outputs))
        if self.protocol == 1:
            return len(rows) == (classes if self.regression == "pcr" else 1)
        return bool(np.isin(rows[:, 0], np.arange(classes)).all())

    def rows(self) -> Iterator[StoredBoxes]:
        """The rows, in the order of the store. Raises StoreError for a damaged part."""
        columns = [f"q{q}" for q in self.store.scales]
        numbers = len(ROW) if self.protocol == 2 else 4
        for batch in self.store.batches(["path", "label", "height", "width", "sha256", *columns]):
            facts = zip(*(batch.column(i).to_pylist() for i in range(5)), strict=True)
            for i, (path, label, height, width, sha256) in enumerate(facts):
                found = [np.asarray(batch.column(column)[i].values, np.float32) for column in columns]
                rows = [one.reshape(-1, numbers) for one in found if not one.size % numbers]
                known = path in self.facts.truth and label in (self.facts.places or {label})
                if len(rows) < len(found) or not known or not all(map(self._fits, rows)):
                    raise StoreError(
                        f"{self.store.path}: {path} has a label or boxes that do not fit its run.json; remove the run "
                        f"and {AGAIN}"
                    )
                boxes = dict(zip(self.store.scales, rows, strict=True))
                yield StoredBoxes(path, label, (height, width), sha256, boxes)


def holds_boxes(store: Store) -> bool:
    """Whether a store is a run of boxes."""
    return "boxes" in store.fingerprint


def open_box_run(path: Path) -> BoxRun:
    """Open a run. Raises StoreError if it is no run of boxes, or not finished."""
    store = Store(path)
    if not holds_boxes(store):
        raise StoreError(f"{path}: holds no boxes; `{MAKER}` makes runs of boxes")
    return BoxRun(store, read_facts(store, BoxFacts, Made, MAX_FACTS))


def together(runs: Sequence[BoxRun]) -> Iterator[list[StoredBoxes]]:
    """The rows of all runs for each image that all have, in the order of the first run.

    Runs that were interrupted may have other orders: of these some rows wait in memory. Raises StoreError if an image
    is a different one in two runs.
    """
    others = [_Rows(run) for run in runs[1:]]
    for first in runs[0].rows():
        found = [row for other in others if (row := other.of(first.path))]
        for run, row in zip(runs[1:], found, strict=False):
            if len(found) == len(others) and first.sha256 and row.sha256 and row.sha256 != first.sha256:
                raise StoreError(
                    f"{run.store.path} and {runs[0].store.path}: {first.path} is a different image in each; evaluate "
                    "both again"
                )
        if len(found) == len(others):
            yield [first, *found]


class _Rows:
    """The rows of a run by the names of their images, each of which is asked for once."""

    def __init__(self, run: BoxRun) -> None:
        self._rows = run.rows()
        self._waiting: dict[str, StoredBoxes] = {}

    def of(self, path: str) -> StoredBoxes | None:
        if path not in self._waiting:
            for row in self._rows:
                self._waiting[row.path] = row
                if row.path == path:
                    break
        return self._waiting.pop(path, None)


@dataclass(frozen=True)
class StoredBoxNet:
    """A box net and its stored predictions.

    runs : (protocol, Q) -> the run that has them. mark : tells nets of the same name apart.
    """

    name: str
    width: float
    weights: str
    sha256: str
    regression: str
    facts: BoxFacts
    runs: Mapping[tuple[int, int], BoxRun]
    mark: str = ""

    @property
    def title(self) -> str:
        """The name for people: D; A ×0.25 for a narrower net; D (birds) if there are several nets D."""
        plain = self.name if self.width == 1 else f"{self.name} ×{self.width:g}"
        return f"{plain} ({self.mark})" if self.mark else plain

    def scales(self, protocol: int) -> tuple[int, ...]:
        return tuple(sorted(q for stored, q in self.runs if stored == protocol))


def nets_of(runs: Sequence[BoxRun]) -> list[StoredBoxNet]:
    """The nets of runs, in the order of the runs. Raises StoreError, UsageError if runs do not belong together."""
    groups: dict[str, list[BoxRun]] = {}
    for run in runs:
        _check_same_data(run, runs[0])
        groups.setdefault(run.made["weights_sha256"], []).append(run)
    nets = [_net(of_net) for of_net in groups.values()]
    titles = [net.title for net in nets]
    return [
        replace(net, mark=mark) if titles.count(net.title) > 1 else net
        for net, mark in zip(nets, _marks(nets), strict=True)
    ]


def _marks(nets: Sequence[StoredBoxNet]) -> list[str]:
    """What tells nets apart: their files, regressions or training scales, the first that do; else files and SHA-256."""
    files = [Path(net.weights).stem for net in nets]
    trained = [f"S={'-'.join(map(str, net.facts.train_scale)) if net.facts.train_scale else '?'}" for net in nets]
    for marks in (files, [net.regression for net in nets], trained):
        if len(set(marks)) == len(nets):
            return marks
    return [
        file if files.count(file) == 1 else f"{file}, {net.sha256[:6]}" for net, file in zip(nets, files, strict=True)
    ]


def _check_same_data(run: BoxRun, first: BoxRun) -> None:
    if run.facts.data != first.facts.data:
        raise UsageError(
            f"{run.store.path}: is of {run.facts.data}, {first.store.path} of {first.facts.data}; give runs of one"
        )
    if run.facts.truth != first.facts.truth:
        raise StoreError(
            f"{run.store.path} and {first.store.path}: have different true boxes of {run.facts.data}; evaluate both "
            "again, or give only one of them"
        )


def _net(runs: Sequence[BoxRun]) -> StoredBoxNet:
    found: dict[tuple[int, int], BoxRun] = {}
    for run in runs:
        for q in run.store.scales:
            other = found.setdefault((run.protocol, q), run)
            if other.made != run.made:
                raise StoreError(
                    f"{run.store.path} and {other.store.path}: both have the same net, protocol and Q={q}, but were "
                    "made with different settings; give only one of them"
                )
    made, store = runs[0].made, runs[0].store
    sha256, weights = made["weights_sha256"], store.meta["weights"]
    return StoredBoxNet(made["net"], made["width"], weights, sha256, runs[0].regression, runs[0].facts, found)
