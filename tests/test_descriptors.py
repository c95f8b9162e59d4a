"""The descriptor: its laws, an independent recomputation, and what is said when it can't be had."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import vggfeat
from tests.kit.pixel_files import cut, encoded, picture
from vggfeat import weights
from vggfeat.descriptors import Describer
from vggfeat.engine import Box, Engine, Region
from vggfeat.engine.devices import CPU_TUNING, Cpu
from vggfeat.engine.net import DTYPES, DenseNet
from vggfeat.errors import ImageError, UsageError, VggfeatError, WeightsError
from vggfeat.images import rescale
from vggfeat.spec import DescriptorSpec
from vggfeat.weights import OXFORD, TORCHVISION, Preprocessing

Weights = Callable[..., Path]
Shared = Callable[[str], Path]


def photo(height: int = 240, width: int = 300, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): soft shapes with some noise, other ones for each seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    soft = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(soft + rng.integers(-20, 21, soft.shape), 0, 255).astype(np.uint8)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Each descriptor to `tolerance`, relative to its norm."""
    assert (found.dtype, found.shape) == (np.float32, expected.shape)
    norms = np.linalg.norm(expected, axis=-1)
    assert (norms > 0).all()
    assert (np.linalg.norm(found - expected, axis=-1) <= tolerance * norms).all()


@pytest.fixture
def make(tiny_weights: Weights) -> Callable[..., Describer]:
    """A describer of narrow nets on the CPU; options as Describer's; by default net D and one scale."""

    def describer(net: str = "D", machine: Cpu | None = None, **options: Any) -> Describer:
        files = ",".join(str(tiny_weights(name)) for name in net.split(","))
        spec = DescriptorSpec(net, **{"scales": (224,), "weights": files, "device": "cpu", **options})
        return Describer(spec=spec, engine=Engine.of(spec, machine))

    return describer


Make = Callable[..., Describer]


# Laws


@pytest.mark.parametrize("net", ["A", "A-LRN", "B", "B-5x5", "C", "D", "E"])
def test_norm_is_1_whatever_the_net(make: Make, net: str) -> None:
    found = make(net).describe(photo())
    assert (found.dtype, found.shape) == (np.float32, (256,))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert (found >= 0).all()
    assert (found > 0).sum() > 20


@pytest.mark.parametrize("normalize", ["l2", "per-scale"])
@pytest.mark.parametrize("agg", ["mean", "max", "stack"])
def test_norm_is_1_whatever_the_aggregation(make: Make, agg: str, normalize: str) -> None:
    describer = make(scales=(224, 256), agg=agg, normalize=normalize)
    found = describer.describe(photo())
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    assert found.shape == (describer.dim,) == (512 if agg == "stack" else 256,)


@pytest.mark.parametrize(("layer", "dim"), [("fc7", 256), ("fc6", 256), ("pool5", 32)])
def test_dimensions(make: Make, layer: str, dim: int) -> None:
    for net, scales, agg, expected in [
        ("D", (224,), "mean", dim),
        ("D", (224, 256), "max", dim),
        ("D", (224, 256), "stack", 2 * dim),
        ("D,E", (224, 256), "mean", 2 * dim),
        ("D,E", (224, 256), "stack", 4 * dim),
    ]:
        describer = make(net, layer=layer, scales=scales, agg=agg)
        assert describer.dim == expected
        assert describer.describe([photo()]).shape == (1, expected)


def test_dimensions_at_full_width() -> None:
    """The net is not loaded before an image is described, so the header of a file is enough."""
    header = weights.Weights(Path("none"), "E", 1.0, "oxford", OXFORD, "", "", None, "", "none.safetensors", "fc8")
    assert [DenseNet(header, "fc7").dim(layer) for layer in ("fc7", "fc6", "pool5")] == [4096, 4096, 512]


@pytest.mark.parametrize("layer", ["fc7", "pool5"])
def test_a_mirrored_image_has_the_same_descriptor(make: Make, layer: str) -> None:
    describer = make(layer=layer, scales=(224, 256))
    assert_close(describer.describe(photo()[:, ::-1]), describer.describe(photo()))
    alone = make(layer=layer, mirror=False)
    difference = alone.describe(photo()[:, ::-1]) - alone.describe(photo())
    assert np.linalg.norm(difference) > 1e-3
    assert np.array_equal(alone.describe(photo()[:, ::-1][:, ::-1]), alone.describe(photo()))


