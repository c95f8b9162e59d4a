"""The greedy merging of the boxes of one class (Appendix A.1).

Rule `library`. A pass goes through all pairs of the boxes that are there at its beginning, in the order of their
centres' distance, and merges a pair if it is mergeable and neither of the two was merged in this pass. Passes are
repeated until one merges nothing. A pair is mergeable if, with the limits of the rule,

    |y distance of the centres| <= vertical * the larger half-height
    |x distance of the centres| <= horizontal * the larger half-width
    1 - IoU <= apart

Rule `overfeat`. Of all boxes the pair with the smallest match score is merged, and the result takes the place of its
first box. That is repeated until the smallest score is above the limit. The score of two boxes is

    distance of the centres / mean of the two diagonals + 1 - IoU

A merged box has the average of the coordinates and the sum of the confidences and counts. In both rules equal boxes are
merged before anything else. Boxes are taken in the order of their coordinates, so that the result does not depend on
the order of the input; of pairs that are equally near or score the same, the one with the first box in this order comes
first, then the one with the first partner.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from vggfeat.errors import UsageError
from vggfeat.localization.rules import MergeRule

# How the pairs of a pass are found does not change the result; these are about the fastest.
FEW = 64  # boxes, of which all pairs are looked at
SAMPLES = 32  # boxes, from whose neighbours the first distance is estimated
NEIGHBOURS = 3  # the box itself included
GROWTH = 1.5  # of the distance

ROUNDING = 1e-9  # a bound of the relative errors of distances
ROWS = 64  # of the table of match scores that are computed at once

Floats = np.ndarray


class Merged(NamedTuple):
    """Merged boxes, the highest confidence first; equal confidences in the order of the coordinates.

    Parameters
    ----------
    boxes : ndarray, float64, shape (M, 4)
        x0, y0, x1, y1, in the units of the input.
    confidences : ndarray, float64, shape (M,)
        The sum of the confidences of the boxes that each stands for.
    counts : ndarray, int64, shape (M,)
        How many boxes each stands for.
    """

    boxes: np.ndarray
    confidences: np.ndarray
    counts: np.ndarray


def merge(boxes: ArrayLike, confidences: ArrayLike, rule: MergeRule | None = None) -> Merged:
    """Merge the boxes of one class.

    Parameters
    ----------
    boxes : array_like of float, shape (N, 4)
        x0, y0, x1, y1, in any unit.
    confidences : array_like of float, shape (N,)
        Such as the posterior of the class where the box was predicted.
    rule : MergeRule, optional
        When two boxes are merged. Default: ``MergeRule()``.

    Returns
    -------
    Merged

    Raises
    ------
    UsageError
        If a shape is wrong or a number is not finite.

    References
    ----------
    Appendix A.1, and Sermanet et al. (2014), Sect. 4.3.

    Examples
    --------
    >>> merge([[0, 0, 10, 10], [0, 0, 10, 12], [50, 0, 60, 10]], [0.5, 0.25, 0.5]).boxes.tolist()
    [[0.0, 0.0, 10.0, 11.0], [50.0, 0.0, 60.0, 10.0]]
    """
    rule = rule or MergeRule()
    corners, weights = np.asarray(boxes, np.float64), np.asarray(confidences, np.float64)
    if corners.ndim != 2 or corners.shape[1:] != (4,) or weights.shape != corners.shape[:1]:
        raise UsageError(f"boxes must be (N, 4) and confidences (N,), not {corners.shape} and {weights.shape}")
    if not (np.isfinite(corners).all() and np.isfinite(weights).all()):
        raise UsageError("a box or a confidence is not a finite number")
    found = _in_order(Merged(corners, weights, np.ones(len(corners), np.int64)))
    if rule.rule != "none":
        found = _equal_merged(found)
        found = _by_distance(found, rule) if rule.rule == "library" else _by_score(found, rule)
        found = _in_order(found)
    first = np.argsort(-found.confidences, kind="stable")
    return Merged(*(values[first] for values in found))


def _in_order(found: Merged) -> Merged:
    """Sorted by the coordinates, then by the confidences."""
    order = np.lexsort((found.confidences, *found.boxes.T[::-1]))
    return Merged(*(values[order] for values in found))


def _equal_merged(found: Merged) -> Merged:
    """One box in place of equal ones, which lie together."""
    if not len(found.boxes):
        return found
    starts = np.flatnonzero(np.r_[True, (found.boxes[1:] != found.boxes[:-1]).any(axis=1)])
    sums = (np.add.reduceat(values, starts) for values in found[1:])
    return Merged(found.boxes[starts], *sums)


def _by_distance(found: Merged, rule: MergeRule) -> Merged:
    """Rule `library`."""
    while len(pairs := _pass(found.boxes, rule)):
        left = np.delete(np.arange(len(found.boxes)), pairs.ravel())
        first, second = (Merged(*(values[side] for values in found)) for side in pairs.T)
        merged = _averages(first, second, rule)
        found = Merged(*(np.concatenate([old[left], new]) for old, new in zip(found, merged, strict=True)))
        found = _in_order(found)
    return found


def _averages(a: Merged, b: Merged, rule: MergeRule) -> Merged:
    """What each box of one set and its partner in the other become."""
    share = a.counts / (a.counts + b.counts) if rule.average == "counts" else np.full(len(a.counts), 0.5)
    boxes = share[:, None] * a.boxes + (1 - share)[:, None] * b.boxes
    return Merged(boxes, a.confidences + b.confidences, a.counts + b.counts)


def _pass(boxes: Floats, rule: MergeRule) -> np.ndarray:
    """The pairs that a pass merges, int (P, 2)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    # IoU is at most the ratio of the widths, and of the heights: no partner is larger than 1 / (1 - apart) of a box
    limits = np.array([rule.horizontal, rule.vertical]) * (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = np.hypot(*limits.T) / (1 - rule.apart) * (1 + ROUNDING)
    free = np.ones(len(boxes), bool)
    merged = [np.zeros((0, 2), np.int64)]
    near = -1.0  # the pairs up to this distance are done
    while len(left := np.flatnonzero(free & (reach > near))) > 1:
        far = float(reach[left].max())
        tree = cKDTree(centres[left], compact_nodes=False, balanced_tree=False)
        if len(left) > FEW:  # not all pairs at once: most boxes are merged with one of their nearest
            some = centres[left[:: len(left) // SAMPLES]]
            wanted = max(GROWTH * near, float(tree.query(some, NEIGHBOURS)[0][:, -1].mean()))
            far = min(far, wanted) if wanted > near else far  # not larger if all have the same centre
        pairs = left[tree.query_pairs(far * (1 + ROUNDING), output_type="ndarray")]
        distance = np.hypot(*(centres[pairs[:, 0]] - centres[pairs[:, 1]]).T)
        due = np.flatnonzero((distance > near) & (distance <= far))
        due = due[_mergeable(boxes[pairs[due, 0]], boxes[pairs[due, 1]], rule)]
        order = due[np.lexsort((pairs[due, 1], pairs[due, 0], distance[due]))]
        merged.append(_each_once(pairs[order], len(boxes)))
        free[merged[-1]] = False
        near = far
    return np.concatenate(merged)


def _each_once(pairs: np.ndarray, boxes: int) -> np.ndarray:
    """The pairs of which neither box is in a pair that was taken before, int (P, 2)."""
    taken = bytearray(boxes)
    rows = []
    for row, (first, second) in enumerate(zip(*pairs.T.tolist(), strict=True)):
        if not (taken[first] or taken[second]):
            taken[first] = taken[second] = True
            rows.append(row)
    return pairs[rows]


def _mergeable(a: Floats, b: Floats, rule: MergeRule) -> np.ndarray:
    """Whether rule `library` merges each box of one set with its partner in the other, bool (...)."""
    apart = np.abs((a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:]))  # twice the distance of the centres
    sides = np.maximum(a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2])
    near = apart <= np.array([rule.horizontal, rule.vertical]) * sides
    return near[..., 0] & near[..., 1] & (1 - overlap(a, b) <= rule.apart)


def overlap(a: Floats, b: Floats) -> Floats:
    """The IoU of each box of one set with its partner in the other; 0 if both are empty."""
    common = _area(np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None))
    union = _area(a[..., 2:] - a[..., :2]) + _area(b[..., 2:] - b[..., :2]) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _area(sides: Floats) -> Floats:
    return sides[..., 0] * sides[..., 1]  # several times faster than a product over the short axis


