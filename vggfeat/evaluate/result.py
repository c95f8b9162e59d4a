"""What an evaluation gives: a row for each net, method and choice of scales, and the last row looked into."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat import __version__
from vggfeat.data.imagenet import synset_names
from vggfeat.evaluate.runs import Choice, Net, Posteriors, average
from vggfeat.evaluate.scores import TOP, Bin, Scores, calibration_error, confusions, judge, reliability


@dataclass(frozen=True)
class Row:
    """The errors, in per cent, of some nets by some methods at some scales. `images`: the denominator."""

    net: str
    methods: tuple[str, ...]
    scales: tuple[int, ...]
    top1: float
    top5: float
    images: int


@dataclass(frozen=True)
class Evidence:
    """What the last row was computed from."""

    posteriors: Posteriors
    scores: Scores

    @property
    def classes(self) -> list[str]:
        """The names of the K classes as people read them: the data set's, else the outputs'."""
        facts, known = self.posteriors.facts, synset_names()
        own = {place: name for name, place in facts.places.items()}
        return [known.get(name, name) for name in (own.get(i, output) for i, output in enumerate(facts.outputs))]


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation. Errors in per cent; per_class, calibration (`ece` 0..1) and confusions are of the
    last row, which averages most. failures : image -> why it counts nowhere. stores : of the posteriors. `evidence` is
    not in the JSON; None for a test set, which has no errors either.
    """

    data: str
    rows: list[Row]
    per_class: dict[str, dict[str, float]]
    calibration: list[Bin]
    ece: float | None
    confusions: list[dict[str, Any]]
    failures: dict[str, str]
    notes: list[str]
    weights: list[dict[str, str]]
    stores: list[str]
    version: str = __version__
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    def json(self) -> str:
        """The result for machines."""
        values = asdict(replace(self, evidence=None))
        del values["evidence"]
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """The result for people."""
        lines = [f"{self.data}: top-1 / top-5 error, per cent" if self.rows else self.data]
        words = [(row.net, " & ".join(row.methods), commas(row.scales)) for row in self.rows]
        widths = [max(map(len, column), default=0) for column in zip(*words, strict=True)]
        for row, parts in zip(self.rows, words, strict=True):
            left = "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True))
            lines.append(f"  {left}  {row.top1:5.2f} / {row.top5:5.2f}  of {row.images:,} images")
        if self.ece is not None:
            lines.append(f"  expected calibration error of the last row: {100 * self.ece:.1f} points")
        lines += [f"  {note}" for note in self.notes]
        lines.append(f"  posteriors: {', '.join(sorted({str(Path(store).parent) for store in self.stores}))}")
        return "\n".join(lines)


def summarise(nets: Sequence[Net]) -> Evaluation:
    """The errors of stored posteriors: net by net at each scale and averaged over all, by each method and by both, and
    of all nets together.

    Raises UsageError for nets of different data or classes, StoreError for damaged runs.
    """
    facts = nets[0].facts
    rows: list[Row] = []
    last: Evidence | None = None
    for choices in combinations(nets) if facts.labelled else ():
        posteriors = average(choices)
        assert posteriors.truth is not None
        last = Evidence(posteriors, judge(posteriors.matrix, posteriors.truth))
        rows.append(_row(choices, last.scores))
    failures = {
        path: reason for net in nets for run in net.runs.values() for path, reason in run.store.failures.items()
    }
    return Evaluation(
        data=facts.data,
        rows=rows,
        failures=failures,
        notes=[*facts.notes, *_notes(nets, failures)],
        weights=[{"net": net.name, "name": net.weights, "sha256": net.sha256} for net in nets],
        stores=sorted({str(run.store.path) for net in nets for run in net.runs.values()}),
        evidence=last,
        **_looked_into(last),
    )


def combinations(nets: Sequence[Net]) -> list[list[Choice]]:
    """What is averaged, row by row; the last row averages most."""
    return [[choice] for net in nets for choice in choices_of(net)] + (fusions(nets) if len(nets) > 1 else [])


def choices_of(net: Net) -> list[Choice]:
    """Each method at each scale and at all of them; then dense and multi-crop together."""
    found = []
    for method in net.methods:
        scales = net.scales(method)
        found += [Choice(net, (method,), (q,)) for q in scales]
        found += [Choice(net, (method,), scales)] if len(scales) > 1 else []
    shared = net.scales("dense", "multi-crop")
    return found + ([Choice(net, ("dense", "multi-crop"), shared)] if shared else [])


def fusions(nets: Sequence[Net]) -> list[list[Choice]]:
    """All nets together, each at its own scales, by each method that all have; then by dense and multi-crop."""
    found = []
    for methods in (("dense",), ("multi-crop",), ("centre",), ("dense", "multi-crop")):
        if all(net.scales(*methods) for net in nets):
            found.append([Choice(net, methods, net.scales(*methods)) for net in nets])
    return found


def title(choices: Sequence[Choice]) -> str:
    """D, or D & E."""
    return " & ".join(choice.net.title for choice in choices)


def commas(scales: Sequence[int]) -> str:
    return ",".join(map(str, scales))


def _row(choices: Sequence[Choice], scores: Scores) -> Row:
    scales = tuple(sorted({q for choice in choices for q in choice.scales}))
    return Row(title(choices), choices[0].methods, scales, scores.error(1), scores.error(TOP), len(scores))


def _looked_into(last: Evidence | None) -> dict[str, Any]:
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


def _notes(nets: Sequence[Net], failures: dict[str, str]) -> list[str]:
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
