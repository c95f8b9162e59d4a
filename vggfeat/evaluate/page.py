"""The page of an evaluation: errors, also by class, calibration, confusions, and the surest mistakes."""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from vggfeat._util.printable import hidden
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
    Notes,
    Page,
    Picture,
    Section,
    Table,
    Text,
    plots,
    thumbnail,
)
from vggfeat.report.text import Cell, number

DRAWN = 100  # classes in a drawn confusion matrix, at most
BARS = 100  # classes with a bar each, at most: the worst
MOST = 12  # photos, at most


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
    remark = f"{last.net}, {' & '.join(last.methods)}, Q={commas(last.scales)}" if last else ""
    page = Page(
        title=result.data,
        kicker="vggfeat evaluation",
        headline=Headline(last.top1, "top-1 error, per cent", None, remark) if last else None,
        sections=[
            Section("What was measured", _measured(result)),
            *(_details(result, result.evidence, images) if result.evidence else []),
        ],
        foot=_provenance(result, command),
    )
    return page.write(file)


def _errors(result: EvaluationResult) -> Table:
    rows = [
        (row.net, " & ".join(row.methods), commas(row.scales), row.top1, row.top5, row.images) for row in result.rows
    ]
    header = ["Net", "Method", "Q", "Top-1 error", f"Top-{TOP} error", "Images"]
    return Table("Errors, per cent", header, rows, strong=len(rows) - 1)


def _measured(result: EvaluationResult) -> list[Block]:
    blocks: list[Block] = [
        Text(
            "Posteriors are averaged over the places of the score map (dense) or over crops, with those of the mirror "
            "image, then over scales, methods and nets. Among classes that are equally likely the true one counts as "
            "the last." + (" What follows is of the last row." if result.rows else "")
        )
    ]
    blocks += [_errors(result)] if result.rows else []
    blocks += [Notes(result.notes)] if result.notes else []
    if result.failures:
        rows = sorted(result.failures.items())
        blocks.append(Table("Images that count nowhere", ["Image", "Why"], rows))
    return blocks


def _details(result: EvaluationResult, evidence: JudgedPosteriors, images: Classified | None) -> list[Section]:
    sections = [
        Section("Per class", _per_class(result)),
        Section("Calibration", _calibration(result)),
        Section("Confusions", _confusions(result, evidence)),
    ]
    return sections + (_mistakes(evidence, images) if images is not None else [])


def _per_class(result: EvaluationResult) -> list[Block]:
    worst = sorted(result.per_class.items(), key=lambda item: (-item[1]["top1"], item[0]))
    shown = worst[:BARS]
    what = f"the {BARS} worst of {len(worst)} classes" if len(worst) > BARS else "worst first"
    mean = float(np.mean([values["top1"] for _, values in worst]))
    text = f"Top-1 error in per cent, {what}; the mark on each bar is the mean over the classes."
    return [Text(text), Bars([(synset_names().get(name, name), values["top1"]) for name, values in shown], mean)]


def _calibration(result: EvaluationResult) -> list[Block]:
    bins = result.calibration
    curve = plots.Line([one.confidence for one in bins], [one.accuracy for one in bins])
    alt = (
        f"Accuracy over confidence in {len(bins)} bins, expected calibration error {100 * (result.ece or 0):.1f} points"
    )
    figure = plots.lines(
        [curve, plots.Line([0, 1], [0, 1], soft=True)], alt=alt, xlabel="confidence", ylabel="accuracy", size=(320, 280)
    )
    rows: list[Sequence[Cell]] = [
        [f"{one.low:.2f} – {one.high:.2f}", one.images, 100 * one.confidence, 100 * one.accuracy] for one in bins
    ]
    text = (
        "The confidence is the posterior of the likeliest class. On the dotted line it equals the share of right "
        f"answers; below, the net is too sure; above, not sure enough. "
        f"Expected calibration error: {100 * (result.ece or 0):.1f} points."
    )
    header = ["Confidence", "Images", "Mean confidence, %", "Right, %"]
    return [Text(text), Figure(figure), Table("By confidence", header, rows, decimals=1)]


def _confusions(result: EvaluationResult, evidence: JudgedPosteriors) -> list[Block]:
    scores = evidence.scores
    blocks: list[Block] = []
    if len(evidence.classes) <= DRAWN:
        pairs = scores.truth * scores.classes + scores.predicted
        counts = np.bincount(pairs, minlength=scores.classes**2).reshape(scores.classes, scores.classes)
        alt = (
            f"Confusion matrix of {scores.classes} classes, {len(scores):,} images, {np.trace(counts):,} of them right"
        )
        caption = "Each row by its share. Blue, on the diagonal: right. Vermilion: wrong, drawn stronger than it is."
        blocks.append(Figure(plots.confusion(counts, evidence.classes, alt=alt), caption, wide=scores.classes > 12))
    if result.confusions:
        rows = [[one["true"], one["predicted"], one["images"], one["share"]] for one in result.confusions]
        header = ["True class", "Taken for", "Images", "Per cent of the class"]
        blocks.append(Table("Taken for one another most often", header, rows, decimals=1, bar=3))
    return blocks or [Text("None: all images are right.")]


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


def _provenance(result: EvaluationResult, command: Sequence[str] | None) -> list[tuple[str, str]]:
    weights = [(f"Weights of net {one['net']}", f"{one['name']}, sha256 {one['sha256']}") for one in result.weights]
    return [
        ("vggfeat", result.version),
        *weights,
        ("Stores", ", ".join(result.stores)),
        ("Date (UTC)", datetime.now(UTC).strftime("%Y-%m-%d %H:%M")),
        ("Machine", f"{platform.machine()}, {os.cpu_count()} processors, {platform.system()}"),
        *([("Command", hidden(shlex.join([Path(command[0]).name, *command[1:]])))] if command else []),
    ]
