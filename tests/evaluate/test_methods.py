"""Dense, multi-crop and centre-crop posteriors: laws, recomputation from the plain net, and equality with timm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from tests.kit.foreign_files import CLASSES, narrow, randomise, torchvision_net
from vggfeat import weights
from vggfeat.classify import Classifier
from vggfeat.errors import UsageError
from vggfeat.evaluate.methods import Centre, Dense, MultiCrop, describers, grid_corners

Weights = Callable[..., Path]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): coarse squares, so that places differ."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
    return small.repeat(32, 0).repeat(32, 1)[:height, :width]


def posteriors(describer: Dense, *images: np.ndarray) -> np.ndarray:
    """float32 (N, S, K) of the first net."""
    rows = dict(describer.stream((i, describer.prepare(image)) for i, image in enumerate(images)))
    return np.stack([rows[i][0] for i in range(len(images))])


def oxford(image: np.ndarray) -> Tensor:
    """Oxford's preprocessing by hand: BGR, 0..255, minus the mean; (1, 3, H, W)."""
    x = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)[None].float()
    return x - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)


@pytest.fixture
def make(tiny_weights: Weights) -> Callable[..., Any]:
    def describer(kind: type[Dense], **options: Any) -> Dense:
        return kind("A", **{"scales": (224,), "weights": tiny_weights("A"), "device": "cpu", **options})

    return describer


def test_the_grid_by_hand() -> None:
    """256x341: 32 and 117 pixels of room, in quarters 8 and 29.25: 0, 29.25, 58.5, 87.75, 117."""
    corners = grid_corners(256, 341)
    assert corners[:5] == [(0, 0), (0, 29), (0, 58), (0, 88), (0, 117)]
    assert [y for y, _ in corners[::5]] == [0, 8, 16, 24, 32]
    assert len(set(corners)) == 25
    assert grid_corners(224, 224) == [(0, 0)] * 25


