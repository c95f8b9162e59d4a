"""Which training samples choose C."""

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
    names = np.asarray(labels)
    if names.ndim != 1:
        raise UsageError(f"labels must be (N,), not {names.shape}")
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