def test_mirroring_averages_the_image_and_its_mirror_image(make: Make) -> None:
    alone = make(mirror=False, normalize="none")
    expected = (alone.describe(photo()) + alone.describe(photo()[:, ::-1])) / 2
    assert_close(make(normalize="none").describe(photo()), expected)


@pytest.mark.parametrize("agg", ["mean", "max", "stack"])
def test_one_scale_aggregated_is_that_scale(make: Make, agg: str) -> None:
    raw = make(normalize="none", agg=agg).describe(photo())
    assert_close(make(agg=agg).describe(photo()), raw / np.linalg.norm(raw), 1e-6)


def test_scales_are_aggregated(make: Make) -> None:
    one, two = (make(scales=(q,), normalize="none").describe(photo()) for q in (224, 256))
    for agg, expected in [("mean", (one + two) / 2), ("max", np.maximum(one, two)), ("stack", np.r_[one, two])]:
        assert_close(make(scales=(224, 256), agg=agg, normalize="none").describe(photo()), expected)


@pytest.mark.parametrize("layer", ["fc7", "pool5"])
@pytest.mark.parametrize("scales", [(224,), (224, 256)])
def test_a_batch_gives_what_its_images_give_one_by_one(make: Make, layer: str, scales: tuple[int, ...]) -> None:
    """To 1e-5 relative; images of the same size go through the net together, whatever lies between them."""
    sizes = [(240, 300), (300, 240), (240, 300), (224, 224), (120, 150), (300, 240), (1, 2), (240, 301), (480, 600)]
    images = [photo(height, width, seed) for seed, (height, width) in enumerate(sizes)]
    describer = make(layer=layer, scales=scales)
    together = describer.describe(images)
    assert_close(together, np.stack([describer.describe(image) for image in images]))
    apart = np.linalg.norm(together[:, None] - together[None], axis=2)
    assert (apart[~np.eye(len(images), dtype=bool)] > 1e-3).all()  # each row can be told from the others


