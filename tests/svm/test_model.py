"""Linear SVMs by both solvers: the optimum itself, and scikit-learn's fits done plainly."""

import os

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from tests.kit.svm_samples import descriptors, plain_fit
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.svm import CS, SOLVERS, LinearSVM


def objective(w: np.ndarray, b: float, X: np.ndarray, positive: np.ndarray, C: float) -> float:
    loss = np.maximum(0, 1 - np.where(positive, 1, -1) * (X.astype(float) @ w + b))
    return float((w @ w + b * b) / 2 + C * (loss**2).sum())


def best_objective(X: np.ndarray, positive: np.ndarray, C: float) -> float:
    """The minimum, found by a general method (L-BFGS) that knows nothing of SVMs."""
    A, y = np.c_[X.astype(float), np.ones(len(X))], np.where(positive, 1.0, -1.0)

    def value_and_gradient(v: np.ndarray) -> tuple[float, np.ndarray]:
        loss = np.maximum(0, 1 - y * (A @ v))
        return float(v @ v / 2 + C * loss @ loss), v - 2 * C * A.T @ (y * loss)

    options = {"maxiter": 20000, "maxfun": 40000, "ftol": 1e-13, "gtol": 1e-9}
    found = minimize(value_and_gradient, np.zeros(A.shape[1]), jac=True, method="L-BFGS-B", options=options)
    return float(found.fun)


@pytest.fixture(params=list(SOLVERS))
def solver(request):
    return request.param


