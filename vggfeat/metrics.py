"""What a result is worth: top-k error, average precision, class recall, overlap of boxes; numpy only.

All values are fractions in [0, 1]; callers that print per cent multiply by 100.
NaN stands for "nothing to score here": no positives, no samples of a class.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat.errors import UsageError

APKind = Literal["area", "11-point"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def top_k_error(scores: ArrayLike, labels: ArrayLike, k: int = 5) -> float:
    """Fraction of images whose true class is not among the k best (the paper's Sect. 4, there in per cent).

    scores: (N, K), higher is better; labels: (N,) integers in 0..K-1. NaN when N is 0.
    Ties are judged pessimistically: an image is right only if fewer than k *other* classes score at least
    as high as its true class, so a net that answers the same for every class is wrong everywhere.
    With k >= K every image is right. Raises UsageError for NaN scores, wrong shapes, labels out of range.
    """
    table = _table(scores)
    truth = _class_numbers(labels, len(table), table.shape[1], "labels")
    if k < 1:
        raise UsageError(f"top-k error needs k >= 1, not {k}")
    if len(table) == 0:
        return float("nan")
    of_truth = np.take_along_axis(table, truth[:, None], axis=1)
    as_good = (table >= of_truth).sum(axis=1)  # counts the true class itself
    return float(np.mean(as_good > k))


def precision_recall(scores: ArrayLike, positive: ArrayLike, ignore: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Precision and recall after each sample of the ranking, best score first: the curve of VOC.

    scores: (N,), higher is better, infinities allowed; positive, ignore: (N,) bool.
    Ignored samples are left out: neither hits nor misses. Samples of equal score keep their given order, as
    in the VOC development kit (Matlab's stable `sort(-out)`): among ties, the list's order decides.
    Returns (precision, recall), float64 (M,) each, M the samples not ignored; recall is NaN if none is
    positive. Raises UsageError for NaN scores, masks that are not bool, unequal lengths.
    """
    hits = _ranked_hits(scores, positive, ignore)
    found = np.cumsum(hits)
    total = int(hits.sum())
    recall = found / total if total else np.full(len(hits), np.nan)
    return found / np.arange(1, len(hits) + 1), recall


def average_precision(
    scores: ArrayLike, positive: ArrayLike, ignore: ArrayLike | None = None, kind: APKind = "area"
) -> float:
    """Average precision of one class, as the VOC development kits define it; in [0, 1].

    kind "area" (VOC-2010 and later): area under the monotone precision envelope, all points.
    kind "11-point" (VOC-2007): mean over t = 0, 0.1, ..., 1 of the highest precision at recall >= t.
    Neither is scikit-learn's average_precision_score, which has no envelope.
    Arguments, ties and errors as in `precision_recall`; NaN without positives.
    """
    if kind not in get_args(APKind):
        raise UsageError(f"unknown kind of average precision {kind!r}: 'area' or '11-point'")
    hits = _ranked_hits(scores, positive, ignore)
    total = int(hits.sum())
    if total == 0:
        return float("nan")
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # highest precision at this recall or more
    if kind == "area":
        return float(envelope[hits].sum() / total)  # recall grows by 1/total at each hit, and only there
    # recall >= t/10 in integers: in floats 3/10 >= 0.1 * 3 is false
    reached = np.searchsorted(10 * found, np.arange(11) * total)
    return float(envelope[reached].mean())


def mean_average_precision(
    scores: ArrayLike, positive: ArrayLike, ignore: ArrayLike | None = None, kind: APKind = "area"
) -> tuple[float, Floats]:
    """Mean of `average_precision` over classes, and the value of each class.

    scores: (N, K); positive, ignore: (N, K) bool, a column a class.
    Returns (mean, (K,) float64). A class without positives is NaN and left out of the mean; the mean is NaN
    if no class has any. Raises UsageError as `precision_recall` does.
    """
    table = _table(scores)
    wanted = _mask(positive, table.shape, "positive")
    ignored = np.zeros(table.shape, bool) if ignore is None else _mask(ignore, table.shape, "ignore")
    columns = zip(table.T, wanted.T, ignored.T, strict=True)
    values = np.array([average_precision(s, p, i, kind) for s, p, i in columns], np.float64)
    return _mean_of_known(values), values


def class_recalls(predicted: ArrayLike, labels: ArrayLike, classes: int) -> Floats:
    """Fraction of each class's samples that were given that class; (classes,) float64, NaN for absent ones.

    predicted, labels: (N,) integers in 0..classes-1. Raises UsageError for others or unequal lengths.
    """
    truth = _class_numbers(labels, None, classes, "labels")
    guess = _class_numbers(predicted, len(truth), classes, "predicted")
    samples = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[guess == truth], minlength=classes)
    return np.divide(right, samples, out=np.full(classes, np.nan), where=samples > 0)


