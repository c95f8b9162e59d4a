"""Merging: cases by hand, and both rules against a slow reference that goes through all pairs."""

import math

import numpy as np
import pytest

from vggfeat.errors import UsageError
from vggfeat.localization import Merged, MergeRule, merge
from vggfeat.localization.merging import overlap

Box = tuple[float, ...]
Entry = tuple[Box, float, int]  # box, confidence, count

RULES = [
    MergeRule(),
    MergeRule(average="equal"),
    MergeRule(vertical=0.2, horizontal=0.6, apart=0.8),
    MergeRule("overfeat"),
    MergeRule("overfeat", score=1.2, average="equal"),
]


# --- an independent reference, without numpy ---


def centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = width * height if width > 0 and height > 0 else 0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0


def mergeable(a: Box, b: Box, rule: MergeRule) -> bool:
    (ax, ay), (bx, by) = centre(a), centre(b)
    half_width = max(a[2] - a[0], b[2] - b[0]) / 2
    half_height = max(a[3] - a[1], b[3] - b[1]) / 2
    near = abs(ax - bx) <= rule.horizontal * half_width and abs(ay - by) <= rule.vertical * half_height
    return near and 1 - iou(a, b) <= rule.apart


def joined(a: Entry, b: Entry, rule: MergeRule) -> Entry:
    wa, wb = (a[2], b[2]) if rule.average == "counts" else (1, 1)
    box = tuple((wa * p + wb * q) / (wa + wb) for p, q in zip(a[0], b[0], strict=True))
    return box, a[1] + b[1], a[2] + b[2]


def by_distance(entries: list[Entry], rule: MergeRule) -> list[Entry]:
    while True:
        entries.sort()
        pairs = sorted(
            (math.dist(centre(entries[i][0]), centre(entries[j][0])), i, j)
            for j in range(len(entries))
            for i in range(j)
            if mergeable(entries[i][0], entries[j][0], rule)
        )
        used: set[int] = set()
        new = []
        for _, i, j in pairs:
            if not {i, j} & used:
                used |= {i, j}
                new.append(joined(entries[i], entries[j], rule))
        if not new:
            return entries
        entries = [entry for i, entry in enumerate(entries) if i not in used] + new


def by_score(entries: list[Entry], rule: MergeRule) -> list[Entry]:
    def score(i: int, j: int) -> float:
        a, b = entries[i][0], entries[j][0]
        mean = (math.dist(a[:2], a[2:]) + math.dist(b[:2], b[2:])) / 2
        return math.dist(centre(a), centre(b)) / mean + 1 - iou(a, b)

    entries.sort()
    while len(entries) > 1:
        least, i, j = min((score(i, j), i, j) for j in range(len(entries)) for i in range(j))
        if least > rule.score:
            break
        entries[i] = joined(entries[i], entries[j], rule)
        del entries[j]
    return entries


def slow(boxes: np.ndarray, confidences: np.ndarray, rule: MergeRule) -> list[Entry]:
    """The merged boxes, sorted."""
    same: dict[Box, Entry] = {}
    for box, confidence in zip(map(tuple, boxes.tolist()), confidences.tolist(), strict=True):
        _, total, count = same.get(box, (box, 0.0, 0))
        same[box] = (box, total + confidence, count + 1)
    return sorted((by_distance if rule.rule == "library" else by_score)(list(same.values()), rule))


