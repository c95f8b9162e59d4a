"""Dense, multi-crop and centre-crop posteriors: laws, recomputation from the plain net, and equality with timm."""

from collections.abc import Callable, Sequence
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
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine, Grid, Whole
from vggfeat.engine.devices import Cpu, Tuning
from vggfeat.engine.net import DenseNet
from vggfeat.engine.views import grid_corners
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.evaluate.methods import posterior_describers
from vggfeat.evaluate.settings import Methods
from vggfeat.spec import PosteriorSpec

Weights = Callable[..., Path]
Make = Callable[..., Describer]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): coarse squares, so that places differ."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
    return small.repeat(32, 0).repeat(32, 1)[:height, :width]


def posteriors(describer: Describer, *images: np.ndarray) -> np.ndarray:
    """float32 (N, S, K) of the first net."""
    rows = dict(describer.stream((i, describer.prepare(image)) for i, image in enumerate(images)))
    return np.stack([rows[i][0] for i in range(len(images))])


def oxford(image: np.ndarray) -> Tensor:
    """Oxford's preprocessing by hand: BGR, 0..255, minus the mean; (1, 3, H, W)."""
    x = torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1)[None].float()
    return x - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)


@pytest.fixture
def make(tiny_weights: Weights) -> Make:
    """make(method, grid=, mirror=, **fields of the spec): the describer of a narrow net A."""

    def describer(method: Methods, grid: int = 5, mirror: bool | None = None, **options: Any) -> Describer:
        spec = PosteriorSpec("A", **{"scales": (224,), "weights": tiny_weights("A"), "device": "cpu", **options})
        (found,) = posterior_describers(method, spec, grid=grid, mirror=mirror)
        return found

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
def test_laws_of_the_grid(height: int, width: int, side: int) -> None:
    corners = grid_corners(height, width, side)
    assert len(corners) == side**2
    assert all(0 <= y <= height - 224 and 0 <= x <= width - 224 for y, x in corners)
    columns = [x for _, x in corners[:side]]
    if side > 1:
        assert (columns[0], columns[-1]) == (0, width - 224)
        steps = np.diff(columns)
        assert steps.max() - steps.min() <= 1
    if side % 2:
        assert corners[side**2 // 2] == grid_corners(height, width, 1)[0]


def test_at_224_dense_is_the_fully_connected_net(make: Make, tiny_weights: Weights) -> None:
    image = photo(224, 224)
    vgg = weights.load(weights.read(tiny_weights("A")))
    x = oxford(image)
    expected = (vgg(x).softmax(1) + vgg(x.flip(3)).softmax(1)) / 2
    for method in ("dense", "multi-crop"):  # all crops of it are the image
        np.testing.assert_allclose(posteriors(make(method), image)[0, 0], expected[0], atol=1e-6)
    np.testing.assert_allclose(posteriors(make("centre"), image)[0, 0], vgg(x).softmax(1)[0], atol=1e-6)


def test_multi_crop_is_the_mean_over_crops_and_mirror_images(make: Make, tiny_weights: Weights) -> None:
    """2 x 2 crops of a 230 x 249 image at Q = 230, one by one through the plain net: 6 and 25 pixels of room."""
    image = photo(230, 249, 1)
    vgg = weights.load(weights.read(tiny_weights("A")))
    crops = [oxford(image[y : y + 224, x : x + 224]) for y in (0, 6) for x in (0, 25)]
    each = torch.cat([vgg(crop).softmax(1) for crop in crops] + [vgg(crop.flip(3)).softmax(1) for crop in crops])
    found = posteriors(make("multi-crop", grid=2, scales=(230,)), image)[0, 0]
    np.testing.assert_allclose(found, each.mean(0), atol=1e-6)
    assert float(each.std(0).max()) > 1e-4  # else any of them would do


def test_a_grid_of_one_is_the_centre_crop(make: Make) -> None:
    images = photo(240, 251, 2), photo(251, 240, 3)
    one = posteriors(make("multi-crop", grid=1, scales=(224, 240)), *images)
    centre = posteriors(make("centre", mirror=True, scales=(224, 240)), *images)
    np.testing.assert_array_equal(one, centre)
    middle = posteriors(make("centre", scales=(240,)), images[0])[0, 0]
    np.testing.assert_allclose(middle, posteriors(make("centre"), images[0][8:232, 13:237])[0, 0], atol=1e-6)


def test_dense_posteriors_are_those_of_the_classifier(make: Make, tiny_weights: Weights) -> None:
    image = photo(230, 290, 4)
    found = posteriors(make("dense", scales=(224, 256)), image)[0]
    same = Classifier("A", scales=(224, 256), weights=tiny_weights("A"), device="cpu").posteriors(image)
    np.testing.assert_allclose(found.mean(axis=0), same, atol=1e-6)


@pytest.mark.parametrize("method", ["dense", "multi-crop"])
def test_the_mirror_image_has_the_same_posteriors(make: Make, method: Methods) -> None:
    image = photo(232, 256, 5)  # 8 and 32 pixels beside a crop can be divided by 4
    for mirror, same in ((None, True), (False, False)):
        one, other = posteriors(make(method, scales=(232,), mirror=mirror), image, image[:, ::-1])
        assert (np.abs(one - other).max() < 1e-6) == same


def test_images_that_share_passes_have_the_same_posteriors(make: Make) -> None:
    """Crops of several images and scales go through the net together."""
    images = [photo(224 + 5 * i, 260 - 7 * i, i) for i in range(3)]
    describer = make("multi-crop", grid=2, scales=(224, 250))
    together = posteriors(describer, *images)
    assert together.shape == (3, 2, 7)
    np.testing.assert_allclose(together.sum(axis=2), 1, rtol=1e-5)
    for image, row in zip(images, together, strict=True):
        np.testing.assert_allclose(posteriors(describer, image)[0], row, atol=1e-6)


class SmallNet(DenseNet):
    """A net on a device whose memory is too small for more than `most` crops in a pass; `sizes` of the passes."""

    def __init__(self, net: DenseNet, most: int) -> None:
        super().__init__(net.weights, net.layer, mirror=net.mirror)
        self.most, self.sizes = most, list[int]()

    def __call__(self, pixels: Tensor, layers: Sequence[str]) -> list[Tensor]:
        self.sizes.append(len(pixels))
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().__call__(pixels, layers)


def on_small_device(describer: Describer, most: int) -> tuple[Describer, SmallNet]:
    """The same describer, with passes of 10 crops at most, on a device that has memory for `most`."""
    net = SmallNet(describer.engine.nets[0], most)
    machine = Cpu(Tuning(batch_pixels=2 * 10 * 224 * 224, waiting=1, at_once=1))  # with mirror images
    return describer.variant(engine=Engine([net], machine=machine)), net


def test_a_batch_of_crops_that_does_not_fit_is_halved(make: Make) -> None:
    """Three images have 4 crops each: passes of 10 and 2. Ten don't fit, nor do 5; later passes are smaller."""
    images = [photo(230 + i, 250, i) for i in range(3)]
    describer = make("multi-crop", grid=2, scales=(230,))
    small, net = on_small_device(describer, 4)
    np.testing.assert_allclose(posteriors(small, *images), posteriors(describer, *images), atol=1e-6)
    assert net.sizes[:4] == [10, 5, 3, 2]
    assert small.engine.batch_pixels < 5 * 224 * 224
    assert sum(size for size in net.sizes if size <= 4) == 12  # each crop once
    net.sizes.clear()
    posteriors(small, *images)
    assert max(net.sizes) <= 4


def test_an_image_whose_crops_fill_several_passes_is_whole(make: Make) -> None:
    """25 crops of one image on a device that takes one at a time."""
    describer = make("multi-crop", scales=(240,))
    small, net = on_small_device(describer, 1)
    image = photo(240, 260)
    np.testing.assert_allclose(posteriors(small, image), posteriors(describer, image), atol=1e-6)
    assert net.sizes.count(1) == 25


def test_a_crop_that_does_not_fit_by_itself_is_an_error(make: Make) -> None:
    small, _ = on_small_device(make("multi-crop", grid=2), 0)
    with pytest.raises(VggfeatError, match="not enough memory for an image of 224x224"):
        posteriors(small, photo(224, 224))


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


def test_equal_to_timm(make: Make, timms: tuple[Any, Path]) -> None:
    """timm averages fc7 over space and then applies fc8, which is linear: the same scores before the soft-max."""
    model, file = timms
    image = photo(256, 320, 6)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    with torch.inference_mode():
        whole = model(to_tensor(image)[None]).softmax(1)[0]
        centre = model(v2.CenterCrop(224)(to_tensor(image))[None]).softmax(1)[0]
    options: dict[str, Any] = {"scales": (256,), "weights": file}
    np.testing.assert_allclose(posteriors(make("dense", mirror=False, **options), image)[0, 0], whole, atol=1e-5)
    np.testing.assert_allclose(posteriors(make("centre", **options), image)[0, 0], centre, atol=1e-5)
    assert float((whole - centre).abs().max()) > 1e-3


def test_what_decides_the_numbers_is_in_the_fingerprint(make: Make) -> None:
    prints = [
        make(method, **options).fingerprint()[0]
        for method, options in (
            ("dense", {}),
            ("multi-crop", {}),
            ("multi-crop", {"grid": 4}),
            ("multi-crop", {"grid": 1}),
            ("centre", {}),
            ("dense", {"mirror": False}),
            ("dense", {"scales": (256,)}),
        )
    ]
    assert all(a != b for i, a in enumerate(prints) for b in prints[:i])
    assert {one["layer"] for one in prints} == {"fc8"}
    assert (prints[1]["method"], prints[1]["grid"], prints[1]["crop"]) == ("multi-crop", 5, 224)


def test_methods_by_name(tiny_weights: Weights) -> None:
    spec = PosteriorSpec("A,B", weights=f"{tiny_weights('A')},{tiny_weights('B')}", scales=(224,), device="cpu")
    found = posterior_describers("both", spec, grid=3)
    assert [(one.facts["method"], one.view, one.engine.nets[0].weights.net, one.spec.mirror) for one in found] == [
        ("dense", Whole(), "A", True),
        ("dense", Whole(), "B", True),
        ("multi-crop", Grid(3), "A", True),
        ("multi-crop", Grid(3), "B", True),
    ]
    assert [found[0].engine.nets, found[1].engine.nets] == [one.engine.nets for one in found[2:]]  # loaded once
    spec = PosteriorSpec(weights=tiny_weights("A"), scales=(224,))
    for mirror in (None, True):
        (centre,) = posterior_describers("centre", spec, mirror=mirror)
        assert (centre.view, centre.spec.mirror, centre.engine.mirror) == (Grid(1), bool(mirror), bool(mirror))


def test_invalid_arguments(make: Make) -> None:
    with pytest.raises(UsageError, match="no method 'sparse'; take one of dense, multi-crop, both, centre"):
        make("sparse")
    with pytest.raises(UsageError, match="at least 1 crop per side, not 0"):
        make("multi-crop", grid=0)
    with pytest.raises(UsageError, match="Q=200 is too small"):
        make("multi-crop", scales=(200,), ceil=True)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["dense", "multi-crop"])
def test_the_gpu_gives_the_cpus_posteriors(make: Make, method: Methods) -> None:
    image = photo(256, 300, 7)
    found, expected = (posteriors(make(method, scales=(224, 256), device=device), image) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(found, expected, atol=1e-5)
