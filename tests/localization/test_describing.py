"""From pixels to boxes: which window a place sees, and where its box lies in the photo, worked out by hand."""

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.kit.box_nets import constant_net, random_net
from vggfeat.classify import Classifier
from vggfeat.localization.describing import POSTERIORS, BoxDescriber
from vggfeat.localization.models import open_models
from vggfeat.localization.spec import LocalizerSpec

Make = Callable[..., Path]

WINDOW = (0, 0, 1, 1)  # the code of the window itself
QUARTER = (-0.25, -0.25, 0.5, 0.5)  # of its upper left quarter
NAMES = ("cat", "dog")


def image(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)


def described(models: Any, classifier: Any, protocol: int, size: tuple[int, int], *scales: int) -> dict[str, list[Any]]:
    spec = LocalizerSpec(scales=scales or (224,), device="cpu")
    describer = BoxDescriber(open_models(models, classifier), protocol, spec)
    ((_, values),) = describer.stream([(0, image(*size))])
    return dict(zip(describer.layers, values, strict=True))


def candidates(*given: Any) -> list[list[float]]:
    return described(*given)["boxes 0"][0].reshape(-1, 6).round(4).tolist()


@pytest.fixture
def pcr(tiny_weights: Make, tmp_path: Path) -> Path:
    """cat: the window; dog: its upper left quarter."""
    return constant_net(tiny_weights, tmp_path / "pcr.safetensors", [WINDOW, QUARTER], NAMES, "pcr").path


@pytest.fixture
def scr(tiny_weights: Make, tmp_path: Path) -> Path:
    return constant_net(tiny_weights, tmp_path / "scr.safetensors", QUARTER, NAMES, "scr").path


@pytest.fixture
def dogs(tiny_weights: Make, tmp_path: Path) -> Path:
    """A classifier that says dog with 3/4, and has the classes in another order."""
    return constant_net(tiny_weights, tmp_path / "dogs.safetensors", [log(3), 0], ("dog", "cat")).path


def test_the_window_of_each_place(pcr: Path, dogs: Path) -> None:
    dog = [[0, 0.75, x, 0, x + 112, 112] for x in (0, 32, 64)]  # the likeliest class first
    cat = [[1, 0.25, x, 0, x + 224, 224] for x in (0, 32, 64)]
    assert candidates(pcr, dogs, 2, (224, 300)) == dog + cat


def test_rows_of_places_follow_each_other(scr: Path) -> None:
    corners = [row[2:4] for row in candidates(scr, None, 2, (288, 256), 256)]
    assert corners == [[x, y] for y in (0, 32, 64) for x in (0, 32)]


def test_boxes_are_brought_back_to_the_photo_each_axis_by_its_own_factor(scr: Path) -> None:
    # 300x401 becomes 224x299, for 224 * 401 / 300 = 299.4
    x, y = 401 / 299, 300 / 224
    expected = [[0, 1, left * x, 0, (left + 112) * x, 112 * y] for left in (0, 32, 64)]
    assert np.allclose(candidates(scr, None, 2, (300, 401)), expected, atol=1e-3)


def test_one_box_for_all_classes(scr: Path, dogs: Path) -> None:
    assert candidates(scr, dogs, 2, (224, 224)) == [[0, 0.75, 0, 0, 112, 112], [1, 0.25, 0, 0, 112, 112]]


def test_small_photos_are_enlarged(scr: Path) -> None:
    assert candidates(scr, None, 2, (56, 56)) == [[0, 1, 0, 0, 28, 28]]


def test_the_centre_crop_has_a_box_for_each_class(pcr: Path, scr: Path) -> None:
    # 224x300: the crop begins at x = 38
    found = described([pcr, scr], None, 1, (448, 600))
    assert found["boxes 0"][0].tolist() == [76, 0, 524, 448, 76, 0, 300, 224]
    assert found["boxes 1"][0].tolist() == [76, 0, 300, 224]


def test_the_boxes_of_the_crop_do_not_depend_on_the_classifier(pcr: Path, dogs: Path) -> None:
    found = described(pcr, dogs, 1, (224, 224))
    assert list(found) == ["boxes 0"]
    assert found["boxes 0"][0].tolist() == [0, 0, 224, 224, 0, 0, 112, 112]  # cat, dog


def test_where_there_is_one_place_it_is_the_centre_crop(tiny_weights: Make, tmp_path: Path) -> None:
    models = [random_net(tiny_weights, tmp_path / f"{boxes}.safetensors", ("cat",), boxes) for boxes in ("pcr", "scr")]
    dense, centre = (described(models, None, protocol, (224, 224)) for protocol in (2, 1))
    for layer in ("boxes 0", "boxes 1"):
        assert np.ptp(dense[layer][0][2:]) > 1
        assert np.allclose(dense[layer][0][2:], centre[layer][0], rtol=1e-4, atol=1e-2)


def test_each_scale_has_its_candidates_and_posteriors_are_those_of_classify(tiny_weights: Make, tmp_path: Path) -> None:
    box_net = random_net(tiny_weights, tmp_path / "boxes.safetensors", NAMES, "pcr")
    classifier = random_net(tiny_weights, tmp_path / "classes.safetensors", NAMES, seed=1)
    found = described(box_net, classifier, 2, (224, 300), 224, 256)
    assert [len(of_scale) // 12 for of_scale in found["boxes 0"]] == [1 * 3, 2 * 4]
    known = Classifier(weights=str(classifier.path), scales=(224, 256), device="cpu").posteriors(image(224, 300))
    assert np.allclose(np.mean(found[POSTERIORS], axis=0), known, atol=1e-5)
    confidences = found["boxes 0"][0].reshape(2, 3, 6)[:, :, 1]
    assert np.allclose(confidences.sum(axis=0), 1, atol=1e-5)
    assert np.ptp(confidences[0]) > 1e-6