def random_boxes(n: int, objects: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around some objects, as a net predicts them; a few of them equal."""
    draw = np.random.default_rng(seed)
    sides = draw.uniform(20, 90, (objects, 2))
    of = draw.integers(0, objects, n)
    centres = draw.uniform(0, 200, (objects, 2))[of] + draw.normal(0, 0.2, (n, 2)) * sides[of]
    halves = sides[of] * np.exp(draw.normal(0, 0.25, (n, 2))) / 2
    boxes = np.concatenate([centres - halves, centres + halves], axis=1)
    boxes[: n // 10] = boxes[n // 2 : n // 2 + n // 10]
    return boxes, draw.random(n)


def test_overlap_is_that_of_the_reference() -> None:
    boxes, _ = random_boxes(40, 3, 0)
    expected = [[iou(tuple(a), tuple(b)) for b in boxes] for a in boxes]
    np.testing.assert_allclose(overlap(boxes[:, None], boxes), expected, atol=1e-12)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("n", "objects"), [(2, 1), (40, 2), (60, 8), (60, 60)])
def test_merging_equals_the_slow_reference(rule: MergeRule, n: int, objects: int) -> None:
    boxes, confidences = random_boxes(n, objects, seed=n + objects)
    found = merge(boxes, confidences, rule)
    expected = slow(boxes, confidences, rule)
    order = np.lexsort(found.boxes.T[::-1])
    np.testing.assert_allclose(found.boxes[order], [box for box, _, _ in expected], atol=1e-9)
    np.testing.assert_allclose(found.confidences[order], [total for _, total, _ in expected])
    assert found.counts[order].tolist() == [count for _, _, count in expected]


def test_many_boxes_equal_the_slow_reference() -> None:
    """So many that a pass looks at near pairs first."""
    boxes, confidences = random_boxes(400, 6, seed=3)
    found, expected = merge(boxes, confidences), slow(boxes, confidences, MergeRule())
    order = np.lexsort(found.boxes.T[::-1])
    np.testing.assert_allclose(found.boxes[order], [box for box, _, _ in expected], atol=1e-9)


@pytest.mark.parametrize("rule", [*RULES, MergeRule("none")], ids=str)
def test_the_order_of_the_input_does_not_matter(rule: MergeRule) -> None:
    boxes, confidences = random_boxes(150, 5, seed=1)
    first = merge(boxes, confidences, rule)
    order = np.random.default_rng(2).permutation(len(boxes))
    second = merge(boxes[order], confidences[order], rule)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("rule", [*RULES, MergeRule("none")], ids=str)
def test_nothing_is_lost_and_the_best_comes_first(rule: MergeRule) -> None:
    boxes, confidences = random_boxes(150, 5, seed=4)
    found = merge(boxes, confidences, rule)
    assert found.counts.sum() == 150
    assert found.confidences.sum() == pytest.approx(confidences.sum())
    assert (np.diff(found.confidences) <= 0).all()
    assert (found.boxes[:, :2] >= boxes[:, :2].min(0) - 1e-9).all()
    assert (found.boxes[:, 2:] <= boxes[:, 2:].max(0) + 1e-9).all()


# --- by hand ---


def merged(rule: MergeRule, *boxes: Box) -> list[Box]:
    """The merged boxes of boxes with confidence 1, sorted."""
    return sorted(map(tuple, merge(boxes, np.ones(len(boxes)), rule).boxes.tolist()))


@pytest.mark.parametrize(
    ("other", "one"),
    [
        ((3, 0, 23, 20), True),  # moved by 0.3 of the half-width, 10
        ((3.1, 0, 23.1, 20), False),
        ((0, 5, 20, 25), True),  # moved by 0.5 of the half-height; IoU 15/25
        ((0, 5.1, 20, 25.1), False),
        ((0, 0, 20, 10), True),  # IoU 0.5; the centres are 5 apart, and the larger half-height is 10
        ((0, 0, 20, 9.9), False),
        ((5, 5, 15, 15), False),  # the same centre, IoU 0.25
    ],
)
def test_each_limit_of_the_library_rule(other: Box, one: bool) -> None:
    assert (len(merged(MergeRule(), (0, 0, 20, 20), other)) == 1) == one


def test_the_nearest_pair_is_merged_first() -> None:
    # b and c are nearest. With a the result is 2.5 of the allowed 3 apart: weighted by counts, (0 + 2 + 3) / 3 + 0..10
    rule, boxes = MergeRule(), [(0, 0, 20, 20), (2, 0, 22, 20), (3, 0, 23, 20)]
    assert merged(rule, *boxes) == [pytest.approx((5 / 3, 0, 65 / 3, 20))]
    assert merged(MergeRule(average="equal"), *boxes) == [(1.25, 0, 21.25, 20)]


def test_a_pass_merges_a_box_once() -> None:
    # 0-1 and 4-5 are merged in the first pass, not 1-4; then 0.5 and 4.5 are 4 apart, and 0.3 of the half-width is 3
    boxes = [(float(x), 0.0, x + 20.0, 20.0) for x in (0, 1, 4, 5)]
    assert merged(MergeRule(), *boxes) == [(0.5, 0, 20.5, 20), (4.5, 0, 24.5, 20)]


def test_confidences_and_counts_are_added_up() -> None:
    found = merge([(0, 0, 20, 20), (0, 0, 20, 22), (80, 0, 90, 9)], [0.5, 0.25, 0.9])
    assert found.boxes.tolist() == [[80, 0, 90, 9], [0, 0, 20, 21]]
    assert found.confidences.tolist() == [0.9, 0.75]
    assert found.counts.tolist() == [1, 2]


def test_equal_boxes_are_one() -> None:
    assert merge([(0, 0, 5, 5)] * 3000, np.full(3000, 0.5)).counts.tolist() == [3000]


def test_many_boxes_around_one_centre() -> None:
    halves = np.linspace(10, 30, 120)[:, None]
    boxes = np.concatenate([-halves, -halves, halves, halves], axis=1)
    found, expected = merge(boxes, np.ones(120)), slow(boxes, np.ones(120), MergeRule())
    np.testing.assert_allclose(sorted(found.boxes.tolist()), [box for box, _, _ in expected])


def test_the_score_of_overfeat_by_hand() -> None:
    # 3x4 boxes have diagonals of 5. Moved by 1.5: 1.5 / 5 + 1 - 6 / 18 = 0.9667
    boxes = [(0.0, 0.0, 3.0, 4.0), (1.5, 0.0, 4.5, 4.0)]
    assert merged(MergeRule("overfeat", score=0.967), *boxes) == [(0.75, 0, 3.75, 4)]
    assert merged(MergeRule("overfeat", score=0.966), *boxes) == boxes


def test_no_rule_keeps_all_boxes() -> None:
    boxes = [(0.0, 0.0, 3.0, 4.0)] * 2
    assert merged(MergeRule("none"), *boxes) == boxes


@pytest.mark.parametrize("rule", ["library", "overfeat", "none"])
def test_no_boxes(rule: str) -> None:
    found = merge(np.zeros((0, 4)), [], MergeRule(rule))  # type: ignore[arg-type]
    assert isinstance(found, Merged) and found.boxes.shape == (0, 4)


@pytest.mark.parametrize("rule", ["library", "overfeat"])
def test_boxes_without_area_stay_apart(rule: str) -> None:
    boxes = [(1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 5.0), (2.0, 2.0, 2.0, 2.0)]
    assert merged(MergeRule(rule), *boxes) == boxes  # type: ignore[arg-type]


# --- errors ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "nms"}, "no merging rule 'nms'; take one of library, overfeat, none"),
        ({"average": "area"}, "no average 'area'"),
        ({"vertical": -1.0}, "vertical must be 0 or more and finite, not -1.0"),
        ({"score": math.inf}, "score must be 0 or more and finite"),
        ({"apart": 1.0}, "apart must be below 1"),
    ],
)
def test_invalid_rules(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MergeRule(**options)


@pytest.mark.parametrize(
    ("boxes", "confidences", "message"),
    [
        ([[0, 0, 1]], [1], r"boxes must be \(N, 4\)"),
        ([[0, 0, 1, 1]], [1, 2], r"not \(1, 4\) and \(2,\)"),
        ([[0, 0, 1, math.nan]], [1], "not a finite number"),
        ([[0, 0, 1, 1]], [math.inf], "not a finite number"),
    ],
)
def test_invalid_boxes(boxes: list, confidences: list, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        merge(boxes, confidences)
