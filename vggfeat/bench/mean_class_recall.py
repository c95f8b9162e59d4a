"""The protocol of Caltech (Appendix B): random splits, C chosen on a fifth of the training images, mean class recall.

Outside the paper five-fold cross-validation chooses C, because a fifth of a small set decides by chance. A folder with
its own train/ and test/ is one split, and its val/ chooses C.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.protocol import Fold, Protocol, Splits
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.data import ImageSet, random_split
from vggfeat.errors import DataError, UsageError
from vggfeat.metrics import class_recalls

FEW = 5  # a note names a class that has fewer test images


def class_splits(benchmark: Benchmark, images: ImageSet, settings: BenchmarkSettings) -> Splits:
    """Random splits with the numbers of the settings or the benchmark, or the data set's own split.

    Raises UsageError for numbers beside an own split, DataError for an own split without a test, or a class that is
    too small.
    """
    protocol = benchmark.protocol
    if images.subset is not None:
        if settings.has_split_numbers:
            raise UsageError(
                f"{images.name} has its own train and test; leave out seeds and numbers of images per class"
            )
        own = {0: _own_fold(protocol, images, images.subset)}
        return Splits(own, {"splits": "the folder's own"}, _small_test(images, own))
    train = settings.train_per_class or benchmark.train_per_class or _share(images, benchmark.train_share)
    test = settings.test_per_class or benchmark.test_per_class
    seeds = range(settings.seeds or benchmark.seeds)
    config = {"train_per_class": train, "test_per_class": test, "seeds": list(seeds)}
    folds = {seed: _random_fold(protocol, images, train, test, seed) for seed in seeds}
    return Splits(folds, config, _too_few(images, train) + _small_test(images, folds))


def _too_few(images: ImageSet, train_per_class: int) -> tuple[str, ...]:
    """A note if classes have fewer training images, since one image of each class is left for the test."""
    most = images.labels.sum(axis=0) - 1
    few = int((most < train_per_class).sum())
    if not few:
        return ()
    name = images.classes[int(most.argmin())]
    return (f"fewer than {train_per_class} training images: {few} of {len(most)} classes; {name} has {most.min()}",)


def _small_test(images: ImageSet, folds: Mapping[int, Fold]) -> tuple[str, ...]:
    """A note if a class has so few test images that one of them changes the value much."""
    tested = images.labels[next(iter(folds.values())).test].sum(axis=0)  # the same in all folds
    least = int(tested[tested > 0].min())
    if least >= FEW:
        return ()
    name, few = images.classes[list(tested).index(least)], int(((tested > 0) & (tested < FEW)).sum())
    worth = 100 / (least * int((tested > 0).sum()))
    return (
        f"fewer than {FEW} test images: {few} of {len(tested)} classes; {name} has {least}, "
        f"and each changes the value by {worth:.1f} points",
    )


def _random_fold(
    protocol: Protocol, images: ImageSet, train_per_class: int, test_per_class: int | None, seed: int
) -> Fold:
    train, test = random_split(images, train_per_class, test_per_class, seed)
    return Fold(train, protocol.validation(images, train, seed), test)


def _own_fold(protocol: Protocol, images: ImageSet, subset: np.ndarray) -> Fold:
    tests = subset == ("test" if (subset == "test").any() else "val")
    if not tests.any():
        raise DataError(f"{images.name}: there is a train folder but no test folder beside it; add one")
    train, validation = np.flatnonzero(~tests), np.flatnonzero((subset == "val") & ~tests)
    own = validation if len(validation) else protocol.validation(images, train, 0)
    return Fold(train, own, np.flatnonzero(tests))


def _share(images: ImageSet, share: float) -> int:
    """That share of the smallest class, so that all classes train on equally many images; at least 2, to choose C."""
    return max(2, int(share * images.labels.sum(axis=0).min()))


def _recalls(scores: np.ndarray, labels: np.ndarray, _ignore: np.ndarray) -> np.ndarray:
    return class_recalls(scores.argmax(axis=1), labels.argmax(axis=1), labels.shape[1])


MEAN_CLASS_RECALL = Protocol("mean class recall", _recalls, class_splits, every_class=True)
CROSS_VALIDATED_RECALL = replace(MEAN_CLASS_RECALL, cross_validates=True)