def test_same_size_images_share_a_pass(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    describer = make(scales=(224, 448), layer="pool5")
    sizes = []
    net = DenseNet.__call__

    def counted(self: DenseNet, pixels: Tensor, layers: Sequence[str]) -> list[Tensor]:
        sizes.append(tuple(pixels.shape))
        return net(self, pixels, layers)

    monkeypatch.setattr(DenseNet, "__call__", counted)
    describer.describe([photo(224, 224), photo(448, 448), photo(224, 300), photo(100, 100)])
    assert sum(n for n, _, h, w in sizes if (h, w) == (224, 224)) == 3
    assert (2, 3, 224, 224) in sizes  # 2 * 2 * 224 * 224 pixels with the mirror images: what a pass on a CPU takes


@pytest.fixture
def small_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """After small_device(k) a pass of more than k images runs out of memory; the list gets the size of each pass."""
    net = DenseNet.__call__

    def shrink(most: int) -> list[int]:
        sizes: list[int] = []

        def limited(self: DenseNet, pixels: Tensor, layers: Sequence[str]) -> list[Tensor]:
            sizes.append(len(pixels))
            if len(pixels) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return net(self, pixels, layers)

        monkeypatch.setattr(DenseNet, "__call__", limited)
        return sizes

    return shrink


def test_a_batch_that_does_not_fit_is_halved(make: Make, small_device: Any) -> None:
    images = [photo(32, 32, seed) for seed in range(5)]
    describer = make(scales=(32,), layer="pool5")
    expected = describer.describe(images)
    sizes = small_device(2)
    assert_close(describer.describe(images), expected)
    assert sizes == [5, 3, 2, 1, 2]  # five don't fit, nor do the first three of them


def test_later_batches_are_smaller_once_one_did_not_fit(make: Make, small_device: Any) -> None:
    describer = make(scales=(32,), layer="pool5")
    sizes = small_device(64)
    describer.describe([photo(32, 32)] * 600)  # passes of 2^17 pixels are 128 such images
    assert sizes[0] == 128
    assert max(sizes[-3:]) <= 64


def test_deterministic_algorithms_rule_smaller_batches_out(make: Make, small_device: Any) -> None:
    """What else takes the device's memory would decide the last bits."""
    small_device(2)
    describer = make(scales=(32,), layer="pool5")
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(VggfeatError, match=r"whole batch of 32x32.*leave out --deterministic"):
            describer.describe([photo(32, 32)] * 5)
        assert describer.describe([photo(32, 32)] * 2).shape == (2, 32)
    finally:
        torch.use_deterministic_algorithms(False)


class TestMemoryForRescaling:
    """The device is full of images that wait: they go through the nets, and make room."""

    @pytest.fixture
    def rescaled_until(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], bool]], list[str]]:
        """After rescaled_until(full) the n-th rescaling runs out of memory if full(n); the list says what happens."""
        net = DenseNet.__call__

        def start(full: Callable[[int], bool]) -> list[str]:
            log: list[str] = []

            def logged(self: DenseNet, pixels: Tensor, layers: Sequence[str]) -> list[Tensor]:
                log.append(f"pass of {len(pixels)}")
                return net(self, pixels, layers)

            def limited(image: Tensor, q: int) -> Tensor:
                log.append("rescale")
                if full(log.count("rescale")):
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return rescale(image, q)

            monkeypatch.setattr(DenseNet, "__call__", logged)
            monkeypatch.setattr("vggfeat.images.rescale", limited)
            return log

        return start

    def test_those_that_wait_go_first(self, make: Make, rescaled_until: Any) -> None:
        photos = [photo(32, 32, seed) for seed in range(5)]
        one_at_a_time = Cpu(replace(CPU_TUNING, at_once=1))
        describer = make(scales=(32,), layer="pool5", machine=one_at_a_time)
        expected = describer.describe(photos)
        log = rescaled_until(lambda n: n == 4)
        assert_close(describer.describe(photos), expected)
        # the passes start when a second one is at hand, in a thread of their own
        assert [what for what in log if what != "rescale"] == ["pass of 3", "pass of 2"]
        assert log.count("rescale") == 6

    def test_an_image_that_never_fits_is_an_error(self, make: Make, rescaled_until: Any) -> None:
        rescaled_until(lambda n: n >= 4)
        with pytest.raises(VggfeatError, match="not enough memory for an image of 40x32"):
            make(scales=(32,), layer="pool5").describe([photo(32, 40)] * 5)


def test_an_image_that_does_not_fit_by_itself_is_an_error(make: Make, small_device: Any) -> None:
    small_device(0)
    with pytest.raises(VggfeatError, match="not enough memory for an image of 341x256"):
        make(scales=(256,), layer="pool5").describe(photo(300, 400))


def test_a_bounded_number_of_images_waits(make: Make) -> None:
    """Descriptors come while images are still being read, even if no two have the same size."""
    machine = Cpu(replace(CPU_TUNING, waiting=1))  # 2^17 pixels: eight images of 32x500
    describer = make(scales=(32,), layer="pool5", machine=machine)
    taken = 0

    def many() -> Iterator[tuple[int, Tensor]]:
        nonlocal taken
        for taken in range(200):
            yield taken, torch.zeros(3, 32, 500 + taken, dtype=torch.uint8)

    stream = describer.stream(many())
    assert next(stream)[0] == 0
    assert taken < 20
    assert [key for key, _ in stream] == list(range(1, 200))


def test_stream_gives_raw_scales_of_each_net_under_their_keys(make: Make) -> None:
    describer = make("D,E", scales=(224, 256))
    prepared = {name: describer.prepare(photo(240, 300, seed)) for seed, name in enumerate(["a", "b"])}
    rows = dict(describer.stream(prepared.items()))
    assert rows.keys() == prepared.keys()
    for seed, name in enumerate(["a", "b"]):
        for part, net in zip(rows[name], ["D", "E"], strict=True):
            assert (part.dtype, part.shape) == (np.float32, (2, 256))
            expected = make(net, scales=(224, 256), agg="stack", normalize="none").describe(photo(240, 300, seed))
            assert_close(part.reshape(-1), expected)


def test_the_number_of_threads_is_left_as_it_was_also_for_threads_to_come(make: Make) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        make(layer="pool5", scales=(32, 64)).describe([photo(), photo(64, 64)])
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


