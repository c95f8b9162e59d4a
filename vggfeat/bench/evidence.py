"""Sections of a result's page about single scores: curves, confusions, and the photos of mistakes and hits."""

import numpy as np

from vggfeat.bench.probe import ProbeResult
from vggfeat.bench.result import BenchmarkResult
from vggfeat.errors import ImageError
from vggfeat.images import read
from vggfeat.report import Block, Figures, Gallery, Picture, Section, Text, cases, plots, thumbnail
from vggfeat.report.confusions import confusion_sections
from vggfeat.report.text import number

MOST = 12  # hits and mistakes, each


def ranks(result: BenchmarkResult) -> bool:
    """Whether the measure ranks the samples for each class (mAP), or gives each sample one class."""
    return result.metric.startswith("mAP")


def best_first(result: BenchmarkResult) -> list[tuple[str, float]]:
    """The classes that have a value, by value; a note of the result names the others."""
    known = [(name, value) for name, value in result.per_class.items() if value is not None]
    return sorted(known, key=lambda item: (-item[1], item[0]))


def evidence_of(result: BenchmarkResult) -> list[Section]:
    """Curves or confusions, whichever suit the measure, the most confident mistakes and the best hits."""
    evidence = result.evidence
    if evidence is None or not evidence.scores:
        return []
    images = evidence.images
    splits = [
        cases.Scored(one.rows, one.values, images.labels[one.rows], images.ignore[one.rows])
        for one in evidence.scores.values()
    ]
    if ranks(result):
        return [Section("Precision and recall", _curves(result, splits)), *_photos(evidence, splits, True)]
    counts = cases.confusion(splits)
    over = f"{counts.sum():,} decisions over {len(splits)} splits" if len(splits) > 1 else f"{counts.sum():,} decisions"
    decided = [cases.decided(split) for split in splits]
    return [*confusion_sections(counts, images.classes, over), *_photos(evidence, decided, False)]


def _curves(result: BenchmarkResult, splits: list[cases.Scored]) -> list[Block]:
    place = {name: k for k, name in enumerate(result.per_class)}
    drawn = [(name, value, _curve(name, value, place[name], splits)) for name, value in best_first(result)]
    text = (
        "Precision (upwards) over recall (to the right), best class first, beside the average precision in per cent. "
        "The dotted line is the precision of a random order."
    )
    return [Text(text), Figures(drawn)]


def _curve(name: str, value: float, k: int, splits: list[cases.Scored]) -> str:
    lines = []
    for split in splits:
        asked = ~split.ignore[:, k]
        if np.isnan(split.values[:, k]).any() or not split.labels[asked, k].any():
            continue
        lines.append(plots.Line(*cases.curve(split.values[:, k], split.labels[:, k], split.ignore[:, k]), filled=True))
        lines.append(plots.Line([0, 1], [split.labels[asked, k].mean()] * 2, soft=True))
    return plots.lines(lines, alt=f"Precision over recall of {name}, average precision {value:.1f}")


def _photos(evidence: ProbeResult, splits: list[cases.Scored], ranked: bool) -> list[Section]:
    wrong, right = cases.mistakes(splits, MOST), cases.hits(splits, MOST)
    what = "Test samples without the class that they score highest for" if ranked else "Test images given a wrong class"
    shown = [
        ("Most confident mistakes", f"{what}, highest score first.", _gallery(evidence, wrong, ranked, "wrong")),
        ("Best hits", "The highest score of a class, one per class.", _gallery(evidence, right, ranked, "right")),
    ]
    return [Section(title, [Text(text), gallery]) for title, text, gallery in shown if gallery.pictures]


def _gallery(evidence: ProbeResult, chosen: list[cases.Case], ranked: bool, mood: str) -> Gallery:
    return Gallery([_picture(evidence, case, ranked, mood == "right") for case in chosen], mood)


def _picture(evidence: ProbeResult, case: cases.Case, ranked: bool, right: bool) -> Picture:
    images = evidence.images
    said = images.classes[case.predicted]
    truth = ", ".join(images.classes[k] for k in np.flatnonzero(images.labels[case.row])) or "none of the classes"
    title = said if right else f"{'ranked high for' if ranked else 'taken for'} {said}"
    lines = [] if right and not ranked else [f"{'shows' if ranked else 'is'} {truth}"]
    box = None if images.boxes is None else images.boxes[case.row].tolist()
    try:
        uri = thumbnail(read(images.images[case.row]), box=box)
    except ImageError:
        uri = None
    alt = f"Test sample of {truth}" + ("" if right else f", {title}")
    return Picture(uri, alt, title, [*lines, f"score {number(case.score, 2)}"], images.paths[case.row])
