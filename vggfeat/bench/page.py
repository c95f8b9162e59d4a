"""The page of a benchmark's result: its value, beside the paper, class by class, and the mistakes.

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
import torch

from vggfeat._util.printable import hidden
from vggfeat.bench.comparison import LABELS, words
from vggfeat.bench.evidence import best_first, evidence_sections, ranks
from vggfeat.bench.result import BenchmarkResult, in_short
from vggfeat.report import Bars, Block, Facts, Figure, Headline, Notes, Page, Section, Table, Text, plots
from vggfeat.report.text import Cell, number

MANY = 40  # classes; if there are more, the bars get an overview

_RANKING = (
    "One SVM per class ranks the test samples. The value of a class is the average precision of its ranking; the "
    "result is the mean over the classes. Samples that are ignored for a class (with difficult objects only) are left "
    "out of its ranking."
)
_DECIDING = (
    "Each test image is given the class whose SVM scores highest. The value of a class is the share of its images that "
    "were given to it; the result is the mean over the classes."
)


def write_report(result: BenchmarkResult, file: str | Path, *, command: Sequence[str] | None = None) -> Path:
    """Write the page of a result as one HTML file, whole or not at all.

    The images are read again for the thumbnails; a missing image has a placeholder.

    Parameters
    ----------
    result : BenchmarkResult
    file : str or path
    command : sequence of str, optional
        The words of the command line, for the provenance.

    Returns
    -------
    Path
        `file`.

    Raises
    ------
    UsageError
        If the file cannot be written there; `check_target` checks this before a long run.
    OSError
        If the disk fails.
    """
    return page(result, command=command).write(file)


def page(result: BenchmarkResult, *, command: Sequence[str] | None = None) -> Page:
    """The page of a result; without `evidence` it has no curves, confusions and photos."""
    return Page(
        title=result.definition.title if result.definition else result.benchmark,
        kicker="vggfeat benchmark",
        headline=Headline(result.value, f"{result.metric}, per cent", result.std, in_short(result.config)),
        lead=_beside_the_paper(result),
        sections=[
            Section("Protocol and settings", _protocol(result)),
            Section("Per class", _per_class(result)),
            *_ablation(result),
            *(evidence_sections(result, result.evidence) if result.evidence is not None else []),
        ],
        foot=_provenance(result, command),
    )


def _beside_the_paper(result: BenchmarkResult) -> list[Block]:
    if not result.paper:
        return []
    paper = [(f"paper: {row}", value, result.paper_std.get(row)) for row, value in result.paper.items()]
    rows = [("this run", result.value, result.std), *paper]
    shown = 3 if any(deviation is not None for *_, deviation in rows) else 2
    table, header = [row[:shown] for row in rows], ["Method", result.metric, "±"][:shown]
    blocks: list[Block] = [Table("Beside the paper, per cent", header, table, decimals=1, bar=1, strong=0)]
    unlike = result.differences() + (list(result.evidence.images.notes) if result.evidence else [])
    if result.definition and result.definition.paper_on:
        unlike.append(f"the paper's figures are of {result.definition.paper_on}")
    if unlike:
        blocks.append(Text(f"Not directly comparable: {'; '.join(unlike)}."))
    return blocks


def _protocol(result: BenchmarkResult) -> list[Block]:
    facts = [(LABELS.get(name, name), words(value)) for name, value in result.config.items()]
    facts.insert(0, ("Classes", number(len(result.per_class), 0)))
    if result.evidence is not None:
        tested = [f"{len(one.rows):,}" for one in result.evidence.scores.values()]
        facts.insert(1, ("Test samples" + (", by split" if len(set(tested)) > 1 else ""), _one_or_all(tested)))
    rows: list[list[Cell]] = [[str(split["seed"]), f"{split['C']:g}", float(split["value"])] for split in result.splits]
    blocks: list[Block] = [Text(_RANKING if ranks(result) else _DECIDING), Facts(facts)]
    blocks.append(Table("By split", ["Split", "C of the SVM", result.metric], rows))
    if result.metrics:
        blocks.append(Table("The same scores by other measures", ["Measure", "Value"], list(result.metrics.items())))
    return [*blocks, *([Notes(result.notes)] if result.notes else [])]


def _per_class(result: BenchmarkResult) -> list[Block]:
    items = best_first(result)
    values = [value for _, value in items if value is not None]
    what = "average precision" if ranks(result) else "recall"
    blocks: list[Block] = [Text(f"{what.capitalize()} in per cent, best first; the mark on each bar is the mean.")]
    if len(values) > MANY:
        alt = f"{len(values)} classes by {what}: from {max(values):.1f} down to {min(values):.1f}"
        blocks.append(Figure(plots.skyline(values, mean=result.value, alt=alt, unit=what)))
    return [*blocks, Bars(items, result.value)]


def _ablation(result: BenchmarkResult) -> list[Section]:
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
    filled = {head: cells for head, cells in columns.items() if set(cells) - {None, ""}}
    cells = list(zip(*filled.values(), strict=True))
    return [Section("Ablation", [figure, Table("Each choice on its own", list(filled), cells, strong=strong)])]


def _same_descriptors(row: dict[str, Any], config: dict[str, Any]) -> bool:
    names = ["net", "layer", "scales", "mirror", "box", *(["agg"] if len(config["scales"]) > 1 else [])]
    return all(row.get(name) == config.get(name) for name in names)


def _provenance(result: BenchmarkResult, command: Sequence[str] | None) -> list[tuple[str, str]]:
    weights = [("Weights", f"{one['name']}, sha256 {one['sha256']}") for one in result.weights]
    timing = ", ".join(f"{name.removesuffix('_s')} {seconds:,.1f} s" for name, seconds in result.timing.items())
    return [
        ("vggfeat", result.version),
        *weights,
        ("Date (UTC)", datetime.now(UTC).strftime("%Y-%m-%d %H:%M")),
        ("Machine", _machine(str(result.config.get("device", "cpu")))),
        ("Software", f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"),
        ("Time", timing),
        *([("Command", hidden(shlex.join([Path(command[0]).name, *command[1:]])))] if command else []),
    ]


def _machine(device: str) -> str:
    if device.startswith("cuda") and torch.cuda.is_available():
        return f"{torch.cuda.get_device_name(device)}, {platform.system()}"
    return f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()}"


def _one_or_all(texts: list[str]) -> str:
    return ", ".join(texts[:1] if len(set(texts)) == 1 else texts)
