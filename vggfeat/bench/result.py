"""The outcome of a benchmark, as JSON for machines and as a table for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from vggfeat._util.printable import printable
from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.comparison import differences
from vggfeat.bench.probe import ProbeResult
from vggfeat.weights.demonstration import DEMONSTRATION


@dataclass(frozen=True)
class BenchmarkResult:
    """The outcome of a benchmark. All values are in per cent.

    Parameters
    ----------
    benchmark : str
        Name of the benchmark.
    metric : str
        Name of the measure.
    value : float
        Mean over the splits.
    std : float or None
        Sample standard deviation over the splits; None if there is one split.
    splits : list of dict
        For each split: seed, value, and the C that was chosen.
    per_class : dict of str to float or None
        Class -> mean over the splits; None for a class that lacks training or test images.
    metrics : dict of str to float
        Further measures of the same scores.
    paper, paper_std : dict of str to float
        Method -> value in the paper, and its standard deviation.
    config : dict
        The settings.
    weights : list of dict
        For each net: name and sha256 of the weights.
    timing : dict of str to float
        Seconds: extract_s, svm_s.
    notes : list of str
        What a reader of the value should know, such as images that could not be read.
    version : str
        Version of vggfeat.
    ablation : list of dict
        For each choice that was measured: row (text), net, layer, scales, agg, mirror, box (if there are boxes),
        value, std, C (of each split), and paper: what the paper says of it, or None.
    converged : list of bool
        For each split: whether all SVMs reached their minimum, those that chose C and those that were tested.
    evidence : ProbeResult or None
        Samples and scores that the value was computed from. Not in the JSON.
    definition : Benchmark or None
        The benchmark. Not in the JSON.
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
    converged: list[bool] = field(default_factory=list)
    evidence: ProbeResult | None = field(default=None, repr=False, compare=False)
    definition: Benchmark | None = field(default=None, repr=False, compare=False)

    def json(self) -> str:
        """Give the result as a JSON object.

        Returns
        -------
        str
        """
        kept = [each.name for each in fields(self) if each.name not in ("evidence", "definition")]
        return json.dumps({name: getattr(self, name) for name in kept}, indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """Give the result as a table, beside the rows of the paper.

        Returns
        -------
        str
            Several lines.
        """
        rows = [(f"vggfeat: {in_short(self.config)}", plus_minus(self.value, self.std))]
        rows += [
            (f"paper: {row}", plus_minus(value, self.paper_std.get(row), decimals=1))
            for row, value in self.paper.items()
        ]
        width = max(len(row) for row, _ in rows)
        lines = [f"{self.benchmark}: {self.metric}, per cent"]
        lines += [f"  {row:{width}}  {value}" for row, value in rows]
        lines += [f"  split {s['seed']}: {s['value']:.2f} with C={s['C']:g}" for s in self.splits]
        lines += [f"  also {name}: {value:.2f}" for name, value in self.metrics.items()]
        lines += _ablation_lines(self.ablation)
        lines += [f"  {note}" for note in self.notes]
        if unlike := self.differences():
            lines.append(f"  not directly comparable: {'; '.join(unlike)}")
        return "\n".join(map(printable, lines))

    def differences(self) -> list[str]:
        """List how the settings differ from the paper's.

        Returns
        -------
        list of str
            Empty without `definition`, and for a benchmark that is not in the paper.
        """
        return differences(self.definition, self.config) if self.definition and self.paper else []


def in_short(config: Mapping[str, Any]) -> str:
    """The settings of the descriptors in a few words."""
    net = DEMONSTRATION if config.get("demonstration") else f"net {config['net']}"
    parts = [f"{net} {config['layer']}", f"Q={','.join(map(str, config['scales']))}", config["agg"]]
    return ", ".join(parts + ([f"image{' + box' if config['box'] else ' only'}"] if "box" in config else []))


def _ablation_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ablation as aligned lines, with what the paper says in the last column."""
    if not rows:
        return []
    cells = [(f"  {one['row']}", plus_minus(one["value"], one["std"]), one["paper"] or "") for one in rows]
    cells.insert(0, ("ablation", "", "paper" if any(paper for *_, paper in cells) else ""))
    first, second = (max(len(row[i]) for row in cells) for i in range(2))
    return [f"  {row:{first}}  {value:{second}}  {paper}".rstrip() for row, value, paper in cells]


def plus_minus(value: float, std: float | None, decimals: int = 2) -> str:
    """A value with its standard deviation, if there is one."""
    return f"{value:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")
