"""The nets of a localiser: those that predict boxes, and the one that knows the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from vggfeat import weights as weights_of
from vggfeat.errors import UsageError, WeightsError
from vggfeat.weights import Weights
from vggfeat.weights.names import output_names
from vggfeat.weights.native import known_as, require_classes
from vggfeat.weights.run_files import CONFIG

BEST = "best.safetensors"  # of a run

Model = str | PathLike[str] | Weights


@dataclass(frozen=True)
class Models:
    """Box nets, at least one, and a net that classifies, or None.

    classes : the names of the classes that boxes have, which are the classifier's; without it, those of the box nets
    that have a box for each class. Empty if boxes have no class.
    """

    boxes: tuple[Weights, ...]
    classifier: Weights | None
    classes: tuple[str, ...]

    def order(self, net: int) -> np.ndarray:
        """For each class the number of its box among those of a net, int (classes,); 0 without classes."""
        own = self.boxes[net]
        if own.boxes != "pcr":
            return np.zeros(max(1, len(self.classes)), np.int64)
        names = {name: i for i, name in enumerate(own.classes or ())}
        return np.array([names[name] for name in self.classes], np.int64)


def open_models(models: Model | Sequence[Model], classifier: Model | None) -> Models:
    """The nets of files, or of the folders of runs. Raises WeightsError, UsageError."""
    given = [models] if isinstance(models, str | PathLike | Weights) else list(models)
    if not given:
        raise UsageError("no net given that predicts boxes; `vggfeat localize fit` makes one")
    boxes = tuple(_box_net(one) for one in given)
    sums = [one.sha256 for one in boxes]
    if len(set(sums)) < len(sums):
        raise UsageError(f"{boxes[sums.index(max(sums, key=sums.count))].path}: is given twice; leave one out")
    known = None
    if classifier is not None:
        known = _opened(classifier)
        require_classes(known)
    return Models(boxes, known, _classes(boxes, known))


def _opened(model: Model) -> Weights:
    if isinstance(model, Weights):
        return model
    path = Path(fspath(model))
    if (path / CONFIG).is_file() and not (path / BEST).exists():
        raise WeightsError(f"{path}: this run has no {BEST} yet, because no epoch is done; continue it")
    return weights_of.resolve(path / BEST if (path / BEST).is_file() else fspath(model), top="fc8")


def _box_net(model: Model) -> Weights:
    found = _opened(model)
    if found.boxes is None:
        raise WeightsError(
            f"{known_as(found)}: predicts classes, not boxes; give it as the classifier, and as the model a net that "
            "`vggfeat localize fit` has made"
        )
    return found


def _classes(boxes: Sequence[Weights], classifier: Weights | None) -> tuple[str, ...]:
    """Raises WeightsError if the nets with a box for each class have other classes than the classifier."""
    by_class = [one for one in boxes if one.boxes == "pcr"]
    first = classifier or (by_class[0] if by_class else None)
    if first is None:
        own = {one.classes or () for one in boxes}
        return own.pop() if [*map(len, own)] == [1] else ()
    names = output_names(first) if classifier else first.classes or ()
    for other in by_class:
        if set(other.classes or ()) != set(names):
            alone = sorted(set(names) ^ set(other.classes or ()))[0]
            raise WeightsError(
                f"{known_as(other)}: has other classes than {known_as(first)} ({alone!r} is a class of only one of "
                "them); take nets that were trained on the same classes"
            )
    return tuple(names)