# Independent recomputation


def torchvision_net(tensors: dict[str, Tensor], net: str) -> nn.Sequential:
    """torchvision's convolutional layers, as narrow as the tensors, with their values."""
    width = tensors["conv1_1.weight"].shape[0] / 64
    plan = [size if isinstance(size, str) else int(size * width) for size in torchvision.models.vgg.cfgs[net]]
    features = torchvision.models.vgg.make_layers(plan)
    names = sorted({name.partition(".")[0] for name in tensors if name.startswith("conv")})
    state = [tensors[f"{name}.{kind}"].float() for name in names for kind in ("weight", "bias")]
    features.load_state_dict(dict(zip(features.state_dict(), state, strict=True)))
    return features.eval()


def recomputed_maps(
    file: Path, net: str, path: Path, q: int, prep: Preprocessing
) -> tuple[list[Tensor], dict[str, Tensor]]:
    """pool5 (1, C, h, w) of the image and of its mirror image, in plain Pillow and torch; and the tensors."""
    tensors = load_file(file)
    features = torchvision_net(tensors, net)
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
    height, width = pixels.shape[2:]
    factor = q / min(height, width)
    size = [int(side * factor + 0.5) for side in (height, width)]
    pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
    if prep.colour == "BGR":
        pixels = pixels[:, [2, 1, 0]]
    x = pixels * (prep.range / 255)
    x = (x - torch.tensor(prep.mean).view(3, 1, 1)) / torch.tensor(prep.std).view(3, 1, 1)
    with torch.inference_mode():
        return [features(x), features(x.flip(3))], tensors


def recomputed_fc7(file: Path, net: str, path: Path, q: int, prep: Preprocessing) -> np.ndarray:
    maps, tensors = recomputed_maps(file, net, path, q, prep)
    means = []
    for pool5 in maps:
        windows = functional.unfold(pool5, 7)[0].T  # one row a window, in C, H, W order
        fc6 = functional.linear(windows, tensors["fc6.weight"], tensors["fc6.bias"]).relu()
        fc7 = functional.linear(fc6, tensors["fc7.weight"], tensors["fc7.bias"]).relu()
        means.append(fc7.mean(0))
    return ((means[0] + means[1]) / 2).numpy()


@pytest.mark.parametrize("prep", [OXFORD, TORCHVISION], ids=["oxford", "torchvision"])
@pytest.mark.parametrize("net", ["D", "E"])
def test_an_independent_recomputation_agrees(
    tiny_weights: Weights, tmp_path: Path, net: str, prep: Preprocessing
) -> None:
    Image.fromarray(photo(270, 375)).save(tmp_path / "photo.jpg", quality=90)
    file = tiny_weights(net, preprocessing=prep)
    raw = {q: recomputed_fc7(file, net, tmp_path / "photo.jpg", q, prep) for q in (224, 300)}
    options: dict[str, Any] = {"weights": file, "device": "cpu"}
    for q in raw:
        found = Describer(scales=(q,), normalize="none", **options).describe(tmp_path / "photo.jpg")
        assert_close(found, raw[q])
    mean = (raw[224] + raw[300]) / 2
    found = Describer(scales=(224, 300), **options).describe(tmp_path / "photo.jpg")
    assert_close(found, mean / np.linalg.norm(mean))


def test_real_weights_on_a_real_photo(shared: Shared) -> None:
    file = shared("weights/vgg19-oxford-conv-fp16.safetensors")
    path = shared("data/caltech101/101_ObjectCategories/accordion/image_0001.jpg")
    maps, _ = recomputed_maps(file, "E", path, 100, OXFORD)
    expected = torch.stack([pool5.mean((0, 2, 3)) for pool5 in maps]).mean(0).numpy()
    describer = Describer(weights=file, layer="pool5", scales=(100,), normalize="none", device="cpu")
    assert_close(describer.describe(path), expected)


