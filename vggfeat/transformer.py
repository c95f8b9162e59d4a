"""VGG descriptors as a scikit-learn transformer."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from vggfeat._util.options import with_parameters_of
from vggfeat.descriptors import Describer
from vggfeat.errors import UsageError
from vggfeat.images import Source
from vggfeat.inputs import is_image
from vggfeat.spec import DescriptorSpec

__all__ = ["VGGDescriptor"]


class VGGDescriptor(TransformerMixin, BaseEstimator):
    """VGG descriptors as a scikit-learn transformer.

    Works in a Pipeline and a ColumnTransformer, with clone and get_params; fit learns nothing. The nets are loaded
    once, at the first transform, and are not pickled.

    Parameters
    ----------
    net, scales, agg, layer, weights, lineage, mirror, normalize, device, precision, ceil, exif, allow_truncated
        See `DescriptorSpec` and `NetSpec`.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> model = make_pipeline(VGGDescriptor(net="D"), LinearSVC())  # images in, labels out

    References
    ----------
    Appendix B, "Generalisation of Very Deep Features".
    """

    @with_parameters_of(DescriptorSpec, positional=["net"])
    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)

    @cached_property
    def _describer(self) -> Describer:
        return Describer(**self.get_params())

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__.pop("_describer", None)  # it was made for other parameters
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_describer"}

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002  (scikit-learn's interface)
        """Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X : iterable of N images, optional
            As for `transform`. Only whether it is one is checked.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        UsageError
            If a parameter is invalid, or if X is one image.
        WeightsError
            If the weights are missing, damaged, or lack the layer.
        """
        self._describer  # noqa: B018  (made here, it checks the parameters, and transform changes nothing)
        if X is not None:
            _check_several(X)
        return self

    def transform(self, X: Iterable[Source]) -> np.ndarray:
        """Describe N images.

        Parameters
        ----------
        X : iterable of N images
            Each as for `describe`; or a table or an array of paths with one column.

        Returns
        -------
        ndarray, float32, shape (N, dim)

        Raises
        ------
        ImageError
            If an image cannot be read; the message names the file.
        UsageError
            If a parameter is invalid, if X is one image, or if X has several columns.
        """
        _check_several(X)
        return self._describer.describe(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:  # noqa: ARG002
        """Name the columns: vggdescriptor0, vggdescriptor1, ..."""
        return np.array([f"vggdescriptor{i}" for i in range(self._describer.dim)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.string = True  # paths
        tags.input_tags.two_d_array = False  # of numbers; a column of paths is read
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_several(X: Any) -> None:
    if is_image(X):
        raise UsageError(f"X must be a list of images, not one {type(X).__name__}; give [image] for one")
