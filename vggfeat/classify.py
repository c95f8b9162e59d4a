"""Classification (Sect. 3.2): score maps of whole images, averaged over places, mirror images, scales and nets."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vggfeat.descriptors import SCALES, is_image
from vggfeat.errors import UsageError, WeightsError
from vggfeat.images import Source
from vggfeat.passes import Passes, Precision
from vggfeat.weights import class_names

TOP = 5


class Prediction(NamedTuple):
    """A class by name, its place among fc8's outputs, and its probability in 0..1."""

    name: str
    place: int
    probability: float


class Classifier(Passes):
    """Turns images into posteriors over the classes of one or several nets.

    A net's score map for the whole uncropped image is averaged over space and goes through the soft-max; these
    posteriors are averaged with those of the mirror image, then over scales, then over nets (Sect. 3.2, 4.3,
    4.5). The parameters are Describer's. `names` are the classes', in the order of the posteriors; "class 17"
    where nobody tells.

    Raises UsageError for arguments that can't be meant; WeightsError for weights without fc8, and for nets whose
    classes are not the same.
    """

    def __init__(
        self,
        net: str | None = None,
        *,
        scales: Sequence[int] = SCALES,
        weights: str | Path = "auto",
        mirror: bool = True,
        device: str = "auto",
        precision: Precision = "auto",
        ceil: bool = False,
    ) -> None:
        super().__init__(
            net,
            scales=scales,
            layer="fc8",
            weights=weights,
            mirror=mirror,
            device=device,
            precision=precision,
            ceil=ceil,
        )
        first, *others = (class_names(net.weights) or self._numbers(net.dim) for net in self.nets)
        for other, dense in zip(others, self.nets[1:], strict=True):
            if other != first:
                raise WeightsError(
                    f"{dense.weights.path} and {self.nets[0].weights.path} have other classes: "
                    "only posteriors over the same ones can be averaged"
                )
        self.names = first

    @staticmethod
    def _numbers(outputs: int) -> tuple[str, ...]:
        return tuple(f"class {i}" for i in range(outputs))

    def posteriors(self, image: Source | Iterable[Source]) -> np.ndarray:
        """float32 (classes,) for one image, (N, classes) for a list of N; each row sums to 1.

        Raises ImageError, naming the file, for the first image that can't be classified.
        """
        if is_image(image):
            return self.posteriors([image])[0]
        rows = dict(self.stream((i, self.prepare(one)) for i, one in enumerate(image)))
        matrix = np.zeros((len(rows), len(self.names)), np.float32)
        for i, nets in rows.items():
            matrix[i] = np.mean([scales.mean(axis=0) for scales in nets], axis=0)
        return matrix

    def predict(self, images: Iterable[Source], top: int = TOP) -> list[list[Prediction]]:
        """The `top` likeliest classes of each image, the likeliest first; of equal ones the first."""
        if top < 1:
            raise UsageError(f"the {top} likeliest classes can't be meant; take 1 or more")
        matrix = self.posteriors(list(images))
        order = np.argsort(-matrix, axis=1, kind="stable")[:, :top]
        return [
            [Prediction(self.names[i], int(i), float(row[i])) for i in best]
            for row, best in zip(matrix, order, strict=True)
        ]


def classify(image: Source | Iterable[Source], *, top: int = TOP, **options: Any) -> Any:
    """The likeliest classes of an image: a list of Predictions; for a list of images a list of such lists.

    The options are Classifier's.
    """
    classifier = Classifier(**options)
    if is_image(image):
        return classifier.predict([image], top)[0]
    return classifier.predict(image, top)
