"""Which photos are held out together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vggfeat.errors import UsageError
from vggfeat.model.folds import can_be_held_out, grouped_folds


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=4, max_size=40), st.integers(0, 3))
def test_groups_stay_together_and_every_class_keeps_photos_to_train_on(photos, seed):
    labels, groups = np.array(photos).T
    labels = np.unique(labels, return_inverse=True)[1]
    try:
        folds = grouped_folds(labels, groups, seed)
    except UsageError:
        return
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    for fold in np.unique(folds[folds >= 0]):
        assert set(labels[folds != fold]) == set(labels)


def test_each_class_is_spread_over_the_folds():
    labels = np.repeat([0, 1], 10)
    folds = grouped_folds(labels, np.arange(20), seed=0)
    for label in (0, 1):
        assert np.bincount(folds[labels == label]).tolist() == [2, 2, 2, 2, 2]


def test_a_class_of_twins_alone_always_trains():
    labels, groups = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 2, 3, 4])
    assert can_be_held_out(labels, groups).tolist() == [False, True, True]
    folds = grouped_folds(labels, groups, seed=0)
    assert (folds[:2] == -1).all()
    assert (folds[2:] >= 0).all()


def test_twins_of_two_classes_count_as_the_rarer():
    """Without group 9 the class 1 has one photo left, so its photos can be held out."""
    labels, groups = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 9, 9, 3])
    folds = grouped_folds(labels, groups, seed=0)
    assert folds[3] == folds[4] != folds[5]
    assert folds[5] >= 0


def test_no_class_with_two_groups_cannot_be_divided():
    with pytest.raises(UsageError, match="no class has two"):
        grouped_folds(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]), seed=0)
