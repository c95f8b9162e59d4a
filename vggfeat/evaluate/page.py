"""The page of an evaluation: errors, also by class, calibration, confusions, and the surest mistakes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vggfeat.data.imagenet import Classified, synset_names
from vggfeat.errors import ImageError
from vggfeat.evaluate.result import EvaluationResult, JudgedPosteriors, commas
from vggfeat.evaluate.scores import TOP
from vggfeat.images import read
from vggfeat.report import (
    Bars,
    Block,
    Figure,
    Gallery,
    Headline,
    Page,
    Picture,
    Section,
    Table,
    Text,
    plots,
    thumbnail,
)
from vggfeat.report.confusions import READABLE, confusion_sections
from vggfeat.report.provenance import folder_of, provenance
from vggfeat.report.text import Cell, number

BARS = 100  # classes with a bar each, at most: the worst
MOST = 12  # photos, at most

_MEASURED = (
    "Posteriors are averaged over the places of the score map (dense) or over crops, with those of the mirror image, "
    "then over scales, methods and nets. Among classes that are equally likely the true one counts as the last."
)


def write_report(
    result: EvaluationResult,
    file: str | Path,
    *,
    images: Classified | None = None,
    command: Sequence[str] | None = None,
) -> Path:
    """Write the result of an evaluation as one HTML page; that of a test set, which has no labels, has no errors.

    Parameters
    ----------
    result : EvaluationResult
        From `evaluate` or `summarise`.
    file : str or path
        The file to write, whole or not at all.
    images : Classified, optional
        The images that were evaluated, to show the surest mistakes. They are read again.
    command : sequence of str, optional
        The words of the command line, to show them.

    Returns
    -------
    Path
        `file`.

    Raises
    ------
    UsageError
        If `file` is a folder, or its folder is missing or not writable.
    OSError
        If the disk fails.
    """
    last = result.rows[-1] if result.rows else None
    remark = f"{last.net}, {' & '.join(last.methods)}, Q={commas(last.scales)} · {last.images:,} images" if last else ""
    folder = folder_of(images.images, images.paths) if images is not None else None
    page = Page(
        title=result.data,
        kicker="vggfeat evaluation",
        subtitle=f"Images of {folder}" if folder else "",
        headline=Headline(last.top1, "top-1 error, per cent", None, remark) if last else None,
        notes=result.notes,
        lead=[_errors(result)] if result.rows else [],
        sections=[
            *(_details(result, result.evidence, images) if result.evidence else []),
            *_left_out(result),
            Section("How it was measured", [Text(_MEASURED)], folded=True),
        ],
        foot=_foot(result, command),
    )
    return page.write(file)


def _errors(result: EvaluationResult) -> Table:
    columns: dict[str, list[Cell]] = {
        "Net": [row.net for row in result.rows],
        "Method": [" & ".join(row.methods) for row in result.rows],
        "Q": [", ".join(map(str, row.scales)) for row in result.rows],
        "Top-1 error": [row.top1 for row in result.rows],
        f"Top-{TOP} error": [row.top5 for row in result.rows],
        "Images": [row.images for row in result.rows],
    }
    for name in ("Net", "Images"):  # the headline has them
        if len(set(columns[name])) == 1:
            del columns[name]
    cells = list(zip(*columns.values(), strict=True))
    caption = "Errors, per cent; the details below are of the last row" if len(cells) > 1 else "Errors, per cent"
    return Table(caption, list(columns), cells, strong=len(cells) - 1)


def _left_out(result: EvaluationResult) -> list[Section]:
    rows = sorted(result.failures.items())
    table = Table("They count neither as right nor as wrong", ["Image", "Why"], rows)
    return [Section(f"Images that could not be read: {len(rows):,}", [table], folded=True)] if rows else []


def _details(result: EvaluationResult, evidence: JudgedPosteriors, images: Classified | None) -> list[Section]:
    scores = evidence.scores
    pairs = scores.truth * scores.classes + scores.predicted
    counts = np.bincount(pairs, minlength=scores.classes**2).reshape(scores.classes, scores.classes)
    confusions = confusion_sections(counts, evidence.classes, f"{len(scores):,} images")
    mistakes = _mistakes(evidence, images) if images is not None else []
    if len(result.per_class) > READABLE:
        return [*confusions, *mistakes, *_calibration(result), Section("Per class", _per_class(result))]
    return [Section("Per class", _per_class(result), half=True), *confusions, *mistakes, *_calibration(result)]


def _per_class(result: EvaluationResult) -> list[Block]:
    worst = sorted(result.per_class.items(), key=lambda item: (-item[1]["top1"], item[0]))
    shown = worst[:BARS]
    what = f"the {BARS} worst of {len(worst)} classes" if len(worst) > BARS else "worst first"
    mean = float(np.mean([values["top1"] for _, values in worst]))
    text = f"Top-1 error in per cent, {what}; the line is the mean over the classes."
    return [Text(text), Bars([(synset_names().get(name, name), values["top1"]) for name, values in shown], mean)]


def _calibration(result: EvaluationResult) -> list[Section]:
    bins = result.calibration
    error = f"{100 * (result.ece or 0):.1f} points"
    curve = plots.Line([one.confidence for one in bins], [one.accuracy for one in bins])
    alt = f"Accuracy over confidence in {len(bins)} bins, expected calibration error {error}"
    figure = plots.lines(
        [curve, plots.Line([0, 1], [0, 1], soft=True)], alt=alt, xlabel="confidence", ylabel="accuracy", size=(400, 330)
    )
    rows: list[Sequence[Cell]] = [
        [f"{one.low:.2f} – {one.high:.2f}", one.images, 100 * one.confidence, 100 * one.accuracy] for one in bins
    ]
    text = (
        "The confidence is the posterior of the likeliest class. On the dotted line it equals the share of right "
        f"answers; below, the net is too sure; above, not sure enough. Expected calibration error: {error}."
    )
    header = ["Confidence", "Images", "Mean confidence, %", "Right, %"]
    table = Table("Images by their confidence", header, rows, decimals=1)
    return [
        Section("Calibration", [Text(text), Figure(figure)], half=True),
        Section("Calibration in numbers", [table], half=True),
    ]


def _mistakes(evidence: JudgedPosteriors, images: Classified) -> list[Section]:
    scores = evidence.scores
    wrong = np.flatnonzero(scores.predicted != scores.truth)
    surest = wrong[np.argsort(-scores.confidence[wrong], kind="stable")][:MOST].tolist()
    place = {path: i for i, path in enumerate(images.paths)}
    pictures = []
    for i in surest:
        path = evidence.posteriors.paths[i]
        said, truth = (evidence.classes[int(which[i])] for which in (scores.predicted, scores.truth))
        try:
            uri = thumbnail(read(images.images[place[path]])) if path in place else None
        except ImageError:
            uri = None
        lines = [f"is {truth}", f"confidence {number(float(scores.confidence[i]), 2)}"]
        pictures.append(Picture(uri, f"Image of {truth}, taken for {said}", f"taken for {said}", lines, path))
    return [Section("Surest mistakes", [Gallery(pictures, "wrong")])] if pictures else []


def _foot(result: EvaluationResult, command: Sequence[str] | None) -> list[tuple[str, str]]:
    weights = [(f"Weights of net {one['net']}", f"{one['name']}, sha256 {one['sha256']}") for one in result.weights]
    return provenance(result.version, [*weights, ("Stores", ", ".join(result.stores))], command)
