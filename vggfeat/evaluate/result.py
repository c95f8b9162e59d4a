"""The result of an evaluation: one row for each net, method and choice of scales, and the last row in detail."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat import __version__
from vggfeat._util.printable import printable
from vggfeat.data.imagenet import synset_names
from vggfeat.evaluate.averages import Choice, Posteriors, average
from vggfeat.evaluate.runs import StoredNet
from vggfeat.evaluate.scores import TOP, Bin, Scores, calibration_error, confusions, judge, reliability


@dataclass(frozen=True)
class ErrorRow:
    """Top-1 and top-5 error, in per cent of `images`, of some nets by some methods at some scales."""

    net: str
    methods: tuple[str, ...]
    scales: tuple[int, ...]
    top1: float
    top5: float
    images: int


@dataclass(frozen=True)
class JudgedPosteriors:
    """Averaged posteriors and their scores."""

    posteriors: Posteriors
    scores: Scores

    @property
    def classes(self) -> list[str]:
        """The names of the K classes for people: those of the data set, else of the outputs."""
        facts, known = self.posteriors.facts, synset_names()
        own = {place: name for name, place in facts.places.items()}
        return [known.get(name, name) for name in (own.get(i, output) for i, output in enumerate(facts.outputs))]


@dataclass(frozen=True)
class EvaluationResult:
    """Result of an evaluation. Errors are in per cent; a test set has no errors.

    Attributes
    ----------
    data : str
        Name of the data set and its subset.
    rows : list of ErrorRow
        Errors by net, method and scales. The last row averages most.
    per_class : dict
        Class -> its number of images, top-1 and top-5 error, of the last row.
    calibration : list of Bin
        Confidence and accuracy by confidence, of the last row.
    ece : float or None
        Expected calibration error of the last row, 0..1.
    confusions : list of dict
        The pairs of classes that are confused most often, of the last row.
    failures : dict
        Image -> why it could not be read. These images do not count.
    notes : list of str
        Remarks for people.
    weights : list of dict
        Net, name and SHA-256 of the weights of each net.
    stores : list of str
        The stores of the posteriors.
    version : str
        The version of vggfeat.
    evidence : JudgedPosteriors or None
        The posteriors of the last row; not in the JSON.
    """

    data: str
    rows: list[ErrorRow]
    per_class: dict[str, dict[str, float]]
    calibration: list[Bin]
    ece: float | None
    confusions: list[dict[str, Any]]
    failures: dict[str, str]
    notes: list[str]
    weights: list[dict[str, str]]
    stores: list[str]
    version: str = __version__
    evidence: JudgedPosteriors | None = field(default=None, repr=False, compare=False)

    def json(self) -> str:
        """Return the result for machines, as JSON text."""
        values = asdict(replace(self, evidence=None))
        del values["evidence"]
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """Return the result for people, as text."""
        lines = [f"{self.data}: top-1 / top-5 error, per cent" if self.rows else self.data]
        words = [(row.net, " & ".join(row.methods), commas(row.scales)) for row in self.rows]
        for row, left in zip(self.rows, aligned(words), strict=True):
            lines.append(f"  {left}  {row.top1:5.2f} / {row.top5:5.2f}  of {row.images:,} images")
        if self.ece is not None:
            lines.append(f"  expected calibration error of the last row: {100 * self.ece:.1f} points")
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"  posteriors: {', '.join(sorted({str(Path(store).parent) for store in self.stores}))}")
        return "\n".join(map(printable, lines))


def summarise(nets: Sequence[StoredNet]) -> EvaluationResult:
    """Compute the errors of stored posteriors.

    Parameters
    ----------
    nets : sequence of StoredNet
        Stored posteriors, from `open_runs`.

    Returns
    -------
    EvaluationResult
        Each net by each method at each scale, at all scales, and by dense and multi-crop together; then all nets
        together.

    Raises
    ------
    UsageError
        If the nets have different data or classes.
    StoreError
        If a run is damaged.
    """
    facts = nets[0].facts
    rows: list[ErrorRow] = []
    last: JudgedPosteriors | None = None
    for choices in combinations(nets) if facts.labelled else ():
        last = judged(choices)
        rows.append(_row(choices, last.scores))
    runs = [run for net in nets for run in net.runs.values()]
    failures = {path: reason for run in runs for path, reason in run.store.failures.items()}
    return EvaluationResult(
        data=facts.data,
        rows=rows,
        failures=failures,
        notes=[*facts.notes, *_notes(nets, failures)],
        weights=[{"net": net.name, "name": net.weights, "sha256": net.sha256} for net in nets],
        stores=sorted({str(run.store.path) for run in runs}),
        evidence=last,
        **_details(last),
    )


def combinations(nets: Sequence[StoredNet]) -> list[list[Choice]]:
    """What is averaged for each row; the last row averages most."""
    return [[choice] for net in nets for choice in choices_of(net)] + (fusions(nets) if len(nets) > 1 else [])


def choices_of(net: StoredNet) -> list[Choice]:
    """Each method at each scale and at all scales; then dense and multi-crop together."""
    found = []
    for method in net.methods:
        scales = net.scales(method)
        found += [Choice(net, (method,), (q,)) for q in scales]
        found += [Choice(net, (method,), scales)] if len(scales) > 1 else []
    shared = net.scales("dense", "multi-crop")
    return found + ([Choice(net, ("dense", "multi-crop"), shared)] if shared else [])


def fusions(nets: Sequence[StoredNet]) -> list[list[Choice]]:
    """All nets together, each at its own scales, by each method that all have; then by dense and multi-crop."""
    found = []
    for methods in (("dense",), ("multi-crop",), ("centre",), ("dense", "multi-crop")):
        if all(net.scales(*methods) for net in nets):
            found.append([Choice(net, methods, net.scales(*methods)) for net in nets])
    return found


def judged(choices: Sequence[Choice]) -> JudgedPosteriors:
    """The average of labelled posteriors, and its scores."""
    posteriors = average(choices)
    assert posteriors.truth is not None
    return JudgedPosteriors(posteriors, judge(posteriors.matrix, posteriors.truth))


def commas(scales: Sequence[int]) -> str:
    """The scales with commas between them."""
    return ",".join(map(str, scales))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _row(choices: Sequence[Choice], scores: Scores) -> ErrorRow:
    title = " & ".join(choice.net.title for choice in choices)
    scales = tuple(sorted({q for choice in choices for q in choice.scales}))
    return ErrorRow(title, choices[0].methods, scales, scores.error(1), scores.error(TOP), len(scores))


def _details(last: JudgedPosteriors | None) -> dict[str, Any]:
    if last is None:
        return {"per_class": {}, "calibration": [], "ece": None, "confusions": []}
    scores = last.scores
    top1, top5 = scores.per_class(1), scores.per_class(TOP)
    images = np.bincount(scores.truth, minlength=scores.classes)
    bins = reliability(scores)
    return {
        "per_class": {
            name: {"images": int(images[i]), "top1": float(top1[i]), "top5": float(top5[i])}
            for name, i in last.posteriors.facts.places.items()
            if images[i]
        },
        "calibration": bins,
        "ece": calibration_error(bins),
        "confusions": confusions(scores, last.classes),
    }


def _notes(nets: Sequence[StoredNet], failures: dict[str, str]) -> list[str]:
    facts, notes = nets[0].facts, []
    if failures:
        notes.append(
            f"warning: {len(failures):,} of {facts.images:,} images could not be read and count nowhere, neither right "
            "nor wrong; failures.csv in the stores lists them"
        )
    if len(facts.outputs) <= TOP:
        notes.append(f"with {len(facts.outputs)} classes no top-{TOP} error can be other than 0")
    if len(facts.places) < len(facts.outputs):
        notes.append(f"images of {len(facts.places)} classes, judged among the net's {len(facts.outputs)}")
    if not facts.labelled:
        notes.append("no labels, so no errors; write the predictions with --submission")
    return notes
