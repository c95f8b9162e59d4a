"""VGGClassifier: a model of photos as a scikit-learn estimator."""

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from vggfeat._util.options import with_parameters_of
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError
from vggfeat.images import Source
from vggfeat.inputs import is_image
from vggfeat.model.classifier import Model
from vggfeat.model.run import train_on
from vggfeat.model.samples import Samples, classes_of, refuse_not_finite
from vggfeat.model.settings import ClassifierSettings, FitSettings, FitSpec


class VGGClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of photos with the interface of scikit-learn.

    It trains what `vggfeat.fit` trains, on photos in memory or files and a list of their classes.

    Parameters
    ----------
    net, scales, layer, weights, lineage, mirror, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`; the layer is pool5 by default.
    minutes, keep, most, jobs, seed
        See `FitSettings`.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        The classes, sorted.
    model_ : Model
        The model, which can be saved. Its names of the classes are texts.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_score
    >>> scores = cross_val_score(VGGClassifier(minutes=0), photos, labels)  # doctest: +SKIP
    """
