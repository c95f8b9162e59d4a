"""The protocol of Caltech (Appendix B): random splits, C chosen on a fifth of the training images, mean class
recall. A folder with its own train/ and test/ is one split, and its val/ chooses C.
"""

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.protocol import Fold, Protocol, Splits, hold_out
from vggfeat.data import ImageSet, random_split
from vggfeat.errors import DataError, UsageError
from vggfeat.metrics import class_recalls


def class_splits(
    benchmark: Benchmark,
    images: ImageSet,
    seeds: int | None,
    train_per_class: int | None,
    test_per_class: int | None,
) -> Splits:
    """The splits that a benchmark asks for; None takes its own numbers.

    Raises DataError for a data set whose own subsets lack a test, or a class that is too small.
    """
    if images.subset is not None:
        if any(number is not None for number in (seeds, train_per_class, test_per_class)):
            raise UsageError(f"{images.name} has its own train and test: no seeds, no numbers of images a class")
        return Splits({0: _own_fold(images, images.subset)}, {"splits": "the folder's own"})
    seeds = benchmark.seeds if seeds is None else seeds
    train = benchmark.train_per_class if train_per_class is None else train_per_class
    if train is None:
        train = _share(images, benchmark.train_share)
    test_count = benchmark.test_per_class if test_per_class is None else test_per_class
    config = {"train_per_class": train, "test_per_class": test_count, "seeds": list(range(seeds))}
    by_seed = {seed: _random_fold(images, train, test_count, seed) for seed in range(seeds)}
    return Splits(by_seed, config, _too_few(images, train))


def _too_few(images: ImageSet, train_per_class: int) -> tuple[str, ...]:
    """One image of each class is left for the test, whatever was asked for."""
    most = images.labels.sum(axis=0) - 1
    few = int((most < train_per_class).sum())
    if not few:
        return ()
    name = images.classes[int(most.argmin())]
    return (f"fewer than {train_per_class} training images: {few} of {len(most)} classes; {name} has {most.min()}",)


def _random_fold(images: ImageSet, train_per_class: int, test_per_class: int | None, seed: int) -> Fold:
    train, test = random_split(images, train_per_class, test_per_class, seed)
    return Fold(train, hold_out(images, train, seed), test)


def _own_fold(images: ImageSet, subset: np.ndarray) -> Fold:
    tests = subset == ("test" if (subset == "test").any() else "val")
    if not tests.any():
        raise DataError(f"{images.name}: there is a train folder but no test folder beside it")
    train, validation = np.flatnonzero(~tests), np.flatnonzero((subset == "val") & ~tests)
    return Fold(train, validation if len(validation) else hold_out(images, train, 0), np.flatnonzero(tests))


def _share(images: ImageSet, share: float) -> int:
    """That share of the smallest class, so that all classes train on equally many images."""
    return max(1, int(share * images.labels.sum(axis=0).min()))


def _recalls(scores: np.ndarray, labels: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    return class_recalls(scores.argmax(axis=1), labels.argmax(axis=1), labels.shape[1])


RECALL = Protocol("mean class recall", _recalls, class_splits, every_class=True)
