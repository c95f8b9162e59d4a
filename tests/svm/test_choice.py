"""How C is chosen: on held-out samples, by cross-validation, and beyond the ends of the grid."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, recall_score
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC

from tests.kit.svm_samples import descriptors, plain_fit
from vggfeat.errors import UsageError
from vggfeat.metrics import mean_average_precision, mean_class_recall
from vggfeat.svm import CS, SOLVERS, choose_C, stratified_folds, stratified_holdout
from vggfeat.svm.path import NewtonPath
from vggfeat.svm.problem import Problem, solve_whole
from vggfeat.svm.settings import SolverSettings


@pytest.fixture(params=list(SOLVERS))
def solver(request):
    return request.param


def recall(scores: np.ndarray, labels: np.ndarray, _: np.ndarray) -> float:
    return mean_class_recall(scores.argmax(1), labels, scores.shape[1])


class TestChooseC:
    X, labels = descriptors(60, 30, 3, 2.0)
    held = np.arange(60) % 5 == 0

    def choose(self, values: dict[float, float], Cs=(1.0, 4.0, 16.0), labels=labels):
        """choose_C on a metric that is told what to answer, in order of C."""
        answers = iter([values[C] for C in sorted(Cs)])
        fixed = {"validation": self.held, "bounds": (min(Cs), max(Cs)), "jobs": 1}
        return choose_C(self.X, labels, Cs, metric=lambda *_: next(answers), **fixed)

    def test_scores_are_those_of_models_trained_without_the_validation_samples(self, solver):
        options = {"metric": recall, "validation": self.held, "jobs": 1, "solver": solver}
        found = choose_C(self.X, self.labels, (0.25, 4, 64), **options)
        X_held, labels_held = self.X[self.held], self.labels[self.held]
        for C, score in zip(found.Cs, found.scores, strict=True):
            plain = [plain_fit(self.X[~self.held], self.labels[~self.held] == k, C) for k in range(3)]
            guess = np.argmax([model.decision_function(X_held) for model in plain], axis=0)
            assert score == pytest.approx(np.mean([(guess == k)[labels_held == k].mean() for k in range(3)]))
        assert found.Cs[int(np.argmax(found.scores))] == found.C
        assert found.converged == (True, True, True)

    @pytest.mark.parametrize(
        ("scores", "best", "edge"),
        [
            ((0.5, 0.7, 0.6), 4, None),
            ((0.7, 0.6, 0.5), 1, "low"),
            ((0.5, 0.6, 0.7), 16, "high"),
            ((0.5, 0.7, 0.7), 4, None),  # a tie goes to the smaller C
            ((0.7, 0.7, 0.7), 1, None),  # a plateau has no edge
            ((0.7, 0.7, 0.5), 1, None),
            ((0.7, 0.5, 0.7), 1, "low"),
            ((0.5, 0.7, 0.7 + 1e-15), 4, None),  # the same value, summed in another order
            ((0.5, 0.7, 0.7 + 1e-6), 16, "high"),
        ],
    )
    def test_the_best_the_smaller_and_the_edge(self, scores, best, edge):
        found = self.choose(dict(zip((1.0, 4.0, 16.0), scores, strict=True)))
        assert (found.C, found.at_edge) == (best, edge)
        assert found.scores == scores

    def test_the_order_of_the_grid_does_not_matter(self):
        found = self.choose({1.0: 0.1, 4.0: 0.9, 16.0: 0.9}, Cs=(16.0, 1.0, 4.0))
        assert (found.C, found.Cs) == (4.0, (1.0, 4.0, 16.0))

    def test_a_single_C_has_no_edge(self):
        assert self.choose({2.0: 0.5}, Cs=(2.0,)).at_edge is None

    def test_the_metric_sees_the_validation_rows(self):
        ignore = np.zeros((60, 3), bool)
        ignore[:20, 1] = True
        positive = np.eye(3, dtype=bool)[self.labels]
        seen = []

        def metric(scores, Y, ignored):
            seen.append((scores.shape, Y, ignored))
            return mean_average_precision(scores, Y, ignored, "11-point")[0]

        choose_C(self.X, positive, (1.0,), metric=metric, validation=self.held, ignore=ignore, jobs=1)
        ((shape, Y, ignored),) = seen
        assert shape == (12, 3)
        np.testing.assert_array_equal(Y, positive[self.held])
        np.testing.assert_array_equal(ignored, ignore[self.held])

    def test_ignored_samples_do_not_train(self):
        """Where all of class 1's misleading samples are ignored, its validation AP is perfect."""
        X, labels = descriptors(60, 40, 2, 0.3)
        positive = np.eye(2, dtype=bool)[labels]
        wrong = ~self.held & (np.arange(60) < 50)
        positive[wrong, 1] ^= True
        ignore = np.zeros((60, 2), bool)
        ignore[wrong, 1] = True

        def scores(ignore):
            def metric(s, Y, i):
                return mean_average_precision(s, Y, i)[1][1]

            return choose_C(X, positive, (1.0,), metric=metric, validation=self.held, ignore=ignore, jobs=1).scores[0]

        assert scores(ignore) == 1
        assert scores(None) < 0.8

    def test_a_class_absent_from_validation_keeps_its_column(self):
        shapes = []
        held = self.held & (self.labels != 2)
        choose_C(
            self.X,
            self.labels,
            (1.0,),
            metric=lambda scores, *_: shapes.append(scores.shape) or 0.5,
            validation=held,
            jobs=1,
        )
        assert shapes == [(held.sum(), 3)]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"validation": np.zeros(60, bool)}, "both sides"),
            ({"validation": np.ones(60, bool)}, "both sides"),
            ({"validation": np.arange(12)}, "'validation' must be bool \\(60,\\)"),
            ({"validation": held.astype(float)}, "'validation' must be bool \\(60,\\), or int for folds"),
            ({"validation": np.full(60, 3)}, "both sides"),
            ({"validation": np.arange(60) % 3 - 2}, "fold -2: folds count from 0"),
            ({"validation": np.where(labels == 2, 0, -1)}, "class 2 has no positive"),
            ({"bounds": (0, 1)}, "'bounds' must be two positive numbers"),
            ({"bounds": (2, 1)}, "'bounds' must be two positive numbers"),
            ({"validation": labels == 1}, "class 1 has no positive"),
            ({"metric": lambda *_: np.nan}, "metric is NaN"),
            ({"Cs": ()}, "C must be"),
            ({"Cs": (1.0, 0.0)}, "C must be"),
        ],
    )
    def test_refuses(self, options, says):
        arguments = {"Cs": (1.0,), "metric": recall, "validation": self.held, "jobs": 1, **options}
        with pytest.raises(UsageError, match=says):
            choose_C(self.X, self.labels, **arguments)


