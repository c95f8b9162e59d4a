"""The scores of stored predictions: each net by each protocol at each scale and at all scales; then all together."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vggfeat.errors import UsageError
from vggfeat.evaluate.finished import runs_at
from vggfeat.evaluate.runs import open_runs as open_posteriors
from vggfeat.localization.guesses import TOP, Located, corners_of
from vggfeat.localization.judging import Judged
from vggfeat.localization.posteriors import Predictions, classes_of
from vggfeat.localization.predictions import (
    MAKER,
    BoxRun,
    StoredBoxes,
    StoredBoxNet,
    holds_boxes,
    nets_of,
    open_box_run,
    together,
)
from vggfeat.localization.result import LocalizationResult
from vggfeat.localization.rules import MergeRule
from vggfeat.localization.spec import LocalizationSettings
from vggfeat.store import Store


@dataclass(frozen=True)
class Combination:
    """Box nets whose boxes are merged together, each at some scales."""

    protocol: int
    parts: tuple[tuple[StoredBoxNet, tuple[int, ...]], ...]

    def runs(self) -> Iterator[tuple[BoxRun, int]]:
        """Each run with each of its scales."""
        for net, scales in self.parts:
            for q in scales:
                yield net.runs[self.protocol, q], q

    @property
    def title(self) -> str:
        return " & ".join(net.title for net, _ in self.parts)

    @property
    def regression(self) -> str:
        return " & ".join(dict.fromkeys(net.regression for net, _ in self.parts))

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(sorted({q for _, scales in self.parts for q in scales}))


def open_runs(paths: Sequence[str | Path]) -> Predictions:
    """Open stored predictions.

    Parameters
    ----------
    paths : sequence of str or path
        Runs of boxes and runs of posteriors, or folders of runs.

    Returns
    -------
    Predictions

    Raises
    ------
    StoreError
        If a path is neither a run nor a folder of runs, if a run is not finished, or if runs contradict each other.
    UsageError
        If there is no run of boxes, or the runs are of different data.
    """
    stores = [Store(run) for path in paths for run in runs_at(Path(path), MAKER)]
    boxes = [open_box_run(store.path) for store in stores if holds_boxes(store)]
    others = [store.path for store in stores if not holds_boxes(store)]
    if not boxes:
        raise UsageError(f"no run of boxes given; `{MAKER}` makes runs")
    nets, classifiers = nets_of(boxes), open_posteriors(others) if others else []
    for one in classifiers:
        if one.facts.data != nets[0].facts.data:
            raise UsageError(
                f"the boxes are of {nets[0].facts.data}, the classes of {one.title} of {one.facts.data}; give runs of "
                "the same photos"
            )
    return Predictions(nets, classifiers)


def combinations_of(nets: Sequence[StoredBoxNet]) -> list[Combination]:
    """What is judged for each row; the last one joins most."""
    found = [Combination(1, ((net, (q,)),)) for net in nets for q in net.scales(1)]
    for net in nets:
        scales = net.scales(2)
        found += [Combination(2, ((net, (q,)),)) for q in scales]
        found += [Combination(2, ((net, scales),))] if len(scales) > 1 else []
    dense = [net for net in nets if net.scales(2)]
    return found + ([Combination(2, tuple((net, net.scales(2)) for net in dense))] if len(dense) > 1 else [])


def summarise(
    predictions: Predictions, *, settings: LocalizationSettings | None = None, merging: MergeRule | None = None
) -> LocalizationResult:
    """Compute the errors of stored predictions.

    Parameters
    ----------
    predictions : Predictions
        From `open_runs`.
    settings : LocalizationSettings, optional
        Its `iou` and `reading` say when a box is right.
    merging : MergeRule, optional
        When candidates are merged.

    Returns
    -------
    LocalizationResult
        Each net by each protocol at each scale and at all scales, then all nets together.

    Raises
    ------
    UsageError
        If the runs have several classes and no posteriors.
    StoreError
        If a run is damaged.
    """
    settings, merging = settings or LocalizationSettings(), merging or MergeRule()
    judged = judge(predictions, combinations_of(predictions.nets), settings, merging)
    facts = predictions.nets[0].facts
    runs = runs_of(predictions.nets)
    stores = [run.store for run in runs] + [run.store for net in predictions.classifiers for run in net.runs.values()]
    failures = {path: reason for store in stores for path, reason in store.failures.items()}
    return LocalizationResult(
        data=facts.data,
        rows=[one.row() for one in judged],
        per_class=judged[-1].per_class(),
        rule=asdict(merging),
        iou=settings.iou,
        reading=settings.reading,
        failures=failures,
        notes=[
            *dict.fromkeys(note for run in runs for note in run.facts.notes),
            *_notes(judged[-1], predictions, failures),
        ],
        weights=_weights(predictions),
        stores=sorted({str(store.path) for store in stores}),
        evidence=judged[-1].images,
    )


def judge(
    predictions: Predictions, combinations: Sequence[Combination], settings: LocalizationSettings, rule: MergeRule
) -> list[Judged]:
    """Judge each photo that all runs have, for each combination. Raises UsageError, StoreError."""
    facts, runs = predictions.nets[0].facts, runs_of(predictions.nets)
    constant = next((run.facts.constant for run in runs if run.facts.constant), None)
    classes = classes_of(predictions) if any(one.protocol == 2 for one in combinations) else None
    judged = [Judged(one.protocol, one.title, one.regression, one.scales, settings, constant) for one in combinations]
    for rows in together(runs):
        photo, truth = rows[0], np.array(facts.truth[rows[0].path])
        of_run = {run.store.path: row for run, row in zip(runs, rows, strict=True)}
        for combination, one in zip(combinations, judged, strict=True):
            parts = [(run, of_run[run.store.path].boxes[q]) for run, q in combination.runs()]
            if combination.protocol == 1:
                one.add(photo, truth, [_of_centre(*parts[0], photo)], 0)
            elif classes is not None and classes.knows(photo):
                one.add(photo, truth, *classes.located(parts, photo, rule))
    if not all(one.images for one in judged):
        raise UsageError("the runs have no photo in common; give runs of the same photos")
    return judged


def runs_of(nets: Sequence[StoredBoxNet]) -> list[BoxRun]:
    """The runs of nets, each of them once."""
    return list({run.store.path: run for net in nets for run in net.runs.values()}.values())


def _of_centre(run: BoxRun, boxes: np.ndarray, photo: StoredBoxes) -> Located:
    """The box of the true class from the centre crop."""
    number = run.facts.places[photo.label] if run.regression == "pcr" else 0
    return Located(photo.label, 1.0, corners_of(boxes[number], photo.size), 1.0, 1)


def _weights(predictions: Predictions) -> list[dict[str, str]]:
    boxes = [
        {"net": net.name, "name": net.weights, "sha256": net.sha256, "boxes": net.regression}
        for net in predictions.nets
    ]
    return boxes + [{"net": net.name, "name": net.weights, "sha256": net.sha256} for net in predictions.classifiers]


def _notes(last: Judged, predictions: Predictions, failures: dict[str, str]) -> list[str]:
    notes, images = [], predictions.nets[0].facts.images
    if failures:
        notes.append(
            f"warning: {len(failures):,} of {images:,} images could not be read and count nowhere, neither right "
            "nor wrong; failures.csv in the stores lists them"
        )
    empty = sum(not one.candidates for image in last.images for one in image.guesses)
    if empty:
        notes.append(
            f"{empty:,} guesses have no box, because the run stored no candidates of the class; evaluate with a larger "
            "--keep"
        )
    classes = len(predictions.classifiers[0].facts.outputs) if predictions.classifiers else 1
    if last.protocol == 2 and classes <= TOP:
        notes.append(f"the nets have no more than {TOP} classes, so the true class is always among the {TOP} likeliest")
    return notes
