"""Descriptors of photos that nobody took, for tests of models."""

import numpy as np

from vggfeat.model.samples import Samples
from vggfeat.model.settings import FitSettings
from vggfeat.model.training import Trainer


def clusters(per_class=12, classes=3, apart=2.0, dim=8, scales=(64,), seed=0) -> Samples:
    """Samples whose classes lie `apart` standard deviations of one value from the origin, in different directions."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    made = {}
    for q in scales:
        made[q] = random.normal(size=(len(labels), dim)).astype(np.float32)
        made[q][np.arange(len(labels)), labels] += apart
    names = tuple(f"class {k}" for k in range(classes))
    return Samples(made, labels, names, [f"{i}.jpg" for i in range(len(labels))], [""] * len(labels))


def trainer(samples: Samples, groups=None, **settings) -> Trainer:
    """A trainer on one core. groups : of twins; by default there are none."""
    groups = np.arange(len(samples)) if groups is None else groups
    return Trainer(samples, groups, FitSettings(jobs=1, **settings), device="cpu")
