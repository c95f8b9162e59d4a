"""Which classes a photo has: the average of stored posteriors, for the boxes of several runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vggfeat.errors import StoreError, UsageError
from vggfeat.evaluate.averages import average
from vggfeat.evaluate.classes import Outputs, match_outputs
from vggfeat.evaluate.result import combinations
from vggfeat.evaluate.runs import StoredNet
from vggfeat.localization.guesses import Located, best_classes, guesses
from vggfeat.localization.predictions import BoxRun, StoredBoxes, StoredBoxNet
from vggfeat.localization.rules import MergeRule


@dataclass(frozen=True)
class Predictions:
    """Stored predictions of photos of one data set.

    Attributes
    ----------
    nets : list of StoredBoxNet
        The box nets.
    classifiers : list of StoredNet
        The nets of the stored posteriors. The average of all of them says which classes a photo has.
    """

    nets: list[StoredBoxNet]
    classifiers: list[StoredNet]


@dataclass(frozen=True)
class Classes:
    """The posteriors of photos over K classes.

    outputs : the classes. matrix : float32 (N, K), None without stored posteriors: there is one class then, which each
    photo has. rows : name of a photo -> its row. photos : name -> label, and SHA-256 of the file, if known.
    """

    outputs: Outputs
    matrix: np.ndarray | None
    rows: dict[str, int]
    photos: dict[str, tuple[str, str | None]]

    def knows(self, photo: StoredBoxes) -> bool:
        """Whether the photo has posteriors. Raises StoreError if they are of another photo."""
        label, sha256 = self.photos.get(photo.path, (photo.label, None))
        if label != photo.label or (sha256 and photo.sha256 and sha256 != photo.sha256):
            what = "label" if label != photo.label else "image"
            raise StoreError(
                f"{self.outputs.of}: {photo.path} has a different {what} there than in the runs of boxes; "
                "evaluate both again"
            )
        return self.matrix is None or photo.path in self.rows

    def located(
        self, parts: Sequence[tuple[BoxRun, np.ndarray]], photo: StoredBoxes, rule: MergeRule
    ) -> tuple[list[Located], int | None]:
        """What is said of a photo, from the candidates of some runs; and the place of the true class in it, or None."""
        posterior = np.ones(1) if self.matrix is None else self.matrix[self.rows[photo.path]]
        candidates = [self._renumbered(run, rows) for run, rows in parts]
        found = guesses(candidates, posterior, self.outputs.names, photo.size, rule)
        order = best_classes(posterior).tolist()
        true = self.outputs.places[photo.label]
        return found, order.index(true) if true in order else None

    def _renumbered(self, run: BoxRun, rows: np.ndarray) -> np.ndarray:
        """Candidates with the numbers of these classes in place of the run's."""
        order = match_outputs(run.outputs, self.outputs)
        if order == list(range(len(order))):
            return rows
        renumbered = rows.copy()
        renumbered[:, 0] = np.array(order)[rows[:, 0].astype(np.int64)]
        return renumbered


def classes_of(predictions: Predictions) -> Classes:
    """The classes of photos. Raises UsageError if there are several, and no posteriors."""
    dense = next(run for net in predictions.nets for run in net.runs.values() if run.protocol == 2)
    if not predictions.classifiers:
        if len(dense.facts.outputs) != 1:
            raise UsageError(
                f"{dense.store.path}: has boxes of {len(dense.facts.outputs)} classes, and no run says which class a "
                "photo has; give a run of posteriors as well, from the same command or from `vggfeat evaluate`"
            )
        return Classes(dense.outputs, None, {}, {})
    found = average(combinations(predictions.classifiers)[-1])
    facts = found.facts
    run = next(iter(predictions.classifiers[0].runs.values()))
    columns = (column.to_pylist() for column in run.store.read(["path", "label", "sha256"]).columns)
    photos = {path: (label, sha256) for path, label, sha256 in zip(*columns, strict=True)}
    outputs = Outputs(str(run.store.path), facts.outputs, facts.places)
    return Classes(outputs, found.matrix, {path: i for i, path in enumerate(found.paths)}, photos)