def _by_score(found: Merged, rule: MergeRule) -> Merged:
    """Rule `overfeat`."""
    partner, least = _best(found.boxes, np.arange(len(found.boxes)))
    while len(least) > 1 and least.min() <= rule.score:
        i = int(least.argmin())
        j = int(partner[i])
        first, second = (Merged(*(values[[row]] for values in found)) for row in (i, j))
        for values, new in zip(found, _averages(first, second, rule), strict=True):
            values[i] = new[0]
        lost = np.isin(partner, (i, j))
        found = Merged(*(np.delete(values, j, axis=0) for values in found))
        partner, least, lost = (np.delete(values, j) for values in (partner - (partner > j), least, lost))
        scores = _scores(found.boxes, np.array([i]))[0]
        better = (scores < least) | ((scores == least) & (i < partner))
        partner[better], least[better] = i, scores[better]
        rows = np.flatnonzero(lost | (np.arange(len(least)) == i))
        partner[rows], least[rows] = _best(found.boxes, rows)
    return found


def _best(boxes: Floats, rows: np.ndarray) -> tuple[np.ndarray, Floats]:
    """The partner with the smallest match score of some boxes, and this score. Of equal ones the first."""
    partner, least = np.zeros(len(rows), np.int64), np.full(len(rows), np.inf)
    for start in range(0, len(rows), ROWS):
        scores = _scores(boxes, rows[start : start + ROWS])
        partner[start : start + ROWS], least[start : start + ROWS] = scores.argmin(axis=1), scores.min(axis=1)
    return partner, least


def _scores(boxes: Floats, rows: np.ndarray) -> Floats:
    """The match scores of some boxes with all, (R, N); infinite with itself, and of two boxes without any extent."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = np.hypot(*np.moveaxis(centres[rows, None] - centres, -1, 0))
    diagonals = np.hypot(*(boxes[:, 2:] - boxes[:, :2]).T)
    mean = (diagonals[rows, None] + diagonals) / 2
    scores = (
        np.divide(distances, mean, out=np.full_like(mean, np.inf), where=mean > 0)
        + 1
        - overlap(boxes[rows, None], boxes)
    )
    scores[np.arange(len(rows)), rows] = np.inf
    return scores
