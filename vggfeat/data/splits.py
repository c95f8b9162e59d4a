"""Random splits into training and test images, class by class (Appendix B)."""

import zlib
from typing import NamedTuple

import numpy as np

from vggfeat.data.base import ImageSet
from vggfeat.errors import DataError, UsageError


class Split(NamedTuple):
    """Rows of an ImageSet to train on and to test on; no row is in both.

    Parameters
    ----------
    train, test : ndarray, int, shape (M,)
        Row numbers from 0, in ascending order.
    """

    train: np.ndarray
    test: np.ndarray


def random_split(images: ImageSet, train_per_class: int, test_per_class: int | None, seed: int) -> Split:
    """Draw training and test images of each class at random.

    At least one image of each class is left for the test: a class of n images gives min(train_per_class, n - 1)
    training images. The draw of a class depends only on the seed, the name of the class and the number of its images;
    it is the same on every machine.

    Parameters
    ----------
    images : ImageSet
        A data set with one class per image.
    train_per_class : int
        The most training images of a class; at least 1.
    test_per_class : int or None
        The most test images of a class, at least 1; None for all that are not training images.
    seed : int
        Number of the split, from 0.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        If a class has fewer than two images.
    UsageError
        If an argument is out of range, or an image does not have exactly one class.

    Examples
    --------
    >>> from vggfeat.data import READERS
    >>> split = random_split(READERS["digits"](), train_per_class=30, test_per_class=50, seed=0)
    >>> split.train.shape, split.test.shape
    ((300,), (500,))

    References
    ----------
    Appendix B, Caltech-101 and Caltech-256.
    """
    if train_per_class < 1 or (test_per_class is not None and test_per_class < 1):
        raise UsageError("a split needs at least 1 training image and 1 test image per class")
    if seed < 0:
        raise UsageError(f"a seed must be 0 or more, not {seed}")
    labels = images.label_index
    train, test = [], []
    for label, name in enumerate(images.classes):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            raise DataError(f"{images.name}: class {name} has {len(rows)} images; a split needs at least two")
        drawn = rows[_shuffled(len(rows), name, seed)]
        first = min(train_per_class, len(rows) - 1)
        last = len(rows) if test_per_class is None else first + test_per_class
        train.append(drawn[:first])
        test.append(drawn[first:last])
    return Split(np.sort(np.concatenate(train)), np.sort(np.concatenate(test)))


def _shuffled(n: int, name: str, seed: int) -> np.ndarray:
    # numpy guarantees the raw output of a bit generator for ever, but not its shuffles
    keys = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])).random_raw(n)
    return np.argsort(keys, kind="stable")
