"""What a model says of the photos of a collection, each by SVMs that did not learn from it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vggfeat.explore.collection import Collection
from vggfeat.explore.findings import Doubt
from vggfeat.model.calibration import probabilities

if TYPE_CHECKING:
    from vggfeat.model.file import Content

HOW = (
    "A label is doubtful if the model, which had not learnt from the photo, gives it another class; the labels that it "
    "thinks least probable come first. Rare kinds of a class are found as well as mistakes: look before you decide."
)


class Confusion(NamedTuple):
    """The rows of one class that a model takes for another one; the numbers of the classes."""

    given: int
    predicted: int
    rows: list[int]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of N rows.

    model : its name. classes : the labels of the collection, and then other classes of the model. given, predicted :
    int (N,), the label that trained the model and the class that it predicts, as places in `classes`; -1 for a row that
    was not held out. own, best : float (N,), the calibrated probabilities of these two.
    """

    model: str
    classes: list[str]
    given: np.ndarray
    predicted: np.ndarray
    own: np.ndarray
    best: np.ndarray

    def doubts(self) -> list[Doubt]:
        """The photos to which the model gives another class, the least probable label first (self-confidence)."""
        wrong = np.flatnonzero(self.predicted != self.given)
        order = wrong[np.lexsort((-self.best[wrong], self.own[wrong]))]
        return [Doubt(row, int(self.predicted[row]), self._why(row)) for row in order.tolist()]

    def _why(self, row: int) -> str:
        return f"{100 * self.best[row]:.0f} %, its own label {100 * self.own[row]:.0f} %"

    def confusions(self) -> list[Confusion]:
        """Which classes are taken for which others, the most frequent first."""
        wrong = np.flatnonzero(self.predicted != self.given)
        each = np.stack([self.given[wrong], self.predicted[wrong]], axis=1)
        pairs, number, counts = np.unique(each, axis=0, return_inverse=True, return_counts=True)
        groups = np.split(wrong[np.argsort(number, kind="stable")], np.cumsum(counts)[:-1])
        each_pair = zip(pairs.tolist(), groups, strict=False)  # without pairs there is one group, which is empty
        found = [Confusion(given, predicted, rows.tolist()) for (given, predicted), rows in each_pair]
        return sorted(found, key=lambda one: -len(one.rows))


def predictions_of(content: "Content", name: str, collection: Collection) -> Predictions:
    """What a model says of the rows of its store."""
    held = content.held_out
    assert held is not None
    labels = [*collection.classes, *sorted(set(content.classes) - set(collection.classes))]
    place = np.array([labels.index(label) for label in content.classes])
    chances = probabilities(held.margins, content.temperature)
    row_of = {path: row for row, path in enumerate(collection.names)}
    known = [(row_of[path], number) for number, path in enumerate(held.paths) if path in row_of]
    rows, numbers = np.array(known, int).reshape(-1, 2).T
    given, predicted = np.full((2, len(collection)), -1)
    own, best = np.ones((2, len(collection)))
    given[rows], predicted[rows] = place[held.labels[numbers]], place[chances[numbers].argmax(axis=1)]
    own[rows], best[rows] = chances[numbers, held.labels[numbers]], chances[numbers].max(axis=1)
    return Predictions(name, labels, given, predicted, own, best)