def mean_class_recall(predicted: ArrayLike, labels: ArrayLike, classes: int) -> float:
    """Mean of `class_recalls` over the classes with samples, the Caltech benchmarks' measure; NaN if none."""
    return _mean_of_known(class_recalls(predicted, labels, classes))


def iou(a: ArrayLike, b: ArrayLike) -> Floats:
    """Intersection over union of boxes, in [0, 1].

    a, b: (..., 4) finite numbers x0, y0, x1, y1 in continuous coordinates: a width is x1 - x0, without the
    +1 of the VOC kit's pixel indices. Shapes broadcast: (N, 1, 4) with (M, 4) gives (N, M).
    A box without area (x1 <= x0 or y1 <= y0) has overlap 0 with every box, itself too.
    Raises UsageError for other shapes and for coordinates that are not finite.
    """
    first, second = _boxes(a), _boxes(b)
    try:
        low = np.maximum(first[..., :2], second[..., :2])
    except ValueError:
        raise UsageError(f"boxes of shapes {first.shape} and {second.shape} don't broadcast") from None
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = _extent(low, high)
    union = _extent(first[..., :2], first[..., 2:]) + _extent(second[..., :2], second[..., 2:]) - shared
    return np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)


def _extent(low: Floats, high: Floats) -> Floats:
    return np.clip(high - low, 0, None).prod(axis=-1)


def _boxes(boxes: ArrayLike) -> Floats:
    array = np.asarray(boxes, np.float64)
    if array.ndim == 0 or array.shape[-1] != 4:
        raise UsageError(f"boxes must be (..., 4) as x0, y0, x1, y1, not {array.shape}")
    if not np.isfinite(array).all():
        raise UsageError("boxes must have finite coordinates: some are NaN or infinite")
    return array


def _ranked_hits(scores: ArrayLike, positive: ArrayLike, ignore: ArrayLike | None) -> Bools:
    """Whether each sample is a positive, best score first, ignored samples left out."""
    ranked = np.asarray(scores, np.float64)
    if ranked.ndim != 1:
        raise UsageError(f"scores of one class must be (N,), not {ranked.shape}")
    _refuse_nan(ranked)
    order = np.argsort(-ranked, kind="stable")
    hits = _mask(positive, ranked.shape, "positive")[order]
    return hits if ignore is None else hits[~_mask(ignore, ranked.shape, "ignore")[order]]


def _table(scores: ArrayLike) -> Floats:
    table = np.asarray(scores, np.float64)
    if table.ndim != 2:
        raise UsageError(f"scores must be (samples, classes), not {table.shape}")
    _refuse_nan(table)
    return table


def _refuse_nan(scores: Floats) -> None:
    if np.isnan(scores).any():
        raise UsageError(f"{int(np.isnan(scores).sum())} scores are NaN and can't be ranked")


def _mask(mask: ArrayLike, shape: tuple[int, ...], name: str) -> Bools:
    array = np.asarray(mask)
    if array.dtype != np.bool_:  # 1 / -1 / 0 would all be read as true or false in silence
        raise UsageError(f"{name!r} must be a bool array, not {array.dtype}: compare the labels first")
    if array.shape != shape:
        raise UsageError(f"{name!r} has shape {array.shape}, the scores {shape}")
    return array


def _class_numbers(numbers: ArrayLike, length: int | None, classes: int, name: str) -> NDArray[np.integer]:
    array = np.asarray(numbers)
    if array.ndim != 1 or (length is not None and len(array) != length):
        raise UsageError(f"{name!r} must be ({'N' if length is None else length},), not {array.shape}")
    if array.size == 0:
        return array.astype(np.intp)
    if not np.issubdtype(array.dtype, np.integer):
        raise UsageError(f"{name!r} must be integers, not {array.dtype}")
    if array.min() < 0 or array.max() >= classes:
        raise UsageError(f"{name!r} go from {array.min()} to {array.max()}, outside 0..{classes - 1}")
    return array


def _mean_of_known(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
