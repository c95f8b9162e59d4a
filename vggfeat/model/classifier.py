"""Model: a trained classifier of photos."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.descriptors import Describer
from vggfeat.errors import ModelError, UsageError
from vggfeat.images import Source
from vggfeat.inputs import is_image
from vggfeat.metrics import mean_class_recall
from vggfeat.model.answers import TOP, Answer, answers_of
from vggfeat.model.calibration import probabilities
from vggfeat.model.figures import Figures
from vggfeat.model.file import Content, read, write
from vggfeat.model.stores import rows_for, store_among
from vggfeat.spec import DescriptorSpec
from vggfeat.store import Store
from vggfeat.store.remaking import describer_of
from vggfeat.svm.problem import scores_of


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier of photos, trained by `vggfeat.fit` or read from a file.

    Parameters
    ----------
    content : Content
        What the file of the model holds: the classes, SVMs, calibration, and the fingerprint of its descriptors.
    spec : DescriptorSpec
        The settings of its descriptors on this machine.
    name : str
        The model's name in messages.
    figures : Figures or None
        What was measured on held-out photos; None for a model that was read from a file, whose `content` has them.

    Examples
    --------
    >>> model = Model.load("birds.vggmodel")  # doctest: +SKIP
    >>> model.predict(["a.jpg", "b.jpg"])  # doctest: +SKIP
    array(['robin', 'wren'], dtype=object)
    """

    content: Content
    spec: DescriptorSpec
    name: str = "the model"
    figures: Figures | None = None

    @classmethod
    def load(
        cls, file: str | Path, *, weights: str | None = None, lineage: Any = None, device: str = "auto"
    ) -> "Model":
        """Read the file of a model.

        Parameters
        ----------
        file : str or path
            The file that `save` wrote.
        weights : str or path, optional
            Where the weights of the net are: a name or a file. Default: the name that the model was trained with.
        lineage : {"oxford", "torchvision"}, optional
            As for `NetSpec`.
        device : str
            As for `NetSpec`.

        Returns
        -------
        Model

        Raises
        ------
        ModelError
            If the file is missing, damaged, or no model.
        """
        content, spec = read(Path(file))
        spec = replace(spec, weights=str(weights or spec.weights), lineage=lineage, device=device)
        return cls(content, spec, str(file))

    def save(self, file: str | Path) -> Path:
        """Write the model as one file, whole or not at all: safetensors and JSON, nothing pickled.

        It has the names of the photos of a store that trained it, and the place of the store.

        Parameters
        ----------
        file : str or path
            The usual suffix is .vggmodel.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        write(self.content, Path(file))
        return Path(file)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "describer"}  # the nets are loaded again

    @property
    def classes_(self) -> np.ndarray:
        """The names of the K classes, in the order of the columns; ndarray of str, shape (K,)."""
        return np.array(self.content.classes, dtype=object)

    @cached_property
    def describer(self) -> Describer:
        """Makes the descriptors; loaded at the first use. Raises WeightsError for other weights than the model's."""
        return describer_of(self.spec, self.content.fingerprint, self.name, self.content.weights, ModelError)

    def margins(self, X: np.ndarray) -> np.ndarray:
        """Score descriptors that were made already. A margin depends on no other descriptor, to the bit.

        Parameters
        ----------
        X : ndarray, float32, shape (N, dim)
            Descriptors by `describer`, aggregated and of norm 1.

        Returns
        -------
        ndarray, float32, shape (N, K)
            Above 0 means the class.

        Raises
        ------
        ModelError
            If they have another length.
        """
        coef, intercept = self.content.coef, self.content.intercept
        if X.shape[1] != coef.shape[1]:
            raise ModelError(f"{self.name}: its SVMs have {coef.shape[1]} weights for {X.shape[1]} values")
        # one by one: the last digits of a product of matrices depend on how many rows it has
        rows = [scores_of(X[i : i + 1], coef, intercept) for i in range(len(X))]
        return np.concatenate([np.zeros((0, len(coef)), np.float32), *rows])

    def decision_function(self, images: Iterable[Source] | Store) -> np.ndarray:
        """Score photos.

        Parameters
        ----------
        images : iterable of N images, or store
            Each image as for `vggfeat.describe`. A store, or the path of one, has N photos that were described already,
            by the same net and settings.

        Returns
        -------
        ndarray, float32, shape (N, K)
            Above 0 means the class.

        Raises
        ------
        ImageError
            If an image cannot be read; the message names the file.
        UsageError
            If `images` is one image and no list.
        StoreError
            If the store was made in another way, or is damaged.
        WeightsError
            If the weights are missing, or are others than the model's. A store needs none.
        """
        if (store := store_among(images)) is not None:
            return np.concatenate([self.margins(X) for _, X in rows_for(store, self.content, self.name)])
        if is_image(images):
            raise UsageError("a model takes a list of images; give [image] for one")
        return self.margins(self.describer.describe(images))

    def predict_proba(self, images: Iterable[Source] | Store) -> np.ndarray:
        """Compute the calibrated probabilities of photos of the model's classes.

        Parameters
        ----------
        images
            As for `decision_function`.

        Returns
        -------
        ndarray, float64, shape (N, K)
            Each row sums to 1.
        """
        return self.probabilities(self.decision_function(images))

    def probabilities(self, margins: np.ndarray) -> np.ndarray:
        """As `predict_proba`, of margins.

        Parameters
        ----------
        margins : ndarray, float32, shape (N, K)
            From `decision_function` or `margins`.

        Returns
        -------
        ndarray, float64, shape (N, K)
        """
        return probabilities(margins, self.content.temperature)

    def predict(self, images: Iterable[Source] | Store) -> np.ndarray:
        """Predict the class of photos, also of photos that show none of the classes; `answers` tells these apart.

        Parameters
        ----------
        images
            As for `decision_function`.

        Returns
        -------
        ndarray of str, shape (N,)
        """
        return self.classes_[self.decision_function(images).argmax(axis=1)]

    def answers(self, images: Iterable[Source] | Store, top: int = TOP) -> list[Answer]:
        """Find the most probable classes of photos, and which photos show none of the classes.

        Parameters
        ----------
        images
            As for `decision_function`.
        top : int
            How many classes of each photo.

        Returns
        -------
        list of N Answer

        Raises
        ------
        UsageError
            If `top` is below 1.
        """
        return self.answers_of(self.decision_function(images), top)

    def answers_of(self, margins: np.ndarray, top: int = TOP) -> list[Answer]:
        """Make answers of margins.

        Parameters
        ----------
        margins : ndarray, float32, shape (N, K)
            From `decision_function` or `margins`.
        top : int
            As for `answers`.

        Returns
        -------
        list of N Answer
        """
        return answers_of(margins, self.content, top)

    def score(self, images: Iterable[Source] | Store, labels: Iterable[Any]) -> float:
        """Measure the mean class recall on labelled photos.

        Parameters
        ----------
        images
            As for `decision_function`.
        labels : iterable of N str
            Their true classes.

        Returns
        -------
        float
            In 0..1, over the classes of `labels`.

        Raises
        ------
        ModelError
            If a label is none of the model's classes.
        """
        place = {name: k for k, name in enumerate(self.content.classes)}
        truth = list(map(str, labels))
        if unknown := sorted(set(truth) - place.keys()):
            raise ModelError(f"{self.name}: has no class {unknown[0]}; its classes are {', '.join(place)}"[:500])
        predicted = self.decision_function(images).argmax(axis=1)
        return mean_class_recall(predicted, np.array([place[name] for name in truth], int), len(place))
