"""Measures of results: top-k error, average precision, class recall. Free of torch.

All values are fractions in [0, 1]. NaN means nothing to score: no positive samples, or no samples of a class.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError

__all__ = [
    "APKind",
    "average_precision",
    "class_recalls",
    "mean_average_precision",
    "mean_class_recall",
    "precision_recall",
    "top_k_error",
]

APKind = Literal["area", "11-point"]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def top_k_error(scores: ArrayLike, labels: ArrayLike, k: int = 5) -> float:
    """Compute the fraction of images whose true class is not among the k best classes.

    Ties count as errors: an image is right only if fewer than k different classes score at least as high as its true
    class. So a net with equal scores for all classes is always wrong, unless k >= K.

    Parameters
    ----------
    scores : array_like of float, shape (N, K)
        Score of each class for each image; higher is better.
    labels : array_like of int, shape (N,)
        True classes, in 0..K-1.
    k : int
        Number of guesses per image, at least 1.

    Returns
    -------
    float
        The error; NaN if N is 0.

    Raises
    ------
    UsageError
        If a score is NaN, a shape is wrong, a label is out of range, or k < 1.

    References
    ----------
    Sect. 4, where the error is given in per cent.

    Examples
    --------
    >>> top_k_error([[0.1, 0.9], [0.8, 0.2]], [1, 1], k=1)
    0.5
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
    """Compute precision and recall after each sample of the ranking, best score first.

    Samples with equal scores keep their order, as in the VOC development kit (the stable `sort(-out)` of Matlab).

    Parameters
    ----------
    scores : array_like of float, shape (N,)
        Score of each sample; higher is better. Infinite scores are allowed.
    positive : array_like of bool, shape (N,)
        Whether each sample is of the class.
    ignore : array_like of bool, shape (N,), optional
        Samples to leave out.

    Returns
    -------
    precision, recall : ndarray, float64, shape (M,)
        The curve of the M samples that are not ignored; recall is NaN if none of them is positive.

    Raises
    ------
    UsageError
        If a score is NaN, a mask is not bool, or the lengths are different.
    """
    hits = _ranked_hits(scores, positive, ignore)
    found = np.cumsum(hits)
    total = int(hits.sum())
    recall = found / total if total else np.full(len(hits), np.nan)
    return found / np.arange(1, len(hits) + 1), recall


def average_precision(
    scores: ArrayLike, positive: ArrayLike, ignore: ArrayLike | None = None, kind: APKind = "area"
) -> float:
    """Compute the average precision of one class, as the VOC development kits define it.

    It is different from scikit-learn's `average_precision_score`, which does not use the monotone envelope.

    Parameters
    ----------
    scores, positive, ignore
        As for `precision_recall`.
    kind : {"area", "11-point"}
        area (VOC-2010 and later): the area under the monotone envelope of the precision. 11-point (VOC-2007): the mean
        over t = 0, 0.1, ..., 1 of the highest precision at recall >= t.

    Returns
    -------
    float
        The average precision; NaN if no sample is positive.

    Raises
    ------
    UsageError
        As `precision_recall`, and if `kind` is unknown.

    Examples
    --------
    >>> average_precision([0.9, 0.8, 0.7], [False, True, True])
    0.6666666666666666
    """
    check_choice("kind of average precision", kind, APKind)
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
    """Compute the `average_precision` of each class, and their mean.

    Parameters
    ----------
    scores : array_like of float, shape (N, K)
        One column per class; higher is better.
    positive : array_like of bool, shape (N, K)
        Whether each sample is of each class.
    ignore : array_like of bool, shape (N, K), optional
        Samples to leave out of each class.
    kind : {"area", "11-point"}
        As for `average_precision`.

    Returns
    -------
    mean : float
        The mean over the classes with positive samples; NaN if there is no such class.
    values : ndarray, float64, shape (K,)
        The average precision of each class; NaN for a class without positive samples.

    Raises
    ------
    UsageError
        As `average_precision`.
    """
    table = _table(scores)
    wanted = _mask(positive, table.shape, "positive")
    ignored = np.zeros(table.shape, bool) if ignore is None else _mask(ignore, table.shape, "ignore")
    columns = zip(table.T, wanted.T, ignored.T, strict=True)
    values = np.array([average_precision(s, p, i, kind) for s, p, i in columns], np.float64)
    return mean_of_known(values), values


def class_recalls(predicted: ArrayLike, labels: ArrayLike, classes: int) -> Floats:
    """Compute the fraction of the samples of each class that are predicted as that class.

    Parameters
    ----------
    predicted, labels : array_like of int, shape (N,)
        Predicted and true classes, in 0..classes-1.
    classes : int
        Number of classes.

    Returns
    -------
    ndarray, float64, shape (classes,)
        The recall of each class; NaN for a class without samples.

    Raises
    ------
    UsageError
        If a class number is out of range or not an integer, or the lengths are different.
    """
    truth = _class_numbers(labels, None, classes, "labels")
    guess = _class_numbers(predicted, len(truth), classes, "predicted")
    samples = np.bincount(truth, minlength=classes)
    right = np.bincount(truth[guess == truth], minlength=classes)
    return np.divide(right, samples, out=np.full(classes, np.nan), where=samples > 0)


def mean_class_recall(predicted: ArrayLike, labels: ArrayLike, classes: int) -> float:
    """Compute the mean of `class_recalls` over the classes with samples, the measure of the Caltech benchmarks.

    Parameters
    ----------
    predicted, labels, classes
        As for `class_recalls`.

    Returns
    -------
    float
        The mean; NaN if there are no samples.

    Raises
    ------
    UsageError
        As `class_recalls`.

    Examples
    --------
    >>> mean_class_recall([0, 0, 1], [0, 1, 1], classes=2)
    0.75
    """
    return mean_of_known(class_recalls(predicted, labels, classes))


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
        raise UsageError(f"{int(np.isnan(scores).sum())} scores are NaN and cannot be ranked")


def _mask(mask: ArrayLike, shape: tuple[int, ...], name: str) -> Bools:
    array = np.asarray(mask)
    if array.dtype != np.bool_:  # numbers such as 1, -1 and 0 would become bool without a warning
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


def mean_of_known(values: Floats) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