def test_ceil_differs_for_sides_not_divisible_by_32_alone(make: Make) -> None:
    floor, ceil = (make(layer="pool5", scales=(64,), ceil=ceil) for ceil in (False, True))
    assert_close(ceil.describe(photo(64, 96)), floor.describe(photo(64, 96)))
    difference = ceil.describe(photo(64, 97)) - floor.describe(photo(64, 97))
    assert np.linalg.norm(difference) > 1e-3


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "tf32"])
def test_other_precisions_point_the_same_way(make: Make, precision: str) -> None:
    found = make(precision=precision).describe(photo())
    assert found.dtype == np.float32
    assert found @ make().describe(photo()) > 0.999


# Several nets


def test_fusion_is_the_concatenation_each_half_with_the_same_norm(make: Make) -> None:
    fused = make("D,E", scales=(224, 256)).describe([photo(), photo(seed=1)])
    apart = [make(net, scales=(224, 256)).describe([photo(), photo(seed=1)]) for net in ("D", "E")]
    assert_close(fused, np.hstack(apart) / np.sqrt(2))
    for half in np.hsplit(fused, 2):
        np.testing.assert_allclose(np.linalg.norm(half, axis=1), np.sqrt(0.5), rtol=1e-6)


def test_fusion_of_one_net_by_two_weights(tiny_weights: Weights) -> None:
    files = [tiny_weights("D"), tiny_weights("D", preprocessing=TORCHVISION)]
    options: dict[str, Any] = {"scales": (224,), "device": "cpu"}
    expected = np.hstack([Describer(weights=file, **options).describe(photo()) for file in files]) / np.sqrt(2)
    for net in (None, "D,D", " D, D "):
        fused = Describer(net, weights=f"{files[0]}, {files[1]}", **options)
        assert_close(fused.describe(photo()), expected)


def test_a_file_whose_name_has_a_comma(tiny_weights: Weights, tmp_path: Path) -> None:
    file = tmp_path / "D, mine.safetensors"
    file.write_bytes(tiny_weights("D").read_bytes())
    for named in (file, str(file)):
        assert Describer(weights=named, device="cpu").engine.nets[0].weights.path == file


def test_apart_gives_one_engine_for_each_net_with_the_same_net(make: Make) -> None:
    both = make("D,E")
    parts = [both.variant(engine) for engine in both.engine.apart()]
    assert [part.engine.nets for part in parts] == [[net] for net in both.engine.nets]
    assert [part.fingerprint() for part in parts] == [[entry] for entry in both.fingerprint()]
    assert len(both.engine.nets) == 2


def test_a_variant_shares_the_nets_and_leaves_the_describer_as_it_was(make: Make) -> None:
    describer = make(scales=(224, 256))
    other = describer.variant(scales=(256,), agg="max")
    assert (other.spec.scales, other.spec.agg, other.engine) == ((256,), "max", describer.engine)
    assert (describer.spec.scales, describer.spec.agg) == ((224, 256), "mean")


