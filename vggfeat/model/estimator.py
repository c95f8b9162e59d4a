"""VGGClassifier: a model of photos as a scikit-learn estimator."""

import json
from collections.abc import Iterable
from dataclasses import replace
from inspect import signature
from typing import Any, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from vggfeat._util.options import with_parameters_of
from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, UsageError
from vggfeat.images import Source
from vggfeat.inputs import column, is_image
from vggfeat.model.classifier import Model
from vggfeat.model.run import made_spec, train_on
from vggfeat.model.samples import Samples, classes_of, drawn
from vggfeat.model.settings import FitSettings, FitSpec

T = TypeVar("T")

NAME = "the photos"  # in messages


class VGGClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of photos with the interface of scikit-learn.

    It trains what `vggfeat.fit` trains, on a list of photos and a list of their classes, and prints nothing.

    Parameters
    ----------
    net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`; the layer is pool5 by default. agg and normalize keep their defaults.
    minutes, keep, most, jobs, seed, anonymous
        See `FitSettings`.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        The classes, sorted.
    model_ : Model
        The model, which can be saved; its classes are the texts of `classes_`. `model_.figures` has what was measured.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> scores = cross_val_score(VGGClassifier(scales=(256,)), photos, labels)  # doctest: +SKIP
    """

    @with_parameters_of(FitSpec, FitSettings)
    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)

    def fit(self, X: Iterable[Source], y: Any) -> Self:
        """Train on photos.

        Parameters
        ----------
        X : iterable of N images
            Each as for `vggfeat.describe`; or a table or an array of paths with one column.
        y : array_like, shape (N,)
            Their classes.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is invalid, X is one image, or the photos are too few: two of each of two classes.
        ImageError
            If an image cannot be read; the message names the file.
        WeightsError
            If the weights are missing, damaged, or lack the layer.
        """
        spec, settings = self._made(FitSpec), self._made(FitSettings)
        photos, targets = _listed(X), column_or_1d(y, warn=True)
        check_consistent_length(photos, targets)
        check_classification_targets(targets)
        describer = Describer(spec=spec)
        if len(describer.engine.nets) > 1:
            raise UsageError("a model has one net; give one, such as net='E'")
        try:
            classes, labels = classes_of(targets, [f"number {i} (from 0)" for i in range(len(photos))], NAME)
            kept = drawn(labels, settings.most, settings.seed)
            scales = _described(describer, [photos[i] for i in kept])
            samples = Samples(scales, labels[kept], tuple(map(str, classes)), [NAME] * len(kept), [""] * len(kept))
            fingerprint = json.loads(json.dumps(describer.fingerprint()[0]))
            weights = describer.engine.nets[0].weights.name
            content, figures = train_on(samples, fingerprint, weights, settings, spec.device, silent=True)
        except DataError as error:  # scikit-learn expects a ValueError
            raise UsageError(str(error)) from error
        made_by = replace(made_spec(NAME, content.fingerprint, weights, spec), agg=content.agg)
        self.classes_, self.model_ = classes, Model(content, made_by, figures=figures)
        return self

    def predict(self, X: Iterable[Source]) -> np.ndarray:
        """Predict the classes of photos.

        Parameters
        ----------
        X
            As for `fit`.

        Returns
        -------
        ndarray, shape (N,)
            Of `classes_`.
        """
        best = self._margins(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Iterable[Source]) -> np.ndarray:
        """Compute the calibrated probabilities of the classes of photos.

        Parameters
        ----------
        X
            As for `fit`.

        Returns
        -------
        ndarray, float64, shape (N, K)
            Each row sums to 1.
        """
        margins = self._margins(X)
        return self.model_.probabilities(margins)

    def decision_function(self, X: Iterable[Source]) -> np.ndarray:
        """Score photos.

        Parameters
        ----------
        X
            As for `fit`.

        Returns
        -------
        ndarray, float32, shape (N, K), or (N,) for two classes
            Above 0 means the class; of two classes, the second one.
        """
        margins = self._margins(X)
        return (margins[:, 1] - margins[:, 0]) / 2 if margins.shape[1] == 2 else margins

    def _made(self, kind: type[T]) -> T:
        """The settings of a kind, from the parameters."""
        return kind(**{name: getattr(self, name) for name in signature(kind).parameters})

    def _margins(self, X: Iterable[Source]) -> np.ndarray:
        check_is_fitted(self)
        return self.model_.decision_function(_listed(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True  # paths
        tags.input_tags.two_d_array = False  # of numbers; a column of paths is read
        return tags


def _listed(X: Any) -> list[Source]:
    if is_image(X):
        raise UsageError(f"X must be a list of images, not one {type(X).__name__}; give [image] for one")
    return list(column(X))


def _described(describer: Describer, photos: list[Source]) -> dict[int, np.ndarray]:
    """The descriptors of each scale, float32 (N, C)."""
    rows = {place: values for place, (values,) in describer.stream(describer.prepare_all(photos))}
    stacked = np.stack([rows[i] for i in range(len(photos))], axis=1)
    return dict(zip(describer.spec.scales, stacked, strict=True))
