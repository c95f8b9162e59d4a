"""Averages of stored posteriors, over scales, methods and nets (Sect. 4.2 to 4.4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vggfeat.errors import StoreError, UsageError
from vggfeat.evaluate.classes import match_outputs
from vggfeat.evaluate.runs import PosteriorRun, RunFacts, StoredNet


@dataclass(frozen=True)
class Choice:
    """Some posteriors of a net, to be averaged over the scales and then over the methods."""

    net: StoredNet
    methods: tuple[str, ...]
    scales: tuple[int, ...]

    def runs(self) -> Iterator[tuple[PosteriorRun, int]]:
        for method in self.methods:
            for q in self.scales:
                yield self.net.runs[method, q], q


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of N images over K outputs. paths : N names, sorted. truth : int (N,), the output of each image's
    class; None without labels. matrix : float32 (N, K). facts : of the first run, whose outputs are the columns.
    """

    paths: list[str]
    truth: np.ndarray | None
    matrix: np.ndarray
    facts: RunFacts


def average(choices: Sequence[Choice]) -> Posteriors:
    """The mean over the scales, the methods and the nets, of the images that all runs have.

    The outputs of all runs are brought to the order of the first run's (`match_outputs`). Beside the result, a few
    hundred rows are in memory at a time.

    Raises UsageError if the runs differ in data or classes, have no image in common, or if there is nothing to
    average; StoreError for a damaged part.
    """
    runs = [run for choice in choices for run, _ in choice.runs()]
    if not runs:
        raise UsageError("nothing to average: no net, method or scale")
    first, facts = runs[0], runs[0].facts
    for run in runs:
        if run.facts.data != facts.data:
            raise UsageError(
                f"{run.store.path}: is of {run.facts.data}, {first.store.path} of {facts.data}; give runs of one"
            )
    order = {run.store.path: match_outputs(first.outputs, run.outputs) for run in runs}
    labels = _common_images(runs)
    place = {path: i for i, path in enumerate(labels)}
    matrix = np.zeros((len(labels), len(facts.outputs)), np.float32)
    for choice in choices:
        share = np.float32(1 / (len(choices) * len(choice.methods) * len(choice.scales)))
        for run, q in choice.runs():
            for names, values in _batches(run, q):
                rows = np.array([place.get(name, -1) for name in names])
                matrix[rows[rows >= 0]] += share * values[rows >= 0][:, order[run.store.path]]
    truth = np.array(_truth(first, labels), np.int64) if facts.labelled else None
    return Posteriors(list(labels), truth, matrix, facts)


def _common_images(runs: Sequence[PosteriorRun]) -> dict[str, str]:
    """Path -> label of the images that all runs have, sorted by path. Raises UsageError if there is none."""
    first, *others = {run.store.path: run.store for run in runs}.values()
    table = first.read(["path", "label"])
    labels = dict(zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True))
    common = set(labels).intersection(*(store.paths for store in others))
    if not common:
        raise UsageError(f"{first.path} and the other runs have no image in common; give runs of the same images")
    return {path: labels[path] for path in sorted(common)}


def _truth(run: PosteriorRun, labels: dict[str, str]) -> list[int]:
    """The output of each image's class. Raises StoreError for a label that is none of the run's classes."""
    places = run.facts.places
    for path, label in labels.items():
        if label not in places:
            raise StoreError(
                f"{run.store.path}: {path} has the label {label!r}, none of the {len(places)} classes of its run.json; "
                "remove the run and evaluate again"
            )
    return [places[label] for label in labels.values()]


def _batches(run: PosteriorRun, q: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """(n paths, float32 (n, K)), some rows at a time.

    Raises StoreError for a damaged part, and for rows that have not one value for each output of the run.
    """
    for batch in run.store.batches(["path", f"q{q}"]):
        values = batch.column(f"q{q}").flatten().to_numpy(zero_copy_only=False)
        if values.size != len(batch) * len(run.facts.outputs):
            raise StoreError(
                f"{run.store.path}: its rows are not posteriors of the {len(run.facts.outputs)} outputs of its "
                "run.json; remove the run and evaluate again"
            )
        yield batch.column("path").to_pylist(), values.reshape(len(batch), -1)