def test_clear_cache_frees_the_nets_that_describe_keeps(tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Mock(side_effect=weights.load)
    monkeypatch.setattr(weights, "load", load)
    options: dict[str, Any] = {"weights": tiny_weights("A", classes=12), "layer": "pool5", "device": "cpu"}
    for _ in range(2):
        vggfeat.clear_cache()
        vggfeat.describe(photo(64, 80), scales=(64,), **options)
    assert load.call_count == 2


def test_replaced_weights_are_loaded_again(tiny_weights: Weights, tmp_path: Path) -> None:
    image, options = photo(64, 80), {"layer": "pool5", "scales": (64,), "device": "cpu"}
    file = tmp_path / "mine.safetensors"
    found = []
    for classes in (12, 13):
        file.unlink(missing_ok=True)
        shutil.copy(tiny_weights("A", classes=classes), file)
        found.append(vggfeat.describe(image, weights=file, **options))
        np.testing.assert_array_equal(found[-1], Describer(weights=file, **options).describe(image))
    assert not np.allclose(*found)


def test_keywords_and_a_spec_cannot_be_mixed(tiny_weights: Weights) -> None:
    spec = DescriptorSpec(weights=str(tiny_weights("A")), device="cpu")
    with pytest.raises(TypeError, match="spec and also agg"):
        Describer(spec=spec, agg="max")
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Describer(colour="red")


def test_the_fingerprint_tells_apart_what_decides_the_numbers(tiny_weights: Weights) -> None:
    """... of a single scale: aggregation and normalisation come later, the device and threads decide nothing."""
    base: dict[str, Any] = {"weights": tiny_weights("D"), "device": "cpu"}

    def fingerprint(**options: Any) -> list[dict[str, Any]]:
        return Describer(**{**base, **options}).fingerprint()

    others: list[dict[str, Any]] = [
        {"weights": tiny_weights("E")},
        {"weights": tiny_weights("D", preprocessing=TORCHVISION)},
        {"weights": tiny_weights("D", classes=8)},
        {"layer": "fc6"},
        {"scales": (256,)},
        {"mirror": False},
        {"ceil": True},
        {"precision": "bfloat16"},
        {"exif": False},
        {"allow_truncated": True},
    ]
    found = [fingerprint(), *(fingerprint(**options) for options in others)]
    assert all(found[i] != found[j] for i in range(len(found)) for j in range(i))
    for options in ({"agg": "stack"}, {"normalize": "none"}, {"precision": "float32"}, {"scales": [256, 384, 512]}):
        assert fingerprint(**options) == fingerprint()


def test_the_fingerprint_of_upright_photos_has_nothing_new(tiny_weights: Weights) -> None:
    """Stores of earlier versions, which were upright always, can be continued."""
    options: dict[str, Any] = {"weights": tiny_weights("D"), "device": "cpu"}
    (upright,), (stored,) = (Describer(**options, exif=exif).fingerprint() for exif in (True, False))
    assert "exif" not in upright
    assert stored == {**upright, "exif": False}
    (cut,) = Describer(**options, allow_truncated=True).fingerprint()
    assert "allow_truncated" not in upright
    assert cut == {**upright, "allow_truncated": True}


# What describe takes


def test_photos_are_turned_as_exif_says_or_taken_as_stored(make: Make, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    Image.fromarray(photo(64, 96)).save(tmp_path / "a.png", exif=exif)
    upright, stored = (make(layer="pool5", scales=(64,), exif=exif) for exif in (True, False))
    assert_close(upright.describe(tmp_path / "a.png"), upright.describe(np.rot90(photo(64, 96), -1)))
    assert_close(stored.describe(tmp_path / "a.png"), upright.describe(photo(64, 96)))
    box = Region(tmp_path / "a.png", (60, 0, 96, 64))  # reaches beyond the width of the upright photo, 64
    found = Describer(spec=stored.spec, engine=stored.engine, view=Box()).describe([box])[0]
    assert_close(found, upright.describe(photo(64, 96)[:, 60:]))


def test_a_cut_photo_is_refused_or_taken(make: Make, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(cut(encoded(picture(96, 128), "JPEG"), 0.5))
    with pytest.raises(ImageError, match=r"a\.jpg: rows \d+ to 96 of 96 are missing; .*--allow-truncated"):
        make(layer="pool5", scales=(64,)).describe(tmp_path / "a.jpg")
    describer = make(layer="pool5", scales=(64,), allow_truncated=True)
    assert_close(describer.describe(tmp_path / "a.jpg"), describer.describe(Image.open(tmp_path / "a.jpg")))


def test_a_list_an_array_a_generator_and_nothing(make: Make, tmp_path: Path) -> None:
    describer = make(layer="pool5", scales=(64,))
    images = np.stack([photo(64, 80, seed) for seed in range(3)])
    expected = np.stack([describer.describe(image) for image in images])
    Image.fromarray(images[2]).save(tmp_path / "2.png")
    mixed = [images[0], Image.fromarray(images[1]), tmp_path / "2.png"]
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    for several in (images, list(images), tuple(mixed), (image for image in mixed), tensor):
        assert_close(describer.describe(several), expected)
    nothing: list[Any] = [[], iter(()), images[:0]]
    for none in nothing:
        found = describer.describe(none)
        assert (found.dtype, found.shape) == (np.float32, (0, 32))


def test_paths_in_arrays_series_and_tables(make: Make, tmp_path: Path) -> None:
    describer = make(layer="pool5", scales=(64,))
    files = [str(tmp_path / f"{i}.png") for i in range(2)]
    for i, file in enumerate(files):
        Image.fromarray(photo(64, 80, i)).save(file)
    expected = describer.describe(files)
    table = pd.DataFrame({"photo": files}, index=[5, 6])
    objects = np.array([Path(file) for file in files], object)
    for several in (
        np.array(files),
        np.array(files)[:, None],
        objects,
        table,
        table["photo"],
        table.index.map(dict(zip([5, 6], files, strict=True))),
    ):
        assert np.array_equal(describer.describe(several), expected)
    assert describer.describe(np.array(files[:1])).shape == (1, 32)
    for wrong in (table.assign(label=1), np.array([files]), np.array(files[0])):
        with pytest.raises(
            UsageError, match=r"has 2 columns .photo, label.; give the one|has the shape .*; give a list"
        ):
            describer.describe(wrong)


def test_what_is_wrong_in_a_list_is_named_or_counted(make: Make, tmp_path: Path) -> None:
    describer = make(layer="pool5", scales=(64,))
    good = photo(64, 80)
    with pytest.raises(ImageError, match=r"\Aimage 2 of the list \(from 0\): image of 5 bytes: not an image"):
        describer.describe([good, good, b"bytes", good])
    with pytest.raises(ImageError, match=r"\Aimage 1 of the list \(from 0\): an array image must be uint8"):
        describer.describe(iter([good, good / 255.0]))
    with pytest.raises(ImageError, match=r"\Aa batch of images as an array must be uint8 .* float64 .*; .*255"):
        describer.describe(np.zeros((2, 64, 64, 3)))
    with pytest.raises(ImageError, match=r"\Aimage 1 of the list .*an image cannot be a float"):
        describer.describe(pd.Series([good, float("nan")]))
    with pytest.raises(ImageError, match=r"\A\S*none\.jpg: No such file"):
        describer.describe([good, tmp_path / "none.jpg"])
    with pytest.raises(ImageError, match=r"\Aan array image must be"):
        describer.describe(good / 255.0)


def test_every_kind_of_single_image(make: Make, tmp_path: Path) -> None:
    describer = make(layer="pool5", scales=(64,))
    path = tmp_path / "one photo.png"
    Image.fromarray(photo(64, 80)).save(path)
    data = path.read_bytes()
    tensor = torch.from_numpy(photo(64, 80)).permute(2, 0, 1)
    for single in (
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        Image.open(path),
        tensor,
    ):
        assert np.array_equal(describer.describe(single), describer.describe(photo(64, 80)))
    assert describer.describe(photo(64, 80)[:, :, 0]).shape == (32,)


def test_describe_keeps_the_net_of_the_last_call(tiny_weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Mock(side_effect=weights.load)
    monkeypatch.setattr(weights, "load", load)
    options: dict[str, Any] = {"weights": tiny_weights("A", classes=11), "layer": "pool5", "device": "cpu"}
    one = vggfeat.describe(photo(64, 80), scales=(64,), **options)
    many = vggfeat.describe([photo(64, 80)] * 2, scales=[64], **options)
    assert load.call_count == 1
    assert_close(many, np.stack([one, one]))
    vggfeat.describe(photo(64, 80), scales=(96,), **options)
    assert load.call_count == 2


def test_a_net_is_loaded_when_the_first_image_needs_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    load = Mock(side_effect=weights.load)
    monkeypatch.setattr(weights, "load", load)
    describer = make()
    assert (describer.dim, len(describer.fingerprint()), load.call_count) == (256, 1, 0)


# What can't be meant


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "fc8"}, "'fc8'.*fc7, fc6, pool5"),
        ({"layer": "conv6_1"}, "'conv6_1'"),
        ({"agg": "sum"}, "'sum'.*mean, max, stack"),
        ({"normalize": "l1"}, "'l1'.*l2, per-scale, none"),
        ({"precision": "float64"}, "'float64'.*float32"),
        ({"device": "tpu"}, "'tpu'.*cpu"),
        ({"device": "mps"}, "'mps'.*cpu"),
        ({"device": "cuda:99"}, "'cuda:99'.*CUDA"),
        ({"net": "F"}, "'F'.*A, A-LRN"),
        ({"net": "D,"}, "no net ''"),
        ({"scales": (223,)}, "Q=223.*fc7.*224"),
        ({"scales": (31,), "layer": "pool5"}, "Q=31.*pool5.*32"),
        ({"scales": (192,), "ceil": True}, "Q=192.*193"),
        ({"scales": ()}, "no scale"),
        ({"scales": (256, 256)}, "twice"),
        ({"scales": 256}, "whole numbers.*256"),
        ({"scales": "256,384"}, "whole numbers.*'256,384'"),
        ({"scales": (256.5,)}, r"whole numbers.*256\.5"),
        ({"net": "A,B,C", "weights": "a,b"}, "2 weights for 3 nets"),
    ],
)
def test_usage_errors(tiny_weights: Weights, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Describer(**{"weights": tiny_weights("D"), "device": "cpu", **options})
    with pytest.raises(UsageError, match=said):
        vggfeat.describe(photo(), **{"weights": tiny_weights("D"), "device": "cpu", **options})


def test_a_net_that_contradicts_its_weights(tiny_weights: Weights) -> None:
    file = tiny_weights("D")
    for net in ("E", "D,E"):
        with pytest.raises(WeightsError, match=f"{file.name}.*"):
            Describer(net, weights=file)


@pytest.mark.parametrize("layer", ["fc6", "fc7"])
def test_weights_without_the_layer_propose_another(tiny_weights: Weights, layer: Any) -> None:
    file = tiny_weights("D", top="pool5")
    with pytest.raises(WeightsError, match=f"{file.name}.*--layer pool5"):
        Describer(weights=file, layer=layer)
    assert Describer(weights=file, layer="pool5", scales=(32,), device="cpu").describe(photo()).shape == (32,)


def test_images_that_cant_be_described_are_named(make: Make, tmp_path: Path) -> None:
    describer = make(scales=(224, 256))
    thin = tmp_path / "thin one.png"
    Image.new("L", (40_000, 1)).save(thin)
    for path in (thin, str(thin)):
        with pytest.raises(ImageError, match=r"thin one\.png: 40000x1 would become 8960000x224 at Q=224"):
            describer.describe([photo(), path])
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageError, match=r"empty\.jpg: is empty"):
        describer.describe([photo(), tmp_path / "empty.jpg", thin])
    assert describer.describe(photo(1, 1)).shape == (256,)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", DTYPES)
