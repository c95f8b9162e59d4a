"""Stored posteriors: runs, each of one net, one method and several scales, and the nets that they are of.

A run is a store like those of descriptors, but its columns q256, q384, ... hold posteriors. Its file run.json has the
classes and the number of images. All results are computed from runs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from vggfeat._util.json_files import Count
from vggfeat.data.imagenet import Classified
from vggfeat.errors import StoreError, UsageError
from vggfeat.evaluate.classes import Outputs
from vggfeat.evaluate.finished import read_facts, runs_at
from vggfeat.evaluate.settings import METHODS, Method
from vggfeat.store import Store
from vggfeat.weights.demonstration import DEMONSTRATION, demonstration_sha256

MAKER = "vggfeat evaluate --data ROOT"  # of runs


@dataclass(frozen=True)
class RunFacts:
    """run.json. images : how many, with unreadable ones. outputs : the names of fc8's outputs. places : class of the
    data set -> output. train_scale : S or (Smin, Smax), None if unknown. notes : those of the data set.
    """

    data: str
    labelled: bool
    images: Count
    outputs: list[str]
    places: dict[str, Count]
    train_scale: list[Count] | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.outputs or max(self.places.values(), default=0) >= len(self.outputs):
            raise ValueError(f"a class is none of the {len(self.outputs)} outputs")
        if len(set(self.places.values())) < len(self.places):
            raise ValueError("two classes are the same output")
        if self.train_scale is not None and len(self.train_scale) not in (1, 2):
            raise ValueError("train_scale is neither one side nor two")


class Made(TypedDict):
    """What the fingerprint of a run has, beside other keys."""

    net: str
    width: float
    weights_sha256: str
    method: Method
    scales: list[Count]


@dataclass(frozen=True)
class PosteriorRun:
    """A finished run; `open_run` opens it."""

    store: Store
    facts: RunFacts

    @property
    def made(self) -> dict[str, Any]:
        """The fingerprint without the scales: what decides the posteriors at any scale."""
        return {key: value for key, value in self.store.fingerprint.items() if key != "scales"}

    @property
    def outputs(self) -> Outputs:
        return Outputs(str(self.store.path), self.facts.outputs, self.facts.places)


@dataclass(frozen=True)
class StoredNet:
    """A net and all of its stored posteriors.

    Attributes
    ----------
    name : str
        The net of Table 1.
    width : float
        Factor on the channels of the net; 1 is the paper's net.
    weights, sha256 : str
        Name and checksum of the weights.
    facts : RunFacts
        The data set and the classes.
    runs : dict
        (method, Q) -> the run that has these posteriors.
    mark : str
        Tells nets of the same name apart.
    """

    name: str
    width: float
    weights: str
    sha256: str
    facts: RunFacts
    runs: dict[tuple[str, int], PosteriorRun]
    mark: str = ""

    @property
    def title(self) -> str:
        """The name for people: D; A ×0.25 for a narrower net; D (S=256) if there are several nets D."""
        plain = self.name if self.width == 1 else f"{self.name} ×{self.width:g}"
        plain = DEMONSTRATION if self.sha256 == demonstration_sha256() else plain
        return f"{plain} ({self.mark})" if self.mark else plain

    @property
    def train_scale(self) -> tuple[int, ...] | None:
        """The training scale, (S,) or (Smin, Smax); None if unknown."""
        return tuple(self.facts.train_scale) if self.facts.train_scale else None

    @property
    def methods(self) -> list[str]:
        """The methods that are stored."""
        return [method for method in METHODS if self.scales(method)]

    def scales(self, *methods: str) -> tuple[int, ...]:
        """Return the scales that are stored for each of the methods.

        Parameters
        ----------
        *methods : {"dense", "multi-crop", "centre"}

        Returns
        -------
        tuple of int
        """
        each = [{q for stored, q in self.runs if stored == method} for method in methods]
        return tuple(sorted(set.intersection(*each))) if each else ()


def facts_of(images: Classified, outputs: Outputs, train_scale: Sequence[int] | None) -> RunFacts:
    """What run.json says of images and of the outputs of a net."""
    return RunFacts(
        data=images.name,
        labelled=images.labels is not None,
        images=len(images),
        outputs=list(outputs.names),
        places=dict(outputs.places),
        train_scale=list(train_scale) if train_scale else None,
        notes=list(images.notes),
    )


def open_runs(paths: Sequence[str | Path]) -> list[StoredNet]:
    """Open stored posteriors.

    Parameters
    ----------
    paths : sequence of str or path
        Runs, or folders of runs.

    Returns
    -------
    list of StoredNet
        The nets of the runs, in the order of the runs.

    Raises
    ------
    StoreError
        If a path is neither a run nor a folder of runs, if a run is not finished, if two runs have the same net,
        method and scale but different settings, or if they have different images or labels under the same names.
    UsageError
        If there is no path.
    """
    if not paths:
        raise UsageError(f"no run given; `{MAKER}` makes runs")
    groups: dict[tuple[str, str], list[PosteriorRun]] = {}
    runs = [open_run(path) for given in paths for path in runs_at(Path(given), MAKER)]
    _check_images(runs)
    for run in runs:
        groups.setdefault((run.made["weights_sha256"], run.facts.data), []).append(run)
    return _marked([_net(runs) for runs in groups.values()])


def _check_images(runs: Sequence[PosteriorRun]) -> None:
    """Raise StoreError if runs of a data set of one name are of different images, or have different labels."""
    known: dict[tuple[str, str], tuple[str | None, str | None, Path]] = {}
    for run in runs:
        for batch in run.store.batches(["path", "label", "sha256"]) if run.store.parts else ():
            for path, label, sha256 in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                before = known.setdefault((run.facts.data, path), (label, sha256, run.store.path))
                if before[1] is None:  # of an earlier version
                    known[run.facts.data, path] = (before[0], sha256, run.store.path)
                if label != before[0] or (sha256 and before[1] and sha256 != before[1]):
                    what = "label" if label != before[0] else "image"
                    raise StoreError(
                        f"{run.store.path} and {before[2]}: both are of {run.facts.data}, but {path} has a different "
                        f"{what} in each; give runs of one data set, or evaluate again"
                    )


def _net(runs: Sequence[PosteriorRun]) -> StoredNet:
    """The net of runs of the same weights on the same data. Raises StoreError if two runs contradict each other."""
    facts, made = runs[0].facts, runs[0].made
    net = StoredNet(made["net"], made["width"], runs[0].store.meta["weights"], made["weights_sha256"], facts, {})
    for run in runs:
        _check_facts(run, facts)
        method = run.made["method"]
        for q in run.store.scales:
            other = net.runs.setdefault((method, q), run)
            if other.made != run.made:
                raise StoreError(
                    f"{run.store.path} and {other.store.path}: both have {net.title}, {method}, Q={q}, but were made "
                    "with different settings; give only one of them"
                )
    return net


def _check_facts(run: PosteriorRun, known: RunFacts) -> None:
    for name, value in asdict(run.facts).items():
        if name != "notes" and value != (
            other := asdict(known)[name]
        ):  # another version may word its notes differently
            values = f": {value}, not {other}" if name in ("images", "train_scale") else ""
            raise StoreError(
                f"{run.store.path}: differs in {name}{values} from another run of the same weights; evaluate both alike"
            )


def _marked(nets: Sequence[StoredNet]) -> list[StoredNet]:
    """Tell nets of the same title apart: by S, else by the name of their weights, else by the checksum as well."""
    found = []
    for net in nets:
        same = [other for other in nets if other.title == net.title]
        names = [Path(other.weights).stem for other in same]
        trained = [f"S={'-'.join(map(str, other.train_scale))}" if other.train_scale else "" for other in same]
        sums = [f"{name}, {other.sha256[:6]}" for name, other in zip(names, same, strict=True)]
        complete = (marks for marks in (trained, names) if len({*marks, ""}) > len(same))  # none empty, none twice
        marks = next(complete, sums)
        found.append(replace(net, mark=marks[same.index(net)]) if len(same) > 1 else net)
    return found


def open_run(path: Path) -> PosteriorRun:
    """Open a run. Raises StoreError if it is no run, or not finished."""
    store = Store(path)
    if "boxes" in store.fingerprint:
        raise StoreError(f"{path}: holds boxes, not posteriors; read it with `vggfeat localize evaluate --runs`")
    if "method" not in store.fingerprint:
        raise StoreError(f"{path}: holds descriptors, not posteriors; `vggfeat evaluate --data ROOT` makes those")
    return PosteriorRun(store, read_facts(store, RunFacts, Made))
