"""The page of a benchmark's result: its value, beside the paper, class by class, and the mistakes.

write_report(run(BENCHMARKS["digits"]), "digits.html")
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vggfeat.bench.comparison import LABELS, words
from vggfeat.bench.evidence import best_first, evidence_of, ranks
from vggfeat.bench.result import BenchmarkResult, in_short
from vggfeat.report import Bars, Block, Facts, Figure, Headline, Page, Section, Skyline, Table, Text, plots
from vggfeat.report.confusions import READABLE
from vggfeat.report.provenance import folder_of, provenance
from vggfeat.report.text import Cell

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
    images = result.evidence.images if result.evidence else None
    folder = folder_of(images.images, images.paths) if images else None
    title = result.definition.title if result.definition else result.benchmark
    own = result.benchmark == "folder" and folder is not None and folder.name
    return Page(
        title=own or title,
        kicker=f"vggfeat benchmark · {title}" if own else "vggfeat benchmark",
        subtitle=f"Images of {folder}" if folder else "",
        headline=Headline(result.value, f"{result.metric}, per cent", result.std, _in_short(result)),
        notes=result.notes,
        lead=[*(_beside_the_paper(result) if result.paper else _by_split(result)), *_other_measures(result)],
        sections=[*_classes(result), *_ablation(result), Section("Settings", _settings(result), folded=True)],
        foot=_foot(result, command),
    )


def _in_short(result: BenchmarkResult) -> str:
    counts = [f"{len(result.per_class):,} classes"]
    if result.evidence is not None:
        tested = [f"{len(one.rows):,}" for one in result.evidence.scores.values()]
        counts.append(f"{_one_or_all(tested)} test {'samples' if ranks(result) else 'images'}")
    spread = [] if result.std is None else [f"± standard deviation over {len(result.splits)} splits"]
    return " · ".join([*spread, in_short(result.config), ", ".join(counts)])


def _beside_the_paper(result: BenchmarkResult) -> list[Block]:
    paper = [(f"paper: {row}", value, result.paper_std.get(row)) for row, value in result.paper.items()]
    rows = [("this run", result.value, result.std), *paper]
    shown = 3 if any(deviation is not None for *_, deviation in rows) else 2
    table, header = [row[:shown] for row in rows], ["Method", result.metric, "±"][:shown]
    unexplained = shown == 3 and result.std is None  # by the headline
    caption = f"Beside the paper, per cent{'; ± standard deviation over splits' if unexplained else ''}"
    blocks: list[Block] = [Table(caption, header, table, decimals=1, bar=1, strong=0)]
    if unlike := result.differences():
        blocks.append(Text(f"Not directly comparable: {'; '.join(unlike)}."))
    return blocks


def _by_split(result: BenchmarkResult) -> list[Block]:
    rows: list[list[Cell]] = [[str(split["seed"]), f"{split['C']:g}", float(split["value"])] for split in result.splits]
    return [Table("By split, per cent", ["Split", "C of the SVM", result.metric], rows, bar=2)]


def _other_measures(result: BenchmarkResult) -> list[Block]:
    rows = list(result.metrics.items())
    return [Table("The same scores by other measures, per cent", ["Measure", "Value"], rows)] if rows else []


def _classes(result: BenchmarkResult) -> list[Section]:
    """The value of each class and the pictures. Many classes have no room in half the page: they come last."""
    evidence = evidence_of(result)
    if len(result.per_class) > READABLE:
        return [*evidence, Section("Per class", _per_class(result))]
    return [Section("Per class", _per_class(result), half=True), *evidence]


def _per_class(result: BenchmarkResult) -> list[Block]:
    items = best_first(result)
    values = [value for _, value in items]
    what = "average precision" if ranks(result) else "recall"
    blocks: list[Block] = [Text(f"{what.capitalize()} in per cent, best first; the line is the mean.")]
    if len(values) > READABLE:
        alt = f"{len(values)} classes by {what}: from {max(values):.1f} down to {min(values):.1f}"
        blocks.append(Skyline(values, result.value, alt))
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
    table = Table("Each choice on its own, per cent", list(filled), cells, strong=strong)
    return [Section("Ablation", [figure], half=True), Section("Ablation in numbers", [table], half=True)]


def _same_descriptors(row: dict[str, Any], config: dict[str, Any]) -> bool:
    names = ["net", "layer", "scales", "mirror", "box", *(["agg"] if len(config["scales"]) > 1 else [])]
    return all(row.get(name) == config.get(name) for name in names)


def _settings(result: BenchmarkResult) -> list[Block]:
    facts = [(LABELS.get(name, name), words(value)) for name, value in result.config.items()]
    blocks: list[Block] = [Text(_RANKING if ranks(result) else _DECIDING), Facts(facts)]
    blocks += _by_split(result) if result.paper else []
    return blocks


def _foot(result: BenchmarkResult, command: Sequence[str] | None) -> list[tuple[str, str]]:
    weights = [("Weights", f"{one['name']}, sha256 {one['sha256']}") for one in result.weights]
    timing = ", ".join(f"{name.removesuffix('_s')} {seconds:,.1f} s" for name, seconds in result.timing.items())
    device = str(result.config.get("device", "cpu"))
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") and torch.cuda.is_available() else None
    return provenance(result.version, [*weights, ("Time", timing)], command, processor=gpu)


def _one_or_all(texts: list[str]) -> str:
    return ", ".join(texts[:1] if len(set(texts)) == 1 else texts)
