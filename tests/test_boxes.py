"""Boxes: coding and its inverse, the way through rescale and crop, overlap by hand and by counted pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vggfeat import boxes
from vggfeat.images import rescaled_size

WHOLE = torch.tensor([[0.0, 0.0, 10.0, 20.0]])


def tensor(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def counted(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """IoU of boxes with whole corners in 0..20, by painting their pixels."""
    painted = np.zeros((2, 20, 20), bool)
    for layer, (x0, y0, x1, y1) in zip(painted, (a, b), strict=True):
        layer[y0:y1, x0:x1] = True
    union = (painted[0] | painted[1]).sum()
    return (painted[0] & painted[1]).sum() / union if union else 0.0


corner_pairs = st.tuples(*[st.integers(0, 20)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


def test_a_code_by_hand() -> None:
    code = boxes.encode(tensor((10, 20, 66, 132)), tensor((0, 0)))
    # the centre is (38, 76), that of the window (112, 112); the size is 56 x 112
    assert code.tolist() == [[-74 / 224, -36 / 224, 0.25, 0.5]]


def test_the_window_itself_has_the_code_of_the_unit_box() -> None:
    assert boxes.encode(tensor((30, 5, 254, 229)), tensor((30, 5))).tolist() == [[0, 0, 1, 1]]


@given(corner_pairs, st.integers(-300, 300), st.integers(-300, 300), st.sampled_from([1, 64, 224]))
@settings(max_examples=30, deadline=None)
def test_decoding_is_the_inverse(box: tuple[int, ...], x: int, y: int, side: int) -> None:
    window = tensor((x, y))
    again = boxes.decode(boxes.encode(tensor(box), window, side), window, side)
    torch.testing.assert_close(again, tensor(box), rtol=0, atol=1e-9)


def test_a_negative_size_becomes_an_empty_box() -> None:
    box = boxes.decode(tensor((0, 0, -0.5, 0.5)), tensor((0, 0)))
    assert box.tolist() == [[112, 56, 112, 168]]


@given(
    height=st.integers(40, 900),
    width=st.integers(40, 900),
    q=st.sampled_from([256, 384]),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=50, deadline=None)
def test_through_rescale_and_crop_and_back(
    height: int, width: int, q: int, corners: tuple[float, ...], place: tuple[float, float]
) -> None:
    (x0, x1), (y0, y1) = sorted(corners[:2]), sorted(corners[2:])
    box = torch.tensor([[x0 * width, y0 * height, x1 * width, y1 * height]], dtype=torch.float32)
    size, new = (height, width), rescaled_size(height, width, q)
    window = torch.tensor([[int(place[0] * (new[1] - 224)), int(place[1] * (new[0] - 224))]], dtype=torch.float32)
    code = boxes.encode(boxes.rescaled(box, size, new), window)
    again = boxes.rescaled(boxes.decode(code, window), new, size)
    assert (again - box).abs().max() < 0.5


def test_each_axis_has_its_own_factor() -> None:
    assert rescaled_size(333, 500, 256) == (256, 384)
    box = boxes.rescaled(tensor((0, 0, 500, 333)), (333, 500), (256, 384))
    torch.testing.assert_close(box, tensor((0, 0, 384, 256)))


@pytest.mark.parametrize(
    ("window", "share"),
    [((0, 0), 1), ((5, 0), 0.5), ((-219, 0), 0.5), ((5, 10), 0.25), ((10, 0), 0), ((400, 400), 0)],
)
def test_how_much_lies_inside(window: tuple[int, int], share: float) -> None:
    assert boxes.inside(WHOLE, torch.tensor([window], dtype=torch.float32)).tolist() == [share]


def test_an_empty_box_is_not_inside() -> None:
    assert boxes.inside(tensor((3, 3, 3, 9)), tensor((0, 0))).tolist() == [0]


def test_overlap_by_hand() -> None:
    # half of the box; moved by a third of its width: 2/3 of 4/3; the same; apart; touching; empty
    others = tensor((0, 0, 3, 3), (2, 0, 8, 3), (0, 0, 6, 3), (9, 9, 12, 12), (6, 0, 9, 3), (1, 1, 1, 1))
    found = boxes.iou(tensor((0, 0, 6, 3)), others)[0]
    torch.testing.assert_close(found, torch.tensor([0.5, 0.5, 1, 0, 0, 0], dtype=torch.float64))
    assert boxes.iou(tensor((1, 1, 1, 1)), tensor((1, 1, 1, 1))).item() == 0


@given(corner_pairs, corner_pairs)
@settings(max_examples=50, deadline=None)
def test_overlap_equals_counted_pixels(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    assert boxes.iou(tensor(a), tensor(b)).item() == pytest.approx(counted(a, b), abs=1e-12)


def test_clipped() -> None:
    cut = boxes.clipped(tensor((-3, 5, 30, 12), (20, 20, 30, 30)), (10, 20))
    assert cut.tolist() == [[0, 5, 20, 10], [20, 10, 20, 10]]
