"""ILSVRC's criterion, each branch by hand; the baselines, by hand and on real boxes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vggfeat import boxes as torch_boxes
from vggfeat.data.boxed import read_boxed
from vggfeat.errors import UsageError
from vggfeat.images import rescaled_size
from vggfeat.localization.criterion import (
    Reading,
    best_iou,
    constant_box,
    errors_by_class,
    fits,
    in_images,
    right_guesses,
    single_iou,
    top_error,
)

TRUE = np.array([[0.0, 0.0, 20.0, 20.0]])
HALF = (0.0, 0.0, 20.0, 10.0)  # IoU 0.5
FAR = (50.0, 50.0, 60.0, 60.0)


def right(
    classes: list[int], boxes: list[tuple[float, ...]], truth: np.ndarray = TRUE, reading: Reading = "kit"
) -> list[bool]:
    """Which guesses are right for an image of class 7."""
    return right_guesses([classes], [np.reshape(boxes, (-1, 4))], np.array([7]), [truth], reading)[0].tolist()


def test_class_and_box() -> None:
    assert right([7], [(0, 0, 20, 20)]) == [True, False, False, False, False]


def test_the_right_box_of_a_wrong_class() -> None:
    assert not any(right([3], [(0, 0, 20, 20)]))


def test_the_right_class_with_a_wrong_box() -> None:
    assert not any(right([7], [FAR]))


def test_exactly_half() -> None:
    assert right([7], [HALF])[0]
    assert not right([7], [HALF], reading="paper")[0]
    assert right([7], [(0, 0, 20, 10.1)], reading="paper")[0]
    assert not right([7], [(0, 0, 20, 9.9)])[0]


def test_any_of_several_true_boxes() -> None:
    truth = np.array([[0.0, 0.0, 20.0, 20.0], [48.0, 50.0, 60.0, 60.0]])
    assert right([7], [FAR], truth)[0]
    assert not right([7], [FAR], truth[:1])[0]


def test_the_fifth_guess_counts_and_the_sixth_does_not() -> None:
    assert right([1, 2, 3, 4, 7], [FAR] * 4 + [(0, 0, 20, 20)]) == [False] * 4 + [True]
    assert not any(right([1, 2, 3, 4, 5, 7], [FAR] * 5 + [(0, 0, 20, 20)]))


def test_fewer_than_five_guesses_and_none() -> None:
    assert right([1, 7], [FAR, HALF]) == [False, True, False, False, False]
    assert right([], []) == [False] * 5


def test_a_box_that_is_not_a_number_is_wrong() -> None:
    assert not any(right([7], [(np.nan, 0, 20, 20)]))


def test_errors_of_several_images() -> None:
    found = np.array([[True, False], [False, True], [False, False], [True, True]])
    assert top_error(found, 1) == 0.5
    assert top_error(found, 2) == 0.25
    assert np.isnan(top_error(found[:0]))


def test_errors_by_class() -> None:
    errors = errors_by_class(np.array([True, False, False, True]), np.array([0, 0, 2, 0]), 3)
    np.testing.assert_allclose(errors, [1 / 3, np.nan, 1])


def test_guesses_must_match() -> None:
    with pytest.raises(UsageError, match="guesses of 1 images, but 2 labels"):
        right_guesses([[1]], [TRUE], np.array([1, 2]), [TRUE])
    with pytest.raises(UsageError, match="image 0: 2 guessed classes, but 1 boxes"):
        right_guesses([[1, 2]], [TRUE], np.array([1]), [TRUE])


def test_an_unknown_reading() -> None:
    with pytest.raises(UsageError, match="no reading of the criterion 'voc'"):
        fits(np.ones(1), "voc")  # type: ignore[arg-type]


def test_the_overlap_is_that_of_torchvision() -> None:
    draw = np.random.default_rng(0).uniform(0, 50, (30, 2, 2))
    sets = np.concatenate([draw.min(axis=1), draw.max(axis=1)], axis=1)
    expected = torch_boxes.iou(torch.from_numpy(sets[:20]), torch.from_numpy(sets[20:])).max(dim=1).values
    np.testing.assert_allclose(best_iou(sets[:20], sets[20:]), expected)


def test_baselines_by_hand() -> None:
    boxes = [np.array([[0.0, 10.0, 50.0, 100.0], [0.0, 0.0, 1.0, 1.0]]), np.array([[20.0, 0.0, 40.0, 30.0]])]
    sizes = np.array([[100, 100], [40, 40]])
    mean = constant_box(boxes, sizes)
    np.testing.assert_allclose(mean, [0.25, 0.05, 0.75, 0.875])
    np.testing.assert_allclose(in_images(mean, np.array([[200, 100]])), [[25, 10, 75, 175]])
    np.testing.assert_allclose(in_images(np.array([0, 0, 1, 1]), sizes), [[0, 0, 100, 100], [0, 0, 40, 40]])
    np.testing.assert_allclose(single_iou(np.array([[0.0, 10.0, 50.0, 55.0], [0, 0, 40, 40]]), boxes), [0.5, 0.375])


def test_constant_boxes_of_birds_in_the_central_crop(shared: Callable[[str], Path]) -> None:
    """data/README: one constant box has an error of 40.7 % in the central crop of S=256."""
    file = shared("data/cub-10/boxes.csv")
    crops = []
    for subset in ("train", "test"):
        birds = read_boxed(file, subset)  # type: ignore[arg-type]
        new = np.array([rescaled_size(height, width, 256) for height, width in birds.sizes.tolist()])
        factors = (new / birds.sizes)[:, [1, 0, 1, 0]]
        corners = ((new - 224) // 2)[:, [1, 0, 1, 0]]
        crops.append(np.array([boxes[0] for boxes in birds.boxes]) * factors - corners)
    train, test = crops
    iou = single_iou(np.tile(train.mean(axis=0), (len(test), 1)), [box[None] for box in test])
    assert round(100 * (1 - fits(iou).mean()), 1) == 40.7


@pytest.mark.parametrize(("name", "error"), [("Faces", 29.4), ("Motorbikes", 0.1)])
def test_constant_boxes_of_caltech(shared: Callable[[str], Path], name: str, error: float) -> None:
    """data/README: 29.4 and 0.1 %, on the boxes of which they are the mean."""
    file, photos = shared(f"data/caltech101-boxes/{name}.csv"), shared("data/caltech101/101_ObjectCategories")
    found = read_boxed(file, "train", images=photos)
    iou = single_iou(in_images(constant_box(found.boxes, found.sizes), found.sizes), found.boxes)
    assert round(100 * (1 - fits(iou).mean()), 1) == error
