"""Random splits as in Appendix B: so many images a class for training, of the rest so many for the test."""

import zlib
from typing import NamedTuple

import numpy as np

from vggfeat.data.base import ImageSet
from vggfeat.errors import DataError, UsageError


class Split(NamedTuple):
    """Rows of an ImageSet, int, ascending, without a common one."""

    train: np.ndarray
    test: np.ndarray


def random_split(images: ImageSet, train_per_class: int, test_per_class: int | None, seed: int) -> Split:
    """Of each class, at most `train_per_class` images to train on and `test_per_class` others to test on.

    None takes all others. At least one image of a class is left for the test: a class of n images gives
    min(train_per_class, n - 1) to training. What is drawn of a class depends only on the seed, the class's
    name and the number of its images: not on other classes, the listing's order or numpy's version.

    Raises DataError for a class with fewer than two images, UsageError for numbers below 1 (a seed below 0).
    """
    if train_per_class < 1 or (test_per_class is not None and test_per_class < 1):
        raise UsageError("a split takes at least 1 image a class for training and 1 for the test")
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, not {seed}")
    labels = images.label_index
    train, test = [], []
    for label, name in enumerate(images.classes):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise DataError(f"{images.name}: a split takes two images a class, and {name} has {len(rows)}")
        drawn = rows[_shuffled(len(rows), name, seed)]
        first = min(train_per_class, len(rows) - 1)
        last = len(rows) if test_per_class is None else first + test_per_class
        train.append(drawn[:first])
        test.append(drawn[first:last])
    return Split(np.sort(np.concatenate(train)), np.sort(np.concatenate(test)))


def _shuffled(n: int, name: str, seed: int) -> np.ndarray:
    # numpy promises never to change the raw output of a bit generator; its shuffles may change.
    keys = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])).random_raw(n)
    return np.argsort(keys, kind="stable")
