"""What a benchmark is, and what it gives."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from vggfeat.bench.likeness import differences
from vggfeat.bench.probe import Evaluation
from vggfeat.bench.protocol import Protocol
from vggfeat.bench.submission import Submission
from vggfeat.data import ImageSet
from vggfeat.spec import Aggregation


@dataclass(frozen=True)
class Recipe:
    """How the paper describes the images of a benchmark; `net` only where it used no other."""

    scales: tuple[int, ...]
    agg: Aggregation
    net: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A data set, a protocol and the numbers to compare with.

    Values in `paper` are per cent, `paper_std` their deviations over splits, where it gives them; `paper_on` says what
    they were measured on where ours can't be. `claims`: what the paper says of an aggregation ("stack"), a net ("E",
    "D & E"), three scales of more ("three") or "image only". None for train_per_class: `train_share` of each class;
    for test_per_class: all the rest. reported: the subset of an official split that the result is of.
    """

    name: str
    title: str
    read: Callable[..., ImageSet]
    protocol: Protocol
    paper: dict[str, float] = field(default_factory=dict)
    paper_std: Mapping[str, float] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)
    paper_on: str | None = None
    recipe: Recipe | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None
    train_share: float = 0.5
    seeds: int = 3
    reported: Literal["test", "val"] = "test"
    scales: tuple[int, ...] = (256, 384, 512)
    agg: Aggregation = "mean"
    weights: str = "auto"
    background: str | None = None  # the class that --no-background leaves out
    boxes: bool = False  # a sample is a box in an image; --no-box describes the image only
    submission: Submission | None = None


@dataclass(frozen=True)
class Evidence:
    """What a result was computed from, for whoever looks into it: the samples and the scores of each."""

    images: ImageSet
    evaluation: Evaluation


@dataclass(frozen=True)
class Result:
    """The outcome of a benchmark. Values in per cent; `std` is the sample standard deviation over the splits,
    None where there is one split. `metrics`: what is reported beside the metric. `ablation`: of each rung its row
    (text), net, layer, scales, agg, mirror, box (where there are boxes), value, std, C (of each split) and what the
    paper says of it, if anything. `evidence` is not in the JSON.
    """

    benchmark: str
    metric: str
    value: float
    std: float | None
    splits: list[dict[str, Any]]
    per_class: dict[str, float | None]
    metrics: dict[str, float]
    paper: dict[str, float]
    config: dict[str, Any]
    weights: list[dict[str, str]]
    timing: dict[str, float]
    notes: list[str]
    version: str
    ablation: list[dict[str, Any]] = field(default_factory=list)
    paper_std: dict[str, float] = field(default_factory=dict)
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    def json(self) -> str:
        """The result for machines."""
        values = asdict(replace(self, evidence=None))
        del values["evidence"]
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """The result for people: ours beside the paper's rows."""
        rows = [(f"vggfeat: {settings(self.config)}", _plus_minus(self.value, self.std))]
        rows += [
            (f"paper: {row}", _plus_minus(value, self.paper_std.get(row), decimals=1))
            for row, value in self.paper.items()
        ]
        width = max(len(row) for row, _ in rows)
        lines = [f"{self.benchmark}: {self.metric}, per cent"]
        lines += [f"  {row:{width}}  {value}" for row, value in rows]
        lines += [f"  split {s['seed']}: {s['value']:.2f} with C={s['C']:g}" for s in self.splits]
        lines += [f"  beside it, {name}: {value:.2f}" for name, value in self.metrics.items()]
        lines += _ladder(self.ablation)
        lines += [f"  {note}" for note in self.notes]
        if unlike := differences(self):
            lines.append(f"  not like with like: {'; '.join(unlike)}")
        return "\n".join(lines)


def _ladder(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ablation as aligned lines, what the paper says beside it."""
    if not rows:
        return []
    cells = [(f"  {one['row']}", _plus_minus(one["value"], one["std"]), one["paper"] or "") for one in rows]
    cells.insert(0, ("ablation", "", "paper" if any(paper for *_, paper in cells) else ""))
    first, second = (max(len(row[i]) for row in cells) for i in range(2))
    return [f"  {row:{first}}  {value:{second}}  {paper}".rstrip() for row, value, paper in cells]


def settings(config: dict[str, Any]) -> str:
    """The descriptors of a result in a few words."""
    parts = [f"net {config['net']} {config['layer']}", f"Q={_commas(config['scales'])}", config["agg"]]
    return ", ".join(parts + ([f"image{' + box' if config['box'] else ' only'}"] if "box" in config else []))


def _commas(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _plus_minus(value: float, std: float | None, decimals: int = 2) -> str:
    return f"{value:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")