class TestFit:
    # wide and separable; tall with classes that overlap; very tall, where the primal comes first
    @pytest.mark.parametrize(("n", "dim", "noise"), [(60, 150, 1.0), (300, 60, 2.0), (400, 20, 2.0)])
    @pytest.mark.parametrize("C", [CS[0], 1.0, 16.0, CS[-1]])
    def test_reaches_the_minimum(self, solver, n, dim, noise, C):
        X, labels = descriptors(n, dim, 3, noise)
        model = LinearSVM(C, jobs=1, solver=solver).fit(X, labels)
        assert model.converged_.all()
        for k in range(3):
            reached = objective(model.coef_[k], model.intercept_[k], X, labels == k, C)
            assert reached <= best_objective(X, labels == k, C) * (1 + 1e-4)

    def test_equals_plain_fits_of_each_class(self, solver):
        X, labels = descriptors(130, 200, 5, 1.5)
        X, labels, new = X[:90], labels[:90], X[90:]
        scores = LinearSVM(4.0, jobs=1, solver=solver).fit(X, labels).decision_function(new)
        plain = [plain_fit(X, labels == k, 4.0).decision_function(new) for k in range(5)]
        assert scores.shape == (40, 5) and scores.dtype == np.float32
        np.testing.assert_allclose(scores, np.transpose(plain), atol=1e-3)

    def test_one_sample_on_each_side_by_hand(self, solver):
        """x = +-e1: w = u e1 and b = 0, u at the minimum of u^2/2 + 2C (1 - u)^2, which is 4C / (1 + 4C)."""
        X = np.array([[1, 0], [-1, 0]], np.float32)
        model = LinearSVM(0.5, jobs=1, solver=solver).fit(X, np.array([0, 1]))
        np.testing.assert_allclose(model.coef_, [[2 / 3, 0], [-2 / 3, 0]], atol=1e-5)
        np.testing.assert_allclose(model.intercept_, 0, atol=1e-5)

    def test_two_classes_keep_a_column_each(self, solver):
        X, labels = descriptors(40, 60, 2, 1.0)
        scores = LinearSVM(jobs=1, solver=solver).fit(X, labels).decision_function(X)
        assert scores.shape == (40, 2)
        np.testing.assert_allclose(scores[:, 0], -scores[:, 1], atol=1e-3)

    def test_a_bool_matrix_is_the_same_as_its_labels(self, solver):
        X, labels = descriptors(60, 80, 4, 1.0)
        by_label, by_matrix = (
            LinearSVM(jobs=1, solver=solver).fit(X, labels),
            LinearSVM(jobs=1, solver=solver).fit(X, np.eye(4, dtype=bool)[labels]),
        )
        np.testing.assert_array_equal(by_label.coef_, by_matrix.coef_)

    def test_labels_of_separable_samples_are_learnt(self, solver):
        X, labels = descriptors(180, 100, 6, 0.5)
        predicted = LinearSVM(10, jobs=1, solver=solver).fit(X[:120], labels[:120]).predict(X[120:])
        np.testing.assert_array_equal(predicted, labels[120:])

    @pytest.mark.parametrize("ones", [[0.5, 1.0, 1.0], [1.0, 1.0, 0.5]])
    def test_predict_takes_the_highest_column(self, ones):
        model = LinearSVM()
        model.coef_, model.intercept_ = np.zeros((3, 2), np.float32), np.array(ones, np.float32)
        assert model.predict([[0.0, 0.0]]).tolist() == [ones.index(1.0)]

    def test_ignored_samples_are_left_out_of_their_class_only(self, solver):
        X, labels = descriptors(80, 100, 3, 1.5)
        positive = np.eye(3, dtype=bool)[labels]
        ignore = np.zeros((80, 3), bool)
        ignore[:30, 1] = True
        masked = LinearSVM(4.0, jobs=1, solver=solver).fit(X, positive, ignore)
        whole = LinearSVM(4.0, jobs=1, solver=solver).fit(X, positive)
        rest = plain_fit(X[30:], positive[30:, 1], 4.0)
        np.testing.assert_allclose(masked.coef_[1], rest.coef_[0], atol=1e-3)
        assert np.abs(masked.coef_[1] - whole.coef_[1]).max() > 0.05
        np.testing.assert_allclose(masked.coef_[[0, 2]], whole.coef_[[0, 2]], atol=1e-4)

    def test_what_an_ignored_sample_says_does_not_matter(self, solver):
        X, labels = descriptors(60, 50, 2, 1.5)
        positive, ignore = np.eye(2, dtype=bool)[labels], np.zeros((60, 2), bool)
        ignore[::7, 0] = True
        flipped = positive ^ ignore
        one, other = (LinearSVM(jobs=1, solver=solver).fit(X, Y, ignore).coef_ for Y in (positive, flipped))
        np.testing.assert_array_equal(one, other)

    def test_processes_give_what_one_gives(self):
        X, labels = descriptors(300, 500, 4, 1.5)  # above the size from which joblib shares X by a file
        one, two = (LinearSVM(16.0, jobs=jobs, solver="liblinear", seed=3).fit(X, labels) for jobs in (1, 2))
        np.testing.assert_array_equal(one.coef_, two.coef_)
        np.testing.assert_array_equal(one.intercept_, two.intercept_)

    def test_a_killed_process_is_one_line(self):
        class Kills:
            """Ends the process that unpickles it."""

            def __reduce__(self):
                return os._exit, (1,)

        with pytest.raises(VggfeatError, match="try fewer jobs"):
            LinearSVM(jobs=2, solver="liblinear", seed=Kills()).fit(*descriptors(20, 30, 2, 1.0))

    def test_progress_counts_the_fits(self, solver):
        seen = []
        LinearSVM(jobs=1, solver=solver, progress=lambda *counts: seen.append(counts)).fit(*descriptors(30, 30, 3, 1.0))
        assert seen == [(1, 3), (2, 3), (3, 3)]

    def test_warns_once_when_classes_do_not_converge(self):
        X, labels = descriptors(300, 60, 3, 2.0)
        with pytest.warns(ConvergenceWarning) as caught:
            model = LinearSVM(1e8, jobs=1, solver="liblinear").fit(X, labels)
        failed = (~model.converged_).sum()
        assert failed > 1
        assert [str(w.message) for w in caught] == [
            f"{failed} of 3 classes did not converge at C=1e+08: try a smaller C"
        ]

    @pytest.mark.parametrize("C", [1e4, 1e5, 1e6])
    def test_converged_means_at_the_minimum(self, C):
        """Here liblinear's primal solver stops 5 % above some minima after 20 of 1000 steps, in silence."""
        X, labels = descriptors(300, 60, 3, 2.0)
        with pytest.warns(ConvergenceWarning):
            model = LinearSVM(C, jobs=1, solver="liblinear").fit(X, labels)
        plain = [plain_fit(X, labels == k, C) for k in range(3)]
        reached = [objective(model.coef_[k], model.intercept_[k], X, labels == k, C) for k in range(3)]
        best = [objective(plain[k].coef_[0], plain[k].intercept_[0], X, labels == k, C) for k in range(3)]
        np.testing.assert_array_equal(model.converged_, np.array(reached) <= np.array(best) * (1 + 1e-3))

    def test_is_cloned_as_scikit_learn_does(self):
        copy = clone(LinearSVM(8.0, jobs=2, seed=5, solver="liblinear", device="cpu"))
        assert (copy.C, copy.jobs, copy.seed, copy.solver, copy.device) == (8.0, 2, 5, "liblinear", "cpu")
        assert LinearSVM().solver == "newton"


