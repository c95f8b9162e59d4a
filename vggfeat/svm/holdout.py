"""Which training samples choose C."""

import numpy as np
from numpy.typing import ArrayLike

from vggfeat.errors import UsageError
from vggfeat.svm.problem import Bools


def stratified_holdout(labels: ArrayLike, fraction: float = 0.2, seed: int = 0) -> Bools:
    """Draw the samples that choose C: of each class the fraction, half rounded up; a bool mask (N,).

    At least one sample of a class is held out, and at least one is not; a class with a single sample keeps it
    for training. labels: (N,) integers or strings. The same labels and seed give the same mask.
    Raises UsageError if fraction is not in (0, 1) or no class has two samples.
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
        raise UsageError("can't hold out samples to choose C: no class has two")
    return held
