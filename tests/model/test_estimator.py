"""VGGClassifier has scikit-learn's interface."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

from tests.kit.training_photos import COLOURS
from vggfeat import VGGClassifier
from vggfeat.errors import UsageError


def pictures(count=4, numbers=(0, 1, 2)):
    """Arrays around three colours, and the number of each one's colour."""
    random, colours = np.random.default_rng(0), np.array(list(COLOURS.values()))
    y = np.repeat(numbers, count)
    return [(colours[k] + random.integers(-30, 31, (40, 48, 3))).clip(0, 255).astype(np.uint8) for k in y], y


@pytest.fixture(scope="module")
def classifier(pool5):
    return VGGClassifier(weights=pool5, scales=(32,), minutes=0, jobs=1, device="cpu")


@pytest.fixture(scope="module")
def trained(classifier):
    return clone(classifier).fit(*pictures())


def test_it_learns_arrays_and_keeps_the_kind_of_the_labels(trained):
    X, y = pictures()
    assert trained.classes_.tolist() == [0, 1, 2]
    assert trained.predict(X).tolist() == y.tolist()
    assert trained.score(X, y) == 1
    assert trained.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert (trained.decision_function(X).argmax(axis=1) == y).all()


def test_two_classes_have_one_column_of_scores(classifier):
    X, y = pictures(numbers=(0, 2))
    two = clone(classifier).fit(X, y)
    assert two.decision_function(X).shape == (8,)
    assert ((two.decision_function(X) > 0) == (y == 2)).all()


def test_files_in_a_table_are_read(classifier, colours):
    files = sorted(colours.rglob("*.png"))
    table, y = pd.DataFrame({"path": files}), [file.parent.name for file in files]
    assert clone(classifier).fit(table, y).score(table, y) == 1


@pytest.mark.slow
def test_it_works_in_cross_validation(classifier):
    X, y = pictures(count=6)
    assert cross_val_score(classifier, X, y, cv=2).tolist() == [1, 1]


def test_a_pickled_one_predicts_the_same(trained):
    X, _ = pictures()
    data = pickle.dumps(trained)
    assert len(data) < 50_000  # without the nets
    assert (pickle.loads(data).predict_proba(X) == trained.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (["a.jpg"] * 4, [0, 0, 0, 0], "all photos are of one class, 0"),
        (["a.jpg"] * 3, [0, 0, 1], r"class 1 has one photo, number 2 \(from 0\)"),
        ("a.jpg", [0], "X must be a list of images, not one str"),
        (["a.jpg"] * 3, [0, 1], "inconsistent numbers of samples"),
    ],
)
def test_what_cannot_be_learned_is_a_wrong_value(classifier, X, y, message):
    with pytest.raises(ValueError, match=message):
        classifier.fit(X, y)


def test_parameters_are_checked_by_fit(classifier):
    with pytest.raises(UsageError, match="keep must be above 0 and below 1"):
        clone(classifier).set_params(keep=2).fit([], [])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_one_that_is_not_fitted_says_so(classifier, method):
    with pytest.raises(NotFittedError, match="This VGGClassifier instance is not fitted yet"):
        getattr(clone(classifier), method)(pictures()[0])


@pytest.mark.filterwarnings("ignore:Can't test estimator:sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_checks_pass(classifier):
    check_estimator(classifier)


class OfRows(VGGClassifier):
    """Takes rows of numbers, as the checks of scikit-learn give them: each becomes a picture of four squares."""

    def fit(self, X, y):
        return super().fit(squares(validate_data(self, X)), y)

    def predict(self, X):
        return super().predict(self._squares(X))

    def predict_proba(self, X):
        return super().predict_proba(self._squares(X))

    def decision_function(self, X):
        return super().decision_function(self._squares(X))

    def _squares(self, X):
        check_is_fitted(self)
        return squares(validate_data(self, X, reset=False))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = True, False
        return tags


def squares(X):
    """The first twelve values of each row as the colours of four squares."""
    values = np.zeros((len(X), 12))
    values[:, : X.shape[1]] = X[:, :12]
    colours = (128 + 60 * np.sin(values)).astype(np.uint8).reshape(-1, 2, 2, 3)  # also of large values
    return list(colours.repeat(16, axis=1).repeat(16, axis=2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # of other interfaces of arrays
def test_scikit_learns_checks_of_labels_and_predictions_pass(pool5):
    classifier = OfRows(weights=pool5, scales=(32,), mirror=False, minutes=0, jobs=1, device="cpu")
    cannot = {"check_methods_subset_invariance": "the last digits of a descriptor depend on how many share its batch"}
    check_estimator(classifier, expected_failed_checks=cannot)
