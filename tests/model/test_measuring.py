"""Figures are honest: nothing of a held-out photo takes part in its prediction."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from tests.kit.clusters import clusters, trainer
from vggfeat.model.clock import Clock
from vggfeat.model.curve import _part, learning_curve
from vggfeat.model.measuring import figures_of, hold_out
from vggfeat.model.samples import Candidate
from vggfeat.model.training import candidates_of

HOUR = 60


def recall_of(samples, groups=None):
    """Mean class recall, and what was held out."""
    made = trainer(samples, groups)
    held, _ = hold_out(made, [Candidate((q,)) for q in samples.scales], Clock(HOUR), silent=True)
    return figures_of(made, held, held[0].trained, Clock(0), []).recall, held


def test_what_means_nothing_is_not_recognised():
    """The choice of scales, aggregation and C finds something in noise; the figure does not contain it."""
    noise = clusters(per_class=16, apart=0, scales=(64, 96))
    recall, held = recall_of(noise)
    assert recall < 0.55  # a third, and three standard deviations
    assert max(one.trained.recall for one in held) > recall


def test_twins_on_both_sides_would_be_recognised():
    """Noise, each photo twice: without their groups, memory is taken for recognition."""
    noise = clusters(per_class=10, apart=0, dim=300)
    twice = replace(
        noise,
        scales={q: np.repeat(X, 2, axis=0) for q, X in noise.scales.items()},
        labels=np.repeat(noise.labels, 2),
        paths=["a.jpg"] * 60,
        sha256=[""] * 60,
    )
    assert recall_of(twice)[0] > 0.7  # a fifth of the photos have their twin in their own fold
    assert recall_of(twice, groups=np.repeat(np.arange(30), 2))[0] < 0.5


def test_held_out_photos_and_their_twins_do_not_train():
    samples = clusters()
    groups = np.arange(len(samples)) // 2
    _, held = recall_of(samples, groups)
    assert sorted(np.concatenate([one.rows for one in held])) == list(range(36))
    for one in held:
        assert not set(groups[one.rows]) & set(groups[one.training])


def test_a_training_is_that_of_scikit_learn():
    samples = clusters()
    made = trainer(samples)
    rows = np.arange(0, 36, 2)
    trained = made.train(rows, [Candidate((64,))])
    X = samples.matrix(Candidate((64,)))
    other = LinearSVC(C=trained.C, tol=1e-8, max_iter=100_000).fit(X[rows], samples.labels[rows])
    assert trained.margins(samples, np.arange(36)) == pytest.approx(other.decision_function(X), abs=1e-3)


def test_without_time_one_candidate_and_two_folds_are_measured_and_it_is_said():
    samples = clusters(scales=(64, 96))
    made, clock, notes = trainer(samples), Clock(0), []
    held, tried = hold_out(made, candidates_of((64, 96)), clock, silent=True)
    figures = figures_of(made, held, made.train(np.arange(36), tried), clock, notes)
    assert (len(held), [str(one) for one in tried]) == (2, ["Q=64,96 (mean)"])
    assert (figures.curve, figures.outsiders) == ((), None)
    assert "learning curve was not measured" in notes[0]
    assert "unknown classes: 0 of 3 were left out" in notes[1]
    assert figures.held_out == sum(len(one.rows) for one in held)


def test_the_best_scale_is_chosen():
    """One of two scales is noise."""
    samples = clusters(per_class=20, apart=2, scales=(64, 96))
    noise = clusters(per_class=20, apart=0, seed=5)
    mixed = replace(samples, scales={64: 20 * noise.scales[64], 96: samples.scales[96]})
    assert trainer(mixed).train(np.arange(60), candidates_of((64, 96))).candidate == Candidate((96,))


def test_outsiders_are_refused_when_they_are_far_and_members_are_kept():
    samples = clusters(per_class=10, apart=12)
    made = trainer(samples)
    held, tried = hold_out(made, candidates_of((64,)), Clock(HOUR), silent=True)
    figures = figures_of(made, held, made.train(np.arange(30), tried), Clock(HOUR), [])
    assert figures.outsiders.classes == 3
    assert figures.outsiders.refused > 0.9
    assert figures.kept > 0.85
    assert figures.recall == 1
    assert figures.calibration_error < 0.05


def test_a_part_of_the_photos_is_within_a_larger_one_and_even():
    labels = np.repeat([0, 1, 2], [20, 8, 2])
    rows = np.arange(30)
    quarter, half = _part(labels, rows, 1 / 4, seed=0), _part(labels, rows, 1 / 2, seed=0)
    assert np.bincount(labels[quarter]).tolist() == [5, 2, 2]
    assert np.bincount(labels[half]).tolist() == [10, 4, 2]
    assert set(quarter) < set(half)


def test_a_learning_curve_rises_where_photos_are_few():
    samples = clusters(per_class=20, apart=2, dim=30)
    made = trainer(samples)
    held, _ = hold_out(made, candidates_of((64,)), Clock(HOUR), silent=True)
    points, gains = learning_curve(made, held, Clock(HOUR), [])
    assert [point.photos for point in points] == [4, 8, 16]
    assert points[0].recall < points[-1].recall
    assert points[-1].gain == pytest.approx(points[-1].recall - points[-2].recall)
    assert np.mean(gains) == pytest.approx(points[-1].gain, abs=0.02)  # folds of unequal classes weigh differently


def test_classes_of_two_photos_have_no_curve_and_the_reason_is_said():
    samples = clusters(per_class=2)
    made, notes = trainer(samples), []
    held, _ = hold_out(made, candidates_of((64,)), Clock(HOUR), silent=True)
    assert learning_curve(made, held, Clock(HOUR), notes) == ((), ())
    assert notes == ["no learning curve: the classes have too few photos to train on a part of them"]