class TestFolds:
    X, labels = descriptors(60, 30, 3, 2.0)
    folds = np.arange(60) // 3 % 5

    def test_a_fold_is_scored_by_svms_that_never_saw_it(self, solver):
        """Against scikit-learn, which trains on the rows themselves."""
        seen = []

        def metric(scores, labels, _):
            seen.append(scores)
            return mean_class_recall(scores.argmax(1), labels, 3)

        options = {"bounds": (CS[0], CS[-1]), "jobs": 1, "solver": solver}
        found = choose_C(self.X, self.labels, metric=metric, validation=self.folds, **options)
        wanted = []
        for C, scores in zip(CS, seen, strict=True):
            plain = LinearSVC(C=C, tol=1e-6, max_iter=100_000, random_state=0)
            of_rows = cross_val_predict(
                plain, self.X, self.labels, cv=PredefinedSplit(self.folds), method="decision_function"
            )
            np.testing.assert_allclose(scores, of_rows, atol=5e-3)
            wanted.append(recall_score(self.labels, of_rows.argmax(1), average="macro"))
        assert found.scores == pytest.approx(wanted)
        assert CS[int(np.argmax(wanted))] == found.C
        np.testing.assert_array_equal(found.margins, seen[CS.index(found.C)])

    def test_a_sample_in_no_fold_always_trains_and_is_never_scored(self, solver):
        folds = np.where(np.arange(60) < 24, -1, np.arange(60) // 3 % 2)
        seen = []
        options = {"validation": folds, "jobs": 1, "solver": solver}
        choose_C(self.X, self.labels, (4.0,), metric=lambda *values: seen.append(values) or 0.5, **options)
        ((scores, labels, _),) = seen
        np.testing.assert_array_equal(labels, self.labels[24:])
        for fold in (0, 1):
            mine, train = folds == fold, folds != fold
            plain = [
                plain_fit(self.X[train], self.labels[train] == k, 4.0).decision_function(self.X[mine]) for k in range(3)
            ]
            np.testing.assert_allclose(scores[mine[24:]], np.transpose(plain), atol=2e-3)

    def test_what_is_ignored_stays_ignored_in_each_fold(self):
        positive = np.eye(3, dtype=bool)[self.labels]
        ignore = np.zeros((60, 3), bool)
        ignore[:30, 1] = True
        seen = []
        metric = {"metric": lambda *values: seen.append(values) or 0.5}
        choose_C(self.X, positive, (4.0,), validation=self.folds, ignore=ignore, jobs=1, **metric)
        ((scores, _, ignored),) = seen
        np.testing.assert_array_equal(ignored, ignore)
        train = (self.folds != 2) & ~ignore[:, 1]
        plain = plain_fit(self.X[train], positive[train, 1], 4.0)
        mine = self.folds == 2
        np.testing.assert_allclose(scores[mine, 1], plain.decision_function(self.X[mine]), atol=2e-3)

    def test_a_mask_is_one_fold(self):
        options = {"Cs": (1.0, 16.0), "metric": recall, "jobs": 1}
        mask = self.folds == 1
        one, other = (choose_C(self.X, self.labels, validation=each, **options) for each in (mask, mask - 1))
        assert one == other


class TestGrowth:
    X, labels = descriptors(60, 30, 3, 2.0)
    held = np.arange(60) % 5 == 0

    def choose(self, answers: list[float], **options):
        """choose_C on a metric that is told what to answer, one C after the other."""
        left, seen = iter(answers), []

        def metric(scores, *_):
            seen.append(scores.copy())
            return next(left)

        found = choose_C(self.X, self.labels, (1.0, 4.0, 16.0), metric=metric, validation=self.held, jobs=1, **options)
        assert not list(left), "fewer values of C than answers"
        tried = [1.0, 4.0, 16.0, *(C for C in found.Cs[::-1] if C < 1), *(C for C in found.Cs if C > 16)]
        np.testing.assert_array_equal(found.margins, seen[tried.index(found.C)])
        return found

    @pytest.mark.parametrize(
        ("answers", "best", "Cs"),
        [
            ([0.5, 0.6, 0.7, 0.8, 0.7], 64, (1, 4, 16, 64, 256)),
            ([0.5, 0.6, 0.7, 0.7], 16, (1, 4, 16, 64)),  # it does not get better
            ([0.7, 0.6, 0.5, 0.8, 0.9, 0.8], 1 / 16, (1 / 64, 1 / 16, 1 / 4, 1, 4, 16)),
            ([0.7, 0.7, 0.6], 1, (1, 4, 16)),  # a plateau does not grow
            ([0.6, 0.7, 0.7], 4, (1, 4, 16)),
        ],
    )
    def test_it_goes_on_until_the_best_is_inside(self, answers, best, Cs):
        found = self.choose(answers)
        assert (found.C, found.Cs, found.at_edge) == (best, Cs, None)
        assert found.scores[Cs.index(best)] == max(answers)
        assert len(found.converged) == len(Cs)

    @pytest.mark.parametrize(
        ("answers", "bounds", "best", "edge"),
        [
            ([0.5, 0.6, 0.7, 0.8, 0.9], (1, 100), 100, "high"),
            ([0.7, 0.6, 0.5, 0.8], (0.5, 16), 0.5, "low"),
            ([0.5, 0.6, 0.7], (2, 3), 16, "high"),  # the grid itself may be wider
            ([0.7, 0.6, 0.5], (2, 3), 1, "low"),
        ],
    )
    def test_it_ends_at_the_bounds(self, answers, bounds, best, edge):
        found = self.choose(answers, bounds=bounds)
        assert (found.C, found.at_edge) == (best, edge)

    @pytest.mark.parametrize(("scale", "C"), [(1, 1), (1 / 100, 2**14), (30, 2**-10)])
    def test_descriptors_of_another_norm_find_their_C(self, solver, scale, C):
        """The norm scales the best C by about its square, to far outside of the grid."""
        X, labels = descriptors(120, 30, 3, 2.0)
        X, truth, folds = X * np.float32(scale), np.eye(3)[labels], np.arange(120) // 3 % 5

        def metric(scores, *_):
            return average_precision_score(truth, scores, average="macro")

        found = choose_C(X, labels, metric=metric, validation=folds, jobs=1, solver=solver)
        wanted = []
        for each in found.Cs:
            plain = LinearSVC(C=each, tol=1e-6, max_iter=1_000_000, random_state=0)
            cv = PredefinedSplit(folds)
            wanted.append(metric(cross_val_predict(plain, X, labels, cv=cv, method="decision_function")))
        assert found.scores == pytest.approx(wanted, abs=2e-3)
        assert (found.C, found.at_edge) == (found.Cs[int(np.argmax(wanted))], None) == (C, None)

    def test_where_all_is_right_the_smallest_C_is_taken_without_more(self):
        X, labels = descriptors(60, 100, 3, 0.1)
        found = choose_C(X, labels, metric=recall, validation=self.held, jobs=1)
        assert (found.C, found.Cs, found.scores, found.at_edge) == (CS[0], CS, (1.0,) * 7, None)

    def test_a_path_that_goes_on_keeps_its_kernel_and_comes_to_the_same_minimum(self):
        X, labels = descriptors(120, 200, 3, 1.5)
        positive = labels[:, None] == np.arange(3)
        problem, settings = Problem(X, positive, np.zeros_like(positive)), SolverSettings(jobs=1, device="cpu")
        path = NewtonPath(problem, settings)
        solve_whole(path, problem, CS)
        kernel = path.kernel
        for C in (1024.0, 4096.0, 1 / 64):
            on, alone = solve_whole(path, problem, [C]), solve_whole(NewtonPath(problem, settings), problem, [C])
            assert on.converged.all() and path.kernel is kernel
            np.testing.assert_allclose(X @ on.coef[0].T, X @ alone.coef[0].T, atol=5e-3)


class TestStratifiedHoldout:
    # 20 %: 30 -> 6 (the paper's Caltech-101), 12 -> 2.4 -> 2, 13 -> 2.6 -> 3, 2 -> at least 1, 1 -> stays
    @pytest.mark.parametrize(("size", "count"), [(30, 6), (60, 12), (12, 2), (13, 3), (4, 1), (2, 1), (1, 0)])
    def test_counts(self, size, count):
        labels = np.r_[np.zeros(size, int), np.ones(10, int)]
        held = stratified_holdout(labels)
        assert held.dtype == bool
        assert (held[:size].sum(), held[size:].sum()) == (count, 2)

    def test_half_a_sample_is_rounded_up_and_one_always_trains(self):
        assert stratified_holdout(np.zeros(5, int), 0.5).sum() == 3
        assert stratified_holdout(np.zeros(5, int), 0.99).sum() == 4

    def test_the_seed_decides(self):
        labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 30))
        masks = [stratified_holdout(labels, seed=seed) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(masks[0], masks[1])
        assert (masks[0] != masks[2]).any()

    def test_every_sample_has_its_chance(self):
        labels = np.repeat([0, 1], 10)
        drawn = sum(stratified_holdout(labels, seed=seed).astype(int) for seed in range(400))
        assert drawn.sum() == 400 * 4
        assert drawn.min() > 50 and drawn.max() < 115  # 80 expected, standard deviation 8

    def test_names_serve_as_labels(self):
        held = stratified_holdout(np.repeat(["cat", "dog"], 10), 0.3)
        assert held[:10].sum() == held[10:].sum() == 3

    @pytest.mark.parametrize("fraction", [0, 1, -0.1, np.nan])
    def test_refuses_fractions(self, fraction):
        with pytest.raises(UsageError, match="between 0 and 1"):
            stratified_holdout([0, 0], fraction)

    def test_refuses_classes_of_one(self):
        with pytest.raises(UsageError, match="no class has two"):
            stratified_holdout([0, 1, 2])


class TestStratifiedFolds:
    def test_the_counts_are_scikit_learns(self):
        labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [23, 7, 60]))
        folds = stratified_folds(labels)
        assert np.ptp(np.bincount(folds)) == 0  # 90 samples in five folds
        for k in range(3):
            theirs = [(labels[test] == k).sum() for _, test in StratifiedKFold(5).split(labels, labels)]
            assert sorted(np.bincount(folds[labels == k])) == sorted(theirs)

    def test_a_small_class_is_in_fewer_folds_and_a_single_sample_in_none(self):
        labels = np.array(["many"] * 20 + ["two"] * 2 + ["three"] * 3 + ["one"])
        folds = stratified_folds(labels)
        assert len(set(folds[labels == "two"])) == 2
        assert len(set(folds[labels == "three"])) == 3
        assert folds[labels == "one"].tolist() == [-1]
        assert set(folds[labels == "many"]) == set(range(5))

    def test_three_samples_make_three_folds(self):
        assert sorted(stratified_folds(["a", "a", "a", "b"])) == [-1, 0, 1, 2]

    def test_the_seed_decides(self):
        labels = np.repeat(np.arange(10), 30)
        one, same, other = (stratified_folds(labels, seed=seed) for seed in (0, 0, 1))
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    def test_refuses(self):
        with pytest.raises(UsageError, match="at least 2 folds, not 1"):
            stratified_folds([0, 0], folds=1)
        with pytest.raises(UsageError, match="no class has two"):
            stratified_folds([0, 1, 2])
        with pytest.raises(UsageError, match="labels must be"):
            stratified_folds([[0, 0]])