def test_a_gpu_gives_what_the_cpu_does(make: Make, precision: str) -> None:
    images = [photo(), photo(300, 240, 1), photo(seed=2)]
    expected = make("D,E", scales=(224, 256)).describe(images)
    found = make("D,E", scales=(224, 256), device="cuda", precision=precision).describe(images)
    if precision == "float32":
        assert_close(found, expected, 1e-4)
    assert ((found * expected).sum(axis=1) > 0.999).all()


FORK = """
import multiprocessing, sys
import numpy as np, torch
import vggfeat

def describe(seed):
    images = [np.random.default_rng(seed).integers(0, 256, (64, 80, 3), dtype=np.uint8)] * 3
    return vggfeat.describe(images, weights=sys.argv[1], layer="pool5", scales=(64,), device="cpu").shape

if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    if sys.argv[3] == "after":
        describe(0)
    with multiprocessing.get_context(sys.argv[4]).Pool(1) as pool:
        print(pool.map(describe, [1, 2]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize(
    ("threads", "when", "start", "works"),
    [
        (2, "after", "fork", False),  # torch's threads would be waited for
        pytest.param(1, "after", "fork", True, marks=pytest.mark.slow),  # there are none
        pytest.param(2, "before", "fork", True, marks=pytest.mark.slow),
        pytest.param(2, "after", "spawn", True, marks=pytest.mark.slow),
    ],
)
def test_a_process_that_is_forked_after_a_net_has_run_is_told_to_use_spawn(
    tiny_weights: Weights, tmp_path: Path, threads: int, when: str, start: str, works: bool
) -> None:
    (tmp_path / "fork.py").write_text(FORK)
    command = [sys.executable, tmp_path / "fork.py", tiny_weights("A"), str(threads), when, start]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if works:
        assert ran.stdout == "[(3, 32), (3, 32)]\n", ran.stderr
    else:
        last = ran.stderr.splitlines()[-1]
        assert last.startswith("vggfeat.errors.VggfeatError: this process was forked after its parent had run a net")
        assert last.endswith('multiprocessing.get_context("spawn")')
