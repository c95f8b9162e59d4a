"""Which photos are held out together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vggfeat.svm import stratified_folds

FOLDS = 5


def grouped_folds(labels: NDArray[Any], groups: NDArray[Any], seed: int, folds: int = FOLDS) -> NDArray[np.intp]:
    """The fold of each photo, int (N,), as `stratified_folds`; photos of one group are in the same fold.

    labels : int (N,), 0..K-1. groups : int (N,). A group with several classes counts as one of its rarest class. A
    class that would have no training photos without some fold is in no fold: its photos are -1 and always train.

    Raises UsageError if no class has two groups.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    by_rarity = np.argsort(-np.bincount(labels)[labels], kind="stable")
    class_of = np.zeros(group_of.max() + 1, int)
    class_of[group_of[by_rarity]] = labels[by_rarity]  # the last one, of the rarest class, stays
    fold_of = stratified_folds(class_of, folds, seed)
    for number in range(labels.max() + 1):
        own = group_of[labels == number]
        if len(np.unique(fold_of[own])) == 1:
            fold_of[own] = -1
    return fold_of[group_of]


def can_be_held_out(labels: NDArray[Any], groups: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each class that occurs has photos of two groups, so that one can be held out; bool (K,)."""
    pairs = np.unique(np.stack([labels, groups], axis=1), axis=0)
    return np.unique(pairs[:, 0], return_counts=True)[1] > 1
