"""What a benchmark is, and what it gives."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from vggfeat.aggregate import Aggregation
from vggfeat.data import ImageSet


@dataclass(frozen=True)
class Benchmark:
    """A data set, a protocol and the numbers to compare with.

    Values in `paper` are per cent. None for train_per_class: `train_share` of each class; for test_per_class:
    all the rest.
    """

    name: str
    title: str
    read: Callable[..., ImageSet]
    paper: dict[str, float] = field(default_factory=dict)
    train_per_class: int | None = None
    test_per_class: int | None = None
    train_share: float = 0.5
    seeds: int = 3
    scales: tuple[int, ...] = (256, 384, 512)
    agg: Aggregation = "mean"
    weights: str = "auto"
    background: str | None = None  # the class that --no-background leaves out


@dataclass(frozen=True)
class Result:
    """The outcome of a benchmark. Values in per cent; `std` is the sample standard deviation over the splits,
    None where there is one split.
    """

    benchmark: str
    metric: str
    value: float
    std: float | None
    splits: list[dict[str, Any]]
    per_class: dict[str, float | None]
    paper: dict[str, float]
    config: dict[str, Any]
    weights: list[dict[str, str]]
    timing: dict[str, float]
    notes: list[str]
    version: str

    def json(self) -> str:
        """The result for machines."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """The result for people: ours beside the paper's rows."""
        config = self.config
        scales = ",".join(map(str, config["scales"]))
        ours = f"net {config['net']} {config['layer']}, Q={scales}, {config['agg']}"
        rows = [(f"vggfeat: {ours}", _plus_minus(self.value, self.std))]
        rows += [(f"paper: {row}", f"{value:.1f}") for row, value in self.paper.items()]
        width = max(len(row) for row, _ in rows)
        lines = [f"{self.benchmark}: {self.metric}, per cent"]
        lines += [f"  {row:{width}}  {value}" for row, value in rows]
        lines += [f"  split {s['seed']}: {s['value']:.2f} with C={s['C']:g}" for s in self.splits]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)


def _plus_minus(value: float, std: float | None) -> str:
    return f"{value:.2f}" if std is None else f"{value:.2f} ± {std:.2f}"
