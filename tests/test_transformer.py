"""VGGDescriptor in scikit-learn's world."""

import inspect
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from vggfeat import Describer, DescriptorSpec, VGGDescriptor, weights
from vggfeat.errors import ImageError, UsageError

LABELS = [0, 1] * 6


@pytest.fixture(scope="module")
def pool5(tiny_weights: Callable[..., Path]) -> str:
    return str(tiny_weights("A", width=1 / 8, top="pool5"))


@pytest.fixture
def transformer(pool5: str) -> VGGDescriptor:
    return VGGDescriptor(weights=pool5, layer="pool5", scales=(64,), device="cpu")


@pytest.fixture(scope="module")
def stripes() -> list[np.ndarray]:
    """uint8 (64, 80, 3): stripes across (0) or down (1) in noise."""
    rng = np.random.default_rng(0)
    images = []
    for label in LABELS:
        image = rng.integers(0, 100, (64, 80, 3))
        wave = np.arange(image.shape[label]) // 4 % 2 * 150
        image += wave[None, :, None] if label else wave[:, None, None]
        images.append(image.astype(np.uint8))
    return images


def test_the_parameters_and_their_defaults_are_describers() -> None:
    ours, theirs = (inspect.signature(kind).parameters for kind in (VGGDescriptor, Describer))
    own = {"engine", "view", "facts", "task", "spec"}  # of the describer: no settings
    assert {name: (p.default, p.kind) for name, p in ours.items()} == {
        name: (p.default, p.kind) for name, p in theirs.items() if name not in own
    }
    assert set(VGGDescriptor().get_params()) == {field.name for field in fields(DescriptorSpec)}


def test_clone_has_the_same_parameters(transformer: VGGDescriptor, stripes: list[np.ndarray]) -> None:
    transformer.transform(stripes[:1])
    twin = clone(transformer)
    assert twin.get_params() == transformer.get_params()
    assert "_describer" not in vars(twin)


def test_the_descriptors_are_describers(transformer: VGGDescriptor, stripes: list[np.ndarray], pool5: str) -> None:
    expected = Describer(weights=pool5, layer="pool5", scales=(64,), device="cpu").describe(stripes)
    assert np.array_equal(transformer.fit(stripes).transform(stripes), expected)
    assert np.array_equal(transformer.fit_transform(np.stack(stripes)), expected)
    assert transformer.transform(image for image in stripes[:2]).shape == (2, 64)


def test_a_changed_parameter_counts_at_the_next_transform(
    transformer: VGGDescriptor, stripes: list[np.ndarray]
) -> None:
    assert transformer.transform(stripes[:1]).shape == (1, 64)
    transformer.set_params(scales=(64, 96), agg="stack")
    assert transformer.transform(stripes[:1]).shape == (1, 128)
    transformer.agg = "mean"
    assert transformer.transform(stripes[:1]).shape == (1, 64)


def test_the_net_is_loaded_once(
    transformer: VGGDescriptor, stripes: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Mock(side_effect=weights.load)
    monkeypatch.setattr(weights, "load", load)
    transformer.transform(stripes[:1])
    transformer.transform(stripes[1:2])
    assert load.call_count == 1


def test_pickling_does_not_carry_the_net(transformer: VGGDescriptor, stripes: list[np.ndarray]) -> None:
    before = transformer.transform(stripes)
    pickled = pickle.dumps(transformer)
    assert len(pickled) < 2000
    assert np.array_equal(pickle.loads(pickled).transform(stripes), before)


def test_in_a_pipeline_with_a_linear_svm(transformer: VGGDescriptor, stripes: list[np.ndarray]) -> None:
    model = make_pipeline(transformer, LinearSVC(C=10)).fit(stripes[:8], LABELS[:8])
    assert model.predict(stripes[8:]).tolist() == LABELS[8:]


def test_in_a_grid_search(transformer: VGGDescriptor, stripes: list[np.ndarray]) -> None:
    search = GridSearchCV(make_pipeline(transformer, LinearSVC()), {"vggdescriptor__scales": [(32,), (64,)]}, cv=2)
    assert search.fit(stripes, LABELS).best_score_ > 0.5


def test_names_of_features_and_pandas_output(transformer: VGGDescriptor, stripes: list[np.ndarray]) -> None:
    names = transformer.get_feature_names_out()
    assert (len(names), names[0], names[-1]) == (64, "vggdescriptor0", "vggdescriptor63")
    frame = transformer.set_output(transform="pandas").transform(stripes[:2])
    assert list(frame.columns) == list(names)


def test_errors_are_describers(transformer: VGGDescriptor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg"):
        transformer.transform([tmp_path / "none.jpg"])
    with pytest.raises(UsageError, match="'fc9'"):
        transformer.set_params(layer="fc9").transform([])
