"""The page of a benchmark's result: what it is worth, beside the paper, class by class, and what it got wrong.

write_report(run(BENCHMARKS["digits"]), "digits.html")
"""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.bench.benchmark import Result, settings
from vggfeat.bench.evidence import best_first, looked_into, ranks
from vggfeat.bench.likeness import LABELS, benchmark_of, differences, words
from vggfeat.report import Bars, Block, Facts, Figure, Headline, Notes, Page, Section, Table, Text, plots
from vggfeat.report.text import Cell, number

MANY = 40  # classes whose bars deserve an overview

_RANKING = (
    "An SVM a class ranks the test samples; a class is worth the average precision of its ranking, the result is the "
    "mean over the classes. Samples that are ignored for a class (difficult objects only) are left out of its ranking."
)
_DECIDING = (
    "Each test image is given the class whose SVM scores highest; a class is worth the share of its images that were "
    "given to it, the result is the mean over the classes."
)


def write_report(result: Result, file: str | Path, *, command: Sequence[str] | None = None) -> Path:
    """Write the page of a result to `file`, whole or not at all; returns `file`.

    command : the words of the command line, for the provenance.
    Images are read again for the thumbnails; one that has gone leaves a placeholder. Raises UsageError where the
    file can't be written there (`report.check_target` asks before), OSError where the disk fails.
    """
    return page(result, command=command).write(file)


def page(result: Result, *, command: Sequence[str] | None = None) -> Page:
    """The page of a result; without `evidence` it has no curves, confusions and photos."""
    benchmark = benchmark_of(result.benchmark)
    return Page(
        title=benchmark.title if benchmark else result.benchmark,
        kicker="vggfeat benchmark",
        headline=Headline(result.value, f"{result.metric}, per cent", result.std, settings(result.config)),
        lead=_beside_the_paper(result),
        sections=[
            Section("Protocol and settings", _protocol(result)),
            Section("Per class", _per_class(result)),
            *_ablation(result),
            *(looked_into(result, result.evidence) if result.evidence is not None else []),
        ],
        foot=_provenance(result, command),
    )


def _beside_the_paper(result: Result) -> list[Block]:
    if not result.paper:
        return []
    paper = [(f"paper: {row}", value, result.paper_std.get(row)) for row, value in result.paper.items()]
    rows = [("this run", result.value, result.std), *paper]
    shown = 3 if any(deviation is not None for *_, deviation in rows) else 2
    table, header = [row[:shown] for row in rows], ["Method", result.metric, "±"][:shown]
    blocks: list[Block] = [Table("Beside the paper, per cent", header, table, decimals=1, bar=1, strong=0)]
    unlike = differences(result) + (list(result.evidence.images.notes) if result.evidence else [])
    benchmark = benchmark_of(result.benchmark)
    if benchmark and benchmark.paper_on:
        unlike.append(f"the paper's figures are of {benchmark.paper_on}")
    if unlike:
        blocks.append(Text(f"Not like with like: {'; '.join(unlike)}."))
    return blocks


def _protocol(result: Result) -> list[Block]:
    evidence = result.evidence
    facts = [(LABELS.get(name, name), words(value)) for name, value in result.config.items()]
    facts.insert(0, ("Classes", number(len(result.per_class), 0)))
    if evidence is not None:
        tested = [f"{len(one.rows):,}" for one in evidence.evaluation.scores.values()]
        facts.insert(1, ("Test samples" + (", by split" if len(set(tested)) > 1 else ""), _one_or_all(tested)))
    rows: list[list[Cell]] = [[str(split["seed"]), f"{split['C']:g}", float(split["value"])] for split in result.splits]
    blocks: list[Block] = [Text(_RANKING if ranks(result) else _DECIDING), Facts(facts)]
    blocks.append(Table("By split", ["Split", "C of the SVM", result.metric], rows))
    if result.metrics:
        blocks.append(Table("The same scores by other measures", ["Measure", "Value"], list(result.metrics.items())))
    return [*blocks, *([Notes(result.notes)] if result.notes else [])]


def _per_class(result: Result) -> list[Block]:
    items = best_first(result)
    values = [value for _, value in items if value is not None]
    what = "average precision" if ranks(result) else "recall"
    blocks: list[Block] = [Text(f"{what.capitalize()} in per cent, best first; the mark on each bar is the mean.")]
    if len(values) > MANY:
        alt = f"{len(values)} classes by {what}: from {max(values):.1f} down to {min(values):.1f}"
        blocks.append(Figure(plots.skyline(values, mean=result.value, alt=alt, unit=what)))
    return [*blocks, Bars(items, result.value)]


def _ablation(result: Result) -> list[Section]:
    rows = result.ablation
    if not rows:
        return []
    strong = next((n for n, row in enumerate(rows) if _same_descriptors(row, result.config)), None)
    named = [(str(row["row"]), float(row["value"]), row.get("std")) for row in rows]
    alt = f"{result.metric}: " + "; ".join(f"{name} {value:.2f}" for name, value, _ in named)
    figure = Figure(plots.dots(named, alt=alt, xlabel=f"{result.metric}, per cent", strong=strong))
    columns: dict[str, list[Cell]] = {
        "Descriptors": [name for name, *_ in named],
        "C": [_one_or_all([words(C) for C in row.get("C") or ()]) for row in rows],
        result.metric: [value for _, value, _ in named],
        "±": [deviation for *_, deviation in named],
        "The paper": [row.get("paper") or "" for row in rows],
    }
    told = {head: cells for head, cells in columns.items() if set(cells) - {None, ""}}
    cells = list(zip(*told.values(), strict=True))
    return [Section("Ablation", [figure, Table("Each choice on its own", list(told), cells, strong=strong)])]


def _same_descriptors(row: dict[str, Any], config: dict[str, Any]) -> bool:
    names = ["net", "layer", "scales", "mirror", "box", *(["agg"] if len(config["scales"]) > 1 else [])]
    return all(row.get(name) == config.get(name) for name in names)


def _provenance(result: Result, command: Sequence[str] | None) -> list[tuple[str, str]]:
    import torch

    weights = [("Weights", f"{one['name']}, sha256 {one['sha256']}") for one in result.weights]
    timing = ", ".join(f"{name.removesuffix('_s')} {seconds:,.1f} s" for name, seconds in result.timing.items())
    return [
        ("vggfeat", result.version),
        *weights,
        ("Date (UTC)", datetime.now(UTC).strftime("%Y-%m-%d %H:%M")),
        ("Machine", _machine(str(result.config.get("device", "cpu")))),
        ("Software", f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"),
        ("Time", timing),
        *([("Command", shlex.join([Path(command[0]).name, *command[1:]]))] if command else []),
    ]


def _machine(device: str) -> str:
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(device)}, {platform.system()}"
    return f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()}"


def _one_or_all(words: list[str]) -> str:
    return ", ".join(words[:1] if len(set(words)) == 1 else words)
