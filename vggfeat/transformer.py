"""VGG descriptors as a scikit-learn transformer."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from vggfeat.aggregate import Aggregation, Normalisation
from vggfeat.descriptors import SCALES, Describer, Layer
from vggfeat.images import Source
from vggfeat.passes import Precision


class VGGDescriptor(TransformerMixin, BaseEstimator):
    """`Describer` as a transformer: X is a list of N images (paths, ...), the output float32 (N, dim).

    Works in a Pipeline and a ColumnTransformer, with clone and get_params; fit learns nothing. The
    parameters are those of Describer. The net is loaded once, at the first transform, and is not pickled.
    """

    def __init__(
        self,
        net: str | None = None,
        *,
        scales: Sequence[int] = SCALES,
        agg: Aggregation = "mean",
        layer: Layer = "fc7",
        weights: str = "auto",
        mirror: bool = True,
        normalize: Normalisation = "l2",
        device: str = "auto",
        precision: Precision = "auto",
        ceil: bool = False,
    ) -> None:
        self.net = net
        self.scales = scales
        self.agg = agg
        self.layer = layer
        self.weights = weights
        self.mirror = mirror
        self.normalize = normalize
        self.device = device
        self.precision = precision
        self.ceil = ceil

    @cached_property
    def _describer(self) -> Describer:
        return Describer(**self.get_params())

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__.pop("_describer", None)  # it was made for other parameters
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_describer"}

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Does nothing; the net is fixed."""
        return self

    def transform(self, X: Iterable[Source]) -> np.ndarray:
        """N images -> float32 (N, dim). Raises ImageError, naming the file."""
        return self._describer.describe(list(X))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """vggdescriptor0, vggdescriptor1, ..."""
        return np.array([f"vggdescriptor{i}" for i in range(self._describer.dim)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True
