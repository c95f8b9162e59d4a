"""Classification (Sect. 3.2): score maps of whole images, averaged over places, mirror images, scales and nets."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from vggfeat._util.options import takes
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError, WeightsError
from vggfeat.images import Source
from vggfeat.inputs import is_image
from vggfeat.spec import PosteriorSpec
from vggfeat.weights.names import output_names

__all__ = ["TOP", "Classifier", "Prediction", "classify"]

TOP = 5


class Prediction(NamedTuple):
    """One class of a prediction.

    Attributes
    ----------
    name : str
    place : int
        Its index among the outputs of fc8, from 0.
    probability : float
        In 0..1.
    """

    name: str
    place: int
    probability: float


class Classifier:
    """Turns images into posteriors over the classes of one or several nets.

    A net's score map for the whole uncropped image is averaged over space and goes through the soft-max; these
    posteriors are averaged with those of the mirrored image, then over scales, then over nets (Sect. 3.2, 4.3, 4.5).

    Parameters
    ----------
    net, scales, weights, lineage, mirror, device, precision, ceil, exif, allow_truncated
        See `NetSpec`.
    spec : PosteriorSpec
        All of these as one object, instead of them.

    Attributes
    ----------
    names : tuple of str
        The classes, in the order of the posteriors; "class 17" if the weights have no names.

    Raises
    ------
    UsageError
        If an argument is invalid.
    WeightsError
        If the weights lack fc8, or if the nets have different classes.
    """

    @takes(spec=PosteriorSpec, positional=["net"])
    def __init__(self, *, spec: PosteriorSpec) -> None:
        self.describer = Describer(spec=spec)
        nets = self.describer.engine.nets
        first, *others = (output_names(net.weights) for net in nets)
        for other, net in zip(others, nets[1:], strict=True):
            if other != first:
                raise WeightsError(
                    f"{net.weights.path} and {nets[0].weights.path} have different classes: "
                    "only posteriors over the same classes can be averaged"
                )
        self.names = first

    def posteriors(self, image: Source | Iterable[Source]) -> np.ndarray:
        """Compute the posteriors of one image or several.

        Parameters
        ----------
        image : as for `describe`

        Returns
        -------
        ndarray, float32, shape (classes,) for one image, (N, classes) for several
            Each row sums to 1.

        Raises
        ------
        ImageError
            If an image cannot be read; the message names the file.
        """
        single, describer = is_image(image), self.describer
        rows = dict(describer.stream([(0, describer.prepare(image))] if single else describer.prepare_all(image)))
        matrix = np.zeros((len(rows), len(self.names)), np.float32)
        for i, nets in rows.items():
            matrix[i] = np.mean([scales.mean(axis=0) for scales in nets], axis=0)
        return matrix[0] if single else matrix

    def predict(self, images: Iterable[Source], top: int = TOP) -> list[list[Prediction]]:
        """Find the most probable classes of each image.

        Parameters
        ----------
        images : iterable of images
            Each as for `describe`.
        top : int
            How many classes of each image.

        Returns
        -------
        list of lists of Prediction
            The most probable class first; of equal ones the first in `names`.

        Raises
        ------
        UsageError
            If `top` is below 1, or if `images` is one image and no list.
        ImageError
            If an image cannot be read; the message names the file.
        """
        if top < 1:
            raise UsageError(f"top must be 1 or more, not {top}")
        if is_image(images):
            raise UsageError("predict takes a list of images; give [image] for one")
        matrix = self.posteriors(images)
        order = np.argsort(-matrix, axis=1, kind="stable")[:, :top]
        return [
            [Prediction(self.names[i], int(i), float(row[i])) for i in best]
            for row, best in zip(matrix, order, strict=True)
        ]


@takes(spec=PosteriorSpec)
def classify(image: Source | Iterable[Source], *, top: int = TOP, spec: PosteriorSpec) -> Any:
    """Classify one image or several.

    Parameters
    ----------
    image : as for `describe`
    top : int
        How many classes of each image.
    net, scales, weights, lineage, mirror, device, precision, ceil, exif, allow_truncated
        See `NetSpec`.
    spec : PosteriorSpec
        All of these as one object, instead of them.

    Returns
    -------
    list of Prediction for one image, list of such lists for several
    """
    classifier = Classifier(spec=spec)
    if is_image(image):
        return classifier.predict([image], top)[0]
    return classifier.predict(image, top)
