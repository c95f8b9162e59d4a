"""The protocol of VOC (Appendix B): the official split, mean average precision over the classes.

One C serves all classes: the one with the highest mAP on the samples that choose it, since mAP is what is reported (the
paper does not say whether its classes share C). Samples that are ignored for a class are left out of the training and
the ranking of that class only.
"""

from functools import partial

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.protocol import Fold, PerClass, Protocol, Splits, hold_out
from vggfeat.bench.settings import BenchmarkSettings
from vggfeat.data import ImageSet
from vggfeat.errors import DataError, UsageError
from vggfeat.metrics import APKind, mean_average_precision


def official_splits(benchmark: Benchmark, images: ImageSet, settings: BenchmarkSettings) -> Splits:
    """The one split of the data set.

    If the labels of test are public (VOC-2007), C is chosen by train -> val, then trainval -> test. If they are not
    (VOC-2012), val is reported and must choose nothing: train -> val, with C chosen on a fifth of train.

    Raises UsageError if random splits are asked for, DataError if the kit lacks the reported subset.
    """
    if settings.has_split_numbers:
        raise UsageError(f"{benchmark.name} has an official split; leave out seeds and numbers of images per class")
    if benchmark.reported == "test":
        fold = test_fold(images)
        if images.ignore[fold.test].all():
            raise DataError(f"{images.name}: its test images have no labels; get the test archive with annotations")
        return Splits({0: fold}, {"splits": "official, trainval -> test"})
    train, val = _rows(images, "train"), _rows(images, "val")
    return Splits({0: Fold(train, hold_out(images, train, 0), val)}, {"splits": "official, train -> val"})


def test_fold(images: ImageSet) -> Fold:
    """Train on trainval with the C that train -> val has chosen, for test. Raises DataError if there is no test."""
    train, val = _rows(images, "train"), _rows(images, "val")
    return Fold(np.union1d(train, val), val, _rows(images, "test"))


def _rows(images: ImageSet, subset: str) -> np.ndarray:
    rows = np.flatnonzero(images.subset == subset) if images.subset is not None else np.zeros(0, int)
    if not len(rows):
        raise DataError(
            f"{images.name}: the kit has no {subset} list; get its archive and unpack it in the same folder"
        )
    return rows


def _average_precisions(scores: np.ndarray, labels: np.ndarray, ignore: np.ndarray, kind: APKind) -> np.ndarray:
    return mean_average_precision(scores, labels, ignore, kind)[1]


def _sklearn(scores: np.ndarray, labels: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    """average_precision_score, which has no envelope: it differs from both official measures."""
    from sklearn.metrics import average_precision_score

    values = [
        average_precision_score(wanted[~left_out], column[~left_out]) if wanted.any() else np.nan
        for column, wanted, left_out in zip(scores.T, labels.T, ignore.T, strict=True)
    ]
    return np.array(values, np.float64)


AREA: PerClass = partial(_average_precisions, kind="area")
ELEVEN_POINT: PerClass = partial(_average_precisions, kind="11-point")

MAP_2007 = Protocol(
    "mAP (11-point)", ELEVEN_POINT, official_splits, also={"mAP (area)": AREA, "mAP (scikit-learn)": _sklearn}
)
MAP_2012 = Protocol(
    "mAP (area)", AREA, official_splits, also={"mAP (11-point)": ELEVEN_POINT, "mAP (scikit-learn)": _sklearn}
)
