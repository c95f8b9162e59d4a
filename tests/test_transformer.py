"""VGGDescriptor in scikit-learn's world."""

import inspect
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from vggfeat import Describer, DescriptorSpec, VGGDescriptor, weights
from vggfeat.errors import ImageError, UsageError, WeightsError

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


@pytest.fixture
def files(stripes: list[np.ndarray], tmp_path: Path) -> list[str]:
    """The first three, as files."""
    for i in range(3):
        Image.fromarray(stripes[i]).save(tmp_path / f"{i}.png")
    return [str(tmp_path / f"{i}.png") for i in range(3)]


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


@pytest.mark.parametrize(
    "kind",
    [list, np.array, pd.Series, lambda paths: np.array(paths)[:, None], lambda paths: pd.DataFrame({"path": paths})],
    ids=["list", "array", "Series", "column", "DataFrame"],
)
def test_paths_as_people_have_them(
    transformer: VGGDescriptor, files: list[str], stripes: list[np.ndarray], kind: Callable[[list[str]], Any]
) -> None:
    assert np.array_equal(transformer.fit_transform(kind(files)), transformer.transform(stripes[:3]))


def test_a_column_of_a_table(transformer: VGGDescriptor, files: list[str], stripes: list[np.ndarray]) -> None:
    table = pd.DataFrame({"path": files, "year": [1.0, 2.0, 3.0]}, index=[7, 8, 9])
    expected = np.c_[transformer.transform(stripes[:3]), table["year"]]
    for chosen in ("path", ["path"]):
        both = ColumnTransformer([("image", transformer, chosen)], remainder="passthrough")
        assert np.array_equal(both.fit_transform(table), expected)
    both.set_output(transform="pandas")
    frame = both.fit_transform(table)
    assert (frame.index.tolist(), frame.columns[0], frame.columns[-1]) == (
        [7, 8, 9],
        "image__vggdescriptor0",
        "remainder__year",
    )


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a.jpg", r"X must be a list of images, not one str; give \[image\] for one"),
        (Path("a.jpg"), "not one .*Path;"),
        (np.zeros((4, 4, 3), np.uint8), "not one ndarray"),
        (pd.DataFrame({"path": ["a.jpg"], "year": [2000]}), r"a table has 2 columns \(path, year\); give the one"),
        (np.array([["a.jpg", "b.jpg"]]), r"an array of paths has the shape \(1, 2\); give a list"),
    ],
    ids=["str", "Path", "array", "table", "columns"],
)
def test_what_is_no_list_of_images_is_refused(transformer: VGGDescriptor, X: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        transformer.fit_transform(X)


def test_parameters_are_checked_by_fit(pool5: str) -> None:
    wrong = VGGDescriptor(weights=pool5, layer="fc9")
    assert wrong.get_params()["layer"] == "fc9"
    with pytest.raises(ValueError, match="'fc9'"):
        wrong.fit([])
    with pytest.raises(WeightsError, match="ends at pool5"):
        wrong.set_params(layer="fc7").fit([])


def test_an_unreadable_image_is_a_wrong_value(transformer: VGGDescriptor) -> None:
    """scikit-learn's meta-estimators expect a ValueError of bad input."""
    with pytest.raises(ValueError, match=r"none\.jpg: No such file"):
        transformer.transform(["none.jpg"])


def test_the_tags_say_what_is_taken(transformer: VGGDescriptor) -> None:
    tags = get_tags(transformer)
    assert (tags.input_tags.string, tags.input_tags.two_d_array, tags.requires_fit) == (True, False, False)


@pytest.mark.filterwarnings("ignore:Can't test estimator:sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks_pass(transformer: VGGDescriptor) -> None:
    """Few of them are run for input that is no table of numbers, as for scikit-learn's text transformers."""
    check_estimator(transformer)


class OfNumbers(VGGDescriptor):
    """Makes a picture of each row of numbers, so that all checks of scikit-learn can be run."""

    def fit(self, X: Any = None, y: Any = None) -> "OfNumbers":
        return super().fit(self.pictures(validate_data(self, X)), y)

    def transform(self, X: Any) -> np.ndarray:
        return super().transform(self.pictures(validate_data(self, X, reset=False)))

    def pictures(self, X: np.ndarray) -> list[np.ndarray]:
        return [np.repeat(np.frombuffer(row.astype(float).tobytes(), np.uint8)[None], 8, axis=0) for row in X]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = True, False
        return tags


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning", "ignore::DeprecationWarning")
def test_scikit_learns_checks_of_numbers_pass_on_pictures_of_them(pool5: str) -> None:
    """None is expected to fail: what images cannot meet is that numbers are taken, and here they are."""
    ran = check_estimator(OfNumbers(weights=pool5, layer="pool5", scales=(32,), device="cpu"))
    assert sum(one["status"] == "passed" for one in ran) > 40


def test_errors_are_describers(transformer: VGGDescriptor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg"):
        transformer.transform([tmp_path / "none.jpg"])
    with pytest.raises(UsageError, match="'fc9'"):
        transformer.set_params(layer="fc9").transform([])
