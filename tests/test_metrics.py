"""Metrics: cases worked out by hand, the development kits' loops in exact arithmetic, laws."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, top_k_accuracy_score

from vggfeat.errors import UsageError
from vggfeat.metrics import (
    average_precision,
    class_recalls,
    mean_average_precision,
    mean_class_recall,
    precision_recall,
    top_k_error,
)

KINDS = ("area", "11-point")


# The kits' own procedure (VOCevalcls.m, VOCap.m) on their own labels 1 / -1 / 0, step by step, in fractions.
def kit_curve(scores: list[float], labels: list[int]) -> tuple[list[Fraction], list[Fraction]]:
    order = sorted(range(len(scores)), key=lambda i: -scores[i])  # sorted() is stable
    tp = fp = 0
    rec, prec = [], []
    for i in order:
        tp += labels[i] > 0
        fp += labels[i] < 0
        rec.append(Fraction(tp, labels.count(1)))
        prec.append(Fraction(tp, tp + fp) if tp + fp else Fraction(0))
    return rec, prec


def kit_11_point(rec: list[Fraction], prec: list[Fraction]) -> float:
    ap = Fraction(0)
    for tenth in range(11):
        at_least = [p for r, p in zip(rec, prec, strict=True) if r >= Fraction(tenth, 10)]
        ap += max(at_least, default=Fraction(0)) / 11
    return float(ap)


def kit_area(rec: list[Fraction], prec: list[Fraction]) -> float:
    mrec = [Fraction(0), *rec, Fraction(1)]
    mpre = [Fraction(0), *prec, Fraction(0)]
    for i in range(len(mpre) - 2, -1, -1):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return float(sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)) if mrec[i] != mrec[i - 1]))


KIT = {"11-point": kit_11_point, "area": kit_area}

# samples of (score, kit label); few distinct scores, so that ties are common
ranked = st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([1, -1, 0])), min_size=1, max_size=60)


class TestAveragePrecision:
    # Ranking + - + - -: precision 1, 1/2, 2/3, 1/2, 2/5 at recall 1/2, 1/2, 1, 1, 1.
    # Area: 1/2 * 1 + 1/2 * 2/3. 11-point: t <= 0.5 (six) reads 1, the other five 2/3.
    @pytest.mark.parametrize(("kind", "value"), [("area", 5 / 6), ("11-point", (6 + 5 * 2 / 3) / 11)])
    def test_by_hand(self, kind, value):
        positive = np.array([True, False, True, False, False])
        assert average_precision([5, 4, 3, 2, 1], positive, kind=kind) == pytest.approx(value, abs=1e-15)

    # - + + : precision 0, 1/2, 2/3; the envelope is 2/3 everywhere; without it the mean is (1/2 + 2/3) / 2.
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_envelope_looks_ahead(self, kind):
        positive = np.array([False, True, True])
        assert average_precision([3, 2, 1], positive, kind=kind) == pytest.approx(2 / 3, abs=1e-15)
        assert average_precision_score(positive, [3, 2, 1]) == pytest.approx(7 / 12)

    def test_recall_exactly_on_a_tenth_counts(self):
        """The first k of ten positives come first, the others after 90 negatives: t = 0..k tenths read 1."""
        for k in range(1, 10):
            positive = np.array([True] * k + [False] * 90 + [True] * (10 - k))
            scores = -np.arange(100.0)
            expected = ((k + 1) * 1 + (10 - k) * 10 / 100) / 11  # the rest reach 10/100 at the very end
            assert average_precision(scores, positive, kind="11-point") == pytest.approx(expected, abs=1e-15)

    def test_equal_scores_keep_their_order(self):
        positive = np.array([True, False])
        assert average_precision([1, 1], positive) == 1
        assert average_precision([1, 1], positive[::-1]) == 0.5

    @pytest.mark.parametrize("kind", KINDS)
    def test_ignored_samples_are_neither_hits_nor_misses(self, kind):
        scores = [9, 8, 7, 6]  # ignored, +, ignored, +
        positive = np.array([False, True, False, True])
        assert average_precision(scores, positive, ~positive, kind=kind) == 1
        assert average_precision(scores, positive, kind=kind) == pytest.approx(0.5)

    @pytest.mark.parametrize("kind", KINDS)
    def test_no_positives_is_nan(self, kind):
        assert math.isnan(average_precision([1, 2], np.zeros(2, bool), kind=kind))
        assert math.isnan(average_precision([1, 2], np.array([True, False]), np.array([True, False]), kind=kind))
        assert math.isnan(average_precision([], np.zeros(0, bool), kind=kind))

    @given(ranked)
    @settings(max_examples=200, deadline=None)
    def test_equals_the_kits(self, samples):
        scores, labels = [float(s) for s, _ in samples], [label for _, label in samples]
        if 1 not in labels:
            return
        rec, prec = kit_curve(scores, labels)
        for kind in KINDS:
            ours = average_precision(scores, np.array(labels) == 1, np.array(labels) == 0, kind)
            assert ours == pytest.approx(KIT[kind](rec, prec), abs=1e-12)

    @pytest.mark.parametrize("kind", KINDS)
    def test_equals_the_kits_on_long_lists(self, kind):
        rng = np.random.default_rng(1)
        for positives in (10, 20, 37, 250):
            labels = np.r_[np.ones(positives, int), np.zeros(60, int), -np.ones(700, int)]
            scores = rng.normal(size=len(labels)) + labels
            rec, prec = kit_curve(scores.tolist(), labels.tolist())
            ours = average_precision(scores, labels == 1, labels == 0, kind)
            assert ours == pytest.approx(KIT[kind](rec, prec), abs=1e-12)

    @given(ranked)
    @settings(max_examples=100, deadline=None)
    def test_ignoring_is_deleting(self, samples):
        scores, labels = (np.array(column) for column in zip(*samples, strict=True))
        kept = labels != 0
        for kind in KINDS:
            ignored = average_precision(scores, labels == 1, ~kept, kind)
            deleted = average_precision(scores[kept], labels[kept] == 1, kind=kind)
            assert ignored == deleted or (math.isnan(ignored) and math.isnan(deleted))

    @pytest.mark.parametrize("kind", KINDS)
    def test_order_and_scale_of_distinct_scores_do_not_matter(self, kind):
        rng = np.random.default_rng(0)
        scores, positive = rng.normal(size=100), rng.random(100) < 0.3
        expected = average_precision(scores, positive, kind=kind)
        shuffle = rng.permutation(100)
        assert average_precision(scores[shuffle], positive[shuffle], kind=kind) == expected
        assert average_precision(np.exp(scores), positive, kind=kind) == expected

    @pytest.mark.parametrize("kind", KINDS)
    def test_perfect_ranking_is_1(self, kind):
        assert average_precision(np.arange(50), np.arange(50) >= 33, kind=kind) == pytest.approx(1, abs=1e-15)

    def test_never_below_sklearn_which_has_no_envelope(self):
        rng = np.random.default_rng(2)
        differences = []
        for _ in range(50):
            scores, positive = rng.permutation(40.0 + np.arange(40)), rng.random(40) < 0.4
            differences.append(average_precision(scores, positive) - average_precision_score(positive, scores))
        assert min(differences) >= -1e-12
        assert max(differences) > 0.01

    def test_an_infinite_score_ranks_last(self):
        """The kits give a sample that is missing from a results file the score -inf."""
        assert average_precision([-np.inf, 0, 1], np.array([True, False, True])) == pytest.approx((1 + 2 / 3) / 2)

    @pytest.mark.parametrize(
        ("scores", "positive", "ignore", "kind", "says"),
        [
            ([0.5, np.nan], [True, False], None, "area", "1 scores are NaN"),
            ([0.5, 0.1], [1, -1], None, "area", "'positive' must be a bool array"),
            ([0.5, 0.1], [True, False], [0, 1], "area", "'ignore' must be a bool array"),
            ([0.5, 0.1], [True], None, "area", "shape"),
            ([[0.5, 0.1]], [[True, False]], None, "area", "one class"),
            ([0.5, 0.1], [True, False], None, "voc", "no kind of average precision .voc.; take one of area, 11-point"),
        ],
    )
    def test_refuses(self, scores, positive, ignore, kind, says):
        with pytest.raises(UsageError, match=says):
            average_precision(scores, np.array(positive), ignore, kind)


class TestMeanAveragePrecision:
    def test_by_hand(self):
        scores = np.array([[3, 1, 0], [2, 2, 0], [1, 3, 0]])
        positive = np.array([[True, True, False], [False, False, False], [True, False, False]])
        mean, values = mean_average_precision(scores, positive)
        # + - +: (1 + 2/3) / 2;  - - +: 1/3;  no positives
        np.testing.assert_allclose(values, [5 / 6, 1 / 3, np.nan])
        assert mean == pytest.approx((5 / 6 + 1 / 3) / 2)

    def test_ignore_is_by_class(self):
        scores = np.array([[2, 2], [1, 1]])
        positive = np.array([[False, False], [True, True]])
        ignore = np.array([[True, False], [False, False]])
        _, values = mean_average_precision(scores, positive, ignore, "11-point")
        np.testing.assert_allclose(values, [1, 0.5])

    def test_no_positives_at_all_is_nan(self):
        mean, values = mean_average_precision(np.ones((2, 3)), np.zeros((2, 3), bool))
        assert math.isnan(mean) and np.isnan(values).all()

    def test_refuses_masks_of_another_shape(self):
        with pytest.raises(UsageError, match="'ignore' has shape"):
            mean_average_precision(np.ones((2, 3)), np.ones((2, 3), bool), np.zeros((2, 2), bool))


class TestPrecisionRecall:
    def test_by_hand(self):
        precision, recall = precision_recall(
            [1, 5, 3, 4], np.array([True, True, False, False]), np.array([False, False, False, True])
        )
        np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
        np.testing.assert_allclose(recall, [1 / 2, 1 / 2, 1])

    def test_no_positives(self):
        precision, recall = precision_recall([2, 1], np.zeros(2, bool))
        assert (precision == 0).all() and np.isnan(recall).all()


class TestTopKError:
    scores = np.array([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1], [0.2, 0.3, 0.5]])

    @pytest.mark.parametrize(("k", "error"), [(1, 2 / 3), (2, 1 / 3), (3, 0), (5, 0)])
    def test_by_hand(self, k, error):
        # the true classes rank 2nd, 3rd, 1st
        assert top_k_error(self.scores, [2, 2, 2], k) == pytest.approx(error)

    def test_equals_sklearn_without_ties(self):
        rng = np.random.default_rng(0)
        scores, labels = rng.normal(size=(200, 12)), rng.integers(12, size=200)
        for k in range(1, 12):
            accuracy = top_k_accuracy_score(labels, scores, k=k, labels=np.arange(12))
            assert top_k_error(scores, labels, k) == pytest.approx(1 - accuracy)

    def test_ties_are_judged_pessimistically(self):
        assert top_k_error(np.zeros((4, 6)), [0, 1, 4, 5], k=5) == 1
        assert top_k_error([[1, 1, 0]], [1], k=1) == 1
        assert top_k_error([[1, 1, 0]], [1], k=2) == 0

    def test_no_images_is_nan(self):
        assert math.isnan(top_k_error(np.zeros((0, 6)), []))

    @pytest.mark.parametrize(
        ("scores", "labels", "k", "says"),
        [
            ([[np.nan, 1]], [0], 1, "NaN"),
            ([[0, 1]], [2], 1, "outside 0..1"),
            ([[0, 1]], [-1], 1, "outside 0..1"),
            ([[0, 1]], [0.0], 1, "must be integers"),
            ([[0, 1]], [0, 1], 1, "must be"),
            ([0, 1], [0, 1], 1, "samples, classes"),
            ([[0, 1]], [0], 0, "k >= 1"),
        ],
    )
    def test_refuses(self, scores, labels, k, says):
        with pytest.raises(UsageError, match=says):
            top_k_error(scores, labels, k)


class TestClassRecall:
    def test_by_hand(self):
        labels, predicted = [0, 0, 0, 0, 1, 1, 3], [0, 0, 0, 1, 1, 2, 0]
        np.testing.assert_array_equal(class_recalls(predicted, labels, 4), [0.75, 0.5, np.nan, 0])
        assert mean_class_recall(predicted, labels, 4) == pytest.approx(1.25 / 3)

    def test_equals_sklearn(self):
        rng = np.random.default_rng(0)
        labels, predicted = np.r_[np.arange(7), rng.integers(7, size=300)], rng.integers(7, size=307)
        assert mean_class_recall(predicted, labels, 7) == pytest.approx(balanced_accuracy_score(labels, predicted))

    def test_no_samples_is_nan(self):
        assert math.isnan(mean_class_recall([], [], 3))

    def test_refuses(self):
        with pytest.raises(UsageError, match="'predicted' must be"):
            mean_class_recall([0], [0, 1], 2)
        with pytest.raises(UsageError, match="'predicted' go from 0 to 2"):
            mean_class_recall([0, 2], [0, 1], 2)