@settings(deadline=None)
@given(st.integers(224, 900), st.integers(224, 900), st.integers(1, 9))
def test_laws_of_the_grid(height: int, width: int, grid: int) -> None:
    corners = grid_corners(height, width, grid)
    assert len(corners) == grid**2
    assert all(0 <= y <= height - 224 and 0 <= x <= width - 224 for y, x in corners)
    columns = [x for _, x in corners[:grid]]
    if grid > 1:
        assert (columns[0], columns[-1]) == (0, width - 224)
        steps = np.diff(columns)
        assert steps.max() - steps.min() <= 1
    if grid % 2:
        assert corners[grid**2 // 2] == grid_corners(height, width, 1)[0]


def test_at_224_dense_is_the_fully_connected_net(make: Callable[..., Any], tiny_weights: Weights) -> None:
    image = photo(224, 224)
    vgg = weights.load(weights.read(tiny_weights("A")))
    x = oxford(image)
    expected = (vgg(x).softmax(1) + vgg(x.flip(3)).softmax(1)) / 2
    for kind in (Dense, MultiCrop):  # all crops of it are the image
        np.testing.assert_allclose(posteriors(make(kind), image)[0, 0], expected[0], atol=1e-6)
    np.testing.assert_allclose(posteriors(make(Centre), image)[0, 0], vgg(x).softmax(1)[0], atol=1e-6)


def test_multi_crop_is_the_mean_over_crops_and_mirror_images(make: Callable[..., Any], tiny_weights: Weights) -> None:
    """2 x 2 crops of a 230 x 249 image at Q = 230, one by one through the plain net: 6 and 25 pixels of room."""
    image = photo(230, 249, 1)
    vgg = weights.load(weights.read(tiny_weights("A")))
    crops = [oxford(image[y : y + 224, x : x + 224]) for y in (0, 6) for x in (0, 25)]
    each = torch.cat([vgg(crop).softmax(1) for crop in crops] + [vgg(crop.flip(3)).softmax(1) for crop in crops])
    found = posteriors(make(MultiCrop, grid=2, scales=(230,)), image)[0, 0]
    np.testing.assert_allclose(found, each.mean(0), atol=1e-6)
    assert float(each.std(0).max()) > 1e-4  # else any of them would do


def test_a_grid_of_one_is_the_centre_crop(make: Callable[..., Any]) -> None:
    images = photo(240, 251, 2), photo(251, 240, 3)
    one = posteriors(make(MultiCrop, grid=1, scales=(224, 240)), *images)
    centre = posteriors(make(Centre, mirror=True, scales=(224, 240)), *images)
    np.testing.assert_array_equal(one, centre)
    middle = posteriors(make(Centre, scales=(240,)), images[0])[0, 0]
    np.testing.assert_allclose(middle, posteriors(make(Centre), images[0][8:232, 13:237])[0, 0], atol=1e-6)


def test_dense_posteriors_are_those_of_the_classifier(make: Callable[..., Any], tiny_weights: Weights) -> None:
    image = photo(230, 290, 4)
    found = posteriors(make(Dense, scales=(224, 256)), image)[0]
    same = Classifier("A", scales=(224, 256), weights=tiny_weights("A"), device="cpu").posteriors(image)
    np.testing.assert_allclose(found.mean(axis=0), same, atol=1e-6)


@pytest.mark.parametrize("kind", [Dense, MultiCrop])
def test_the_mirror_image_has_the_same_posteriors(make: Callable[..., Any], kind: type[Dense]) -> None:
    image = photo(232, 256, 5)  # the room can be quartered
    for describer, same in ((make(kind, scales=(232,)), True), (make(kind, scales=(232,), mirror=False), False)):
        one, other = posteriors(describer, image, image[:, ::-1])
        assert (np.abs(one - other).max() < 1e-6) == same


def test_company_changes_nothing(make: Callable[..., Any]) -> None:
    """Crops of several images and scales share passes."""
    images = [photo(224 + 5 * i, 260 - 7 * i, i) for i in range(3)]
    describer = make(MultiCrop, grid=2, scales=(224, 250))
    together = posteriors(describer, *images)
    assert together.shape == (3, 2, 7)
    np.testing.assert_allclose(together.sum(axis=2), 1, rtol=1e-5)
    for image, row in zip(images, together, strict=True):
        np.testing.assert_allclose(posteriors(describer, image)[0], row, atol=1e-6)


@pytest.fixture
def timms(tmp_path: Path) -> tuple[Any, Path]:
    """timm's net A, narrow, and its weights in the native form."""
    from timm.layers import ClassifierHead
    from timm.models import vgg as timm_vgg

    with torch.device("meta"):
        model = timm_vgg.VGG(narrow("A"))
    model.features = torchvision_net("A").features  # the same modules there
    model.pre_logits = timm_vgg.ConvMlp(32, 256, 7)
    model.head = ClassifierHead(256, CLASSES)
    randomise(model, 1)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    return model.eval(), weights.convert(tmp_path / "timm.pth", tmp_path / "timm.safetensors").path


def test_equal_to_timm(timms: tuple[Any, Path]) -> None:
    """timm averages fc7 over space and then applies fc8, which is linear: the same scores before the soft-max."""
    model, file = timms
    image = photo(256, 320, 6)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    with torch.inference_mode():
        whole = model(to_tensor(image)[None]).softmax(1)[0]
        centre = model(v2.CenterCrop(224)(to_tensor(image))[None]).softmax(1)[0]
    options: dict[str, Any] = {"scales": (256,), "weights": file, "device": "cpu"}
    np.testing.assert_allclose(posteriors(Dense(mirror=False, **options), image)[0, 0], whole, atol=1e-5)
    np.testing.assert_allclose(posteriors(Centre(**options), image)[0, 0], centre, atol=1e-5)
    assert float((whole - centre).abs().max()) > 1e-3


def test_what_decides_the_numbers_is_in_the_fingerprint(make: Callable[..., Any]) -> None:
    prints = [
        make(kind, **options).fingerprint()[0]
        for kind, options in (
            (Dense, {}),
            (MultiCrop, {}),
            (MultiCrop, {"grid": 4}),
            (MultiCrop, {"grid": 1}),
            (Centre, {}),
            (Dense, {"mirror": False}),
            (Dense, {"scales": (256,)}),
        )
    ]
    assert all(a != b for i, a in enumerate(prints) for b in prints[:i])
    assert {one["layer"] for one in prints} == {"fc8"}
    assert (prints[1]["method"], prints[1]["grid"], prints[1]["crop"]) == ("multi-crop", 5, 224)


def test_methods_by_name(tiny_weights: Weights) -> None:
    files = f"{tiny_weights('A')},{tiny_weights('B')}"
    found = describers("both", "A,B", weights=files, scales=(224,), device="cpu", grid=3)
    assert [(type(one), one.nets[0].weights.net, one.mirror) for one in found] == [
        (Dense, "A", True),
        (Dense, "B", True),
        (MultiCrop, "A", True),
        (MultiCrop, "B", True),
    ]
    assert [one.grid for one in found if isinstance(one, MultiCrop)] == [3, 3]
    (centre,) = describers("centre", weights=tiny_weights("A"), scales=(224,))
    assert (type(centre), centre.mirror) == (Centre, False)
    (centre,) = describers("centre", weights=tiny_weights("A"), scales=(224,), mirror=True)
    assert centre.mirror


def test_arguments_that_cannot_be_meant(make: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="no method 'sparse'; take one of dense, multi-crop, both, centre"):
        describers("sparse")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="1 crop a side or more, not 0"):
        make(MultiCrop, grid=0)
    with pytest.raises(UsageError, match="Q=200 is too small"):
        make(MultiCrop, scales=(200,), ceil=True)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Dense, MultiCrop])
def test_the_gpu_gives_the_cpus_posteriors(make: Callable[..., Any], kind: type[Dense]) -> None:
    image = photo(256, 300, 7)
    there, here = (posteriors(make(kind, scales=(224, 256), device=device), image) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(there, here, atol=1e-5)