class TestRefuses:
    X, labels = descriptors(12, 30, 3, 1.0)
    matrix = np.eye(3, dtype=bool)[labels]

    @pytest.mark.parametrize(
        ("Y", "says"),
        [
            (np.repeat([0, 2], 6), "class 1 has no positive"),
            (np.zeros(12, int), "class 0 has no negative"),
            (np.ones((12, 2), bool), "class 0 has no negative"),
            (labels - 1, "from -1 to 1"),
            (np.r_[labels[:11], 10**12], "count the classes from 0"),
            (labels[:5], "12 descriptors with 5 labels"),
            (labels.astype(float), "Y must be integers"),
            (matrix.astype(int), "Y must be integers"),
        ],
    )
    def test_labels(self, Y, says):
        with pytest.raises(UsageError, match=says):
            LinearSVM(jobs=1).fit(self.X, Y)

    def test_a_class_whose_positives_are_all_ignored(self):
        ignore = self.matrix & [False, False, True]
        with pytest.raises(UsageError, match="class 2 has no positive"):
            LinearSVM(jobs=1).fit(self.X, self.matrix, ignore)

    @pytest.mark.parametrize("ignore", [np.zeros((12, 2), bool), np.zeros((12, 3), int), np.zeros(12, bool)])
    def test_an_ignore_mask_that_does_not_fit(self, ignore):
        with pytest.raises(UsageError, match="'ignore' must be bool \\(12, 3\\)"):
            LinearSVM(jobs=1).fit(self.X, self.labels, ignore)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_descriptors_that_are_not_finite(self, bad):
        X = self.X.copy()
        X[3, 1] = bad
        with pytest.raises(UsageError, match="NaN or infinite"):
            LinearSVM(jobs=1).fit(X, self.labels)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"C": 0}, "C must be one or more positive numbers"),
            ({"C": np.nan}, "C must be one or more positive numbers"),
            ({"C": -1}, "C must be one or more positive numbers"),
            ({"jobs": 0}, "jobs must be a number of cores"),
            ({"solver": "x"}, "unknown SVM solver 'x': choose from newton, liblinear"),
            ({"device": "x"}, "no device 'x'"),
        ],
    )
    def test_options(self, options, says):
        with pytest.raises(UsageError, match=says):
            LinearSVM(**{"jobs": 1, **options}).fit(self.X, self.labels)

    def test_scores_before_training_or_of_another_dimension(self):
        with pytest.raises(UsageError, match="call fit first"):
            LinearSVM().decision_function(self.X)
        model = LinearSVM(jobs=1).fit(self.X, self.labels)
        with pytest.raises(UsageError, match="30-D descriptors, asked for 3-D"):
            model.decision_function(self.X[:, :3])
