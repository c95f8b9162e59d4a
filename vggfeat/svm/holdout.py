"""Which training samples choose C."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat.errors import UsageError


def stratified_holdout(labels: ArrayLike, fraction: float = 0.2, seed: int = 0) -> NDArray[np.bool_]:
    """Draw the samples that choose C: a fraction of each class.

    Parameters
    ----------
    labels : array_like of int or str, shape (N,)
        The class of each sample.
    fraction : float
        Part of each class that is held out, in (0, 1). Half a sample is rounded up. At least one sample of a class is
        held out and at least one is not; a class with a single sample keeps it for training.
    seed : int
        The same labels and seed give the same samples.

    Returns
    -------
    ndarray of bool, shape (N,)
        True for the samples that are held out.

    Raises
    ------
    UsageError
        If `fraction` is not in (0, 1), or no class has two samples.

    Examples
    --------
    >>> int(stratified_holdout(["cat"] * 10 + ["dog"] * 5).sum())
    3
    """
    names = _names(labels)
    if not 0 < fraction < 1:
        raise UsageError(f"the fraction held out must lie between 0 and 1, not {fraction}")
    keys = np.random.default_rng(seed).random(len(names))
    held = np.zeros(len(names), bool)
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        count = min(max(int(fraction * len(members) + 0.5), 1), len(members) - 1)
        held[members[np.argsort(keys[members])[:count]]] = True
    if not held.any():
        raise UsageError("cannot hold out samples to choose C: no class has two")
    return held


def stratified_folds(labels: ArrayLike, folds: int = 5, seed: int = 0) -> NDArray[np.intp]:
    """Deal the samples of each class out to folds for cross-validation.

    Parameters
    ----------
    labels : array_like of int or str, shape (N,)
        The class of each sample.
    folds : int
        Number of folds, at least 2. A class with fewer samples is in fewer folds.
    seed : int
        The same labels and seed give the same folds.

    Returns
    -------
    ndarray of int, shape (N,)
        The fold of each sample, from 0, as in scikit-learn's `PredefinedSplit`. The only sample of a class is in no
        fold, which is -1: it always trains. The numbers of samples in the folds differ by at most 1, and so do those
        of each class.

    Raises
    ------
    UsageError
        If `folds` is below 2, or no class has two samples.

    Examples
    --------
    >>> sorted(stratified_folds(["cat"] * 4 + ["dog"], folds=2).tolist())
    [-1, 0, 0, 1, 1]
    """
    names = _names(labels)
    if folds < 2:
        raise UsageError(f"cross-validation needs at least 2 folds, not {folds}")
    keys = np.random.default_rng(seed).random(len(names))
    _, classes, counts = np.unique(names, return_inverse=True, return_counts=True)
    order = np.lexsort((keys, classes))
    dealt = order[counts[classes[order]] > 1]
    if not len(dealt):
        raise UsageError("cannot hold out samples to choose C: no class has two")
    numbers = np.full(len(names), -1)
    numbers[dealt] = np.arange(len(dealt)) % folds
    return numbers


def _names(labels: ArrayLike) -> NDArray[Any]:
    names = np.asarray(labels)
    if names.ndim != 1:
        raise UsageError(f"labels must be (N,), not {names.shape}")
    return names
