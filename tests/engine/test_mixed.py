"""--precision mixed: float16, and what float16 cannot hold in TF32, which is float32 on a CPU."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vggfeat import weights
from vggfeat.classify import classify
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine
from vggfeat.engine.devices import Cpu, Gpu
from vggfeat.errors import StoreError
from vggfeat.extraction.opening import continued
from vggfeat.extraction.run import extract
from vggfeat.sources import Item
from vggfeat.spec import DescriptorSpec, PosteriorSpec
from vggfeat.store import Store

DARK = np.full((40, 50, 3), 100, np.uint8)  # near the mean: small values
BRIGHT = np.full((40, 50, 3), 255, np.uint8)


@pytest.fixture(scope="module")
def overflowing(tiny_weights, tmp_path_factory):
    """Net A whose conv2_1 gives values around 65,504, the largest number of float16: BRIGHT has larger ones."""
    found = weights.resolve(tiny_weights("A"), None, "fc8")
    tensors = dict(weights.load(found, "fc8").state_dict())
    images = {"bright": BRIGHT, "dark": DARK}
    largest = {
        name: Describer(weights=found.path, layer="conv2_1", scales=(32,), device="cpu", normalize="none", mirror=False)
        .describe(image)
        .max()
        for name, image in images.items()
    }
    factor = 2**17 / float(largest["bright"])
    assert largest["dark"] * factor < 2**15
    tensors["conv2_1.weight"], tensors["conv2_1.bias"] = (
        tensors[f"conv2_1.{part}"] * factor for part in ("weight", "bias")
    )
    tensors["conv3_1.weight"] = tensors["conv3_1.weight"] / factor
    file = tmp_path_factory.mktemp("overflowing") / "a.safetensors"
    return weights.save(
        file, tensors, net="A", width=found.width, preprocessing=found.preprocessing, lineage="random",
        source="random", licence="Apache-2.0", classes=found.classes,
    ).path  # fmt: skip


def rows(file, precision, images, **options):
    options = {"layer": "pool5", "scales": (32,), "device": "cpu", "normalize": "none", **options}
    return Describer(weights=file, precision=precision, **options).describe(images)


@pytest.mark.parametrize("layer", ["conv2_1", "conv3_1", "pool5"])
def test_what_float16_cannot_hold_is_computed_again(overflowing, layer):
    bright, dark = rows(overflowing, "float16", [BRIGHT, DARK], layer=layer)
    assert not np.isfinite(bright).all()
    found = rows(overflowing, "mixed", [BRIGHT, DARK, BRIGHT], layer=layer)
    exact = rows(overflowing, "float32", BRIGHT, layer=layer)
    np.testing.assert_allclose(found[[0, 2]], [exact, exact], rtol=1e-5, atol=1e-5 * exact.max())
    assert np.array_equal(found[1], dark)
    assert not np.array_equal(dark, rows(overflowing, "float32", DARK, layer=layer))


def test_each_net_is_computed_again_by_itself(overflowing, tiny_weights):
    both = f"{overflowing},{tiny_weights('A')}"
    found = rows(both, "mixed", BRIGHT)
    half = len(found) // 2
    np.testing.assert_allclose(found[:half], rows(overflowing, "float32", BRIGHT), rtol=1e-5)
    assert np.array_equal(found[half:], rows(tiny_weights("A"), "float16", BRIGHT))


def test_several_layers_and_scales(overflowing):
    """All layers of an image are replaced at the scale that overflows, conv1_1 too."""
    spec = DescriptorSpec(weights=overflowing, layer="pool5", scales=(32, 48), device="cpu", precision="mixed")
    describer = Describer(spec=spec)
    ((_, found),) = describer.stream([(0, describer.prepare(BRIGHT))], ["conv1_1", "pool5"])
    exact = Describer(weights=overflowing, layer="pool5", scales=(32, 48), device="cpu", precision="float32")
    ((_, expected),) = exact.stream([(0, exact.prepare(BRIGHT))], ["conv1_1", "pool5"])
    for values, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, right, rtol=1e-5)


def test_posteriors(overflowing):
    options = {"weights": overflowing, "scales": (224,), "device": "cpu"}
    spec = PosteriorSpec(**options, precision="mixed")
    found = Describer(spec=spec).describe(BRIGHT)
    assert not np.isfinite(Describer(spec=PosteriorSpec(**options, precision="float16")).describe(BRIGHT)).all()
    np.testing.assert_allclose(found, Describer(spec=PosteriorSpec(**options)).describe(BRIGHT), atol=1e-6)
    assert len(classify(BRIGHT, **options, precision="mixed")) == 5


@pytest.mark.parametrize(("major", "precision"), [(9, "mixed"), (7, "mixed"), (6, "float32")])
def test_what_auto_means_on_a_gpu(major, precision, tiny_weights, monkeypatch):
    properties = SimpleNamespace(total_memory=2**33, major=major)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    spec = DescriptorSpec(weights=tiny_weights("A"), device="cpu")
    found = Describer(spec=spec, engine=Engine.of(spec, Gpu(torch.device("cpu"))))
    assert found.fingerprint()[0]["precision"] == found.engine.precision == precision
    exact = DescriptorSpec(weights=tiny_weights("A"), device="cpu", precision="float32")
    assert Engine.of(exact, Gpu(torch.device("cpu"))).precision == "float32"


def test_auto_on_a_cpu_is_float32(tiny_weights):
    spec = DescriptorSpec(weights=tiny_weights("A"), device="cpu")
    assert Engine.of(spec, Cpu()).precision == Engine.of(spec).precision == "float32"


ITEMS = [Item("dark", DARK), Item("bright", BRIGHT)]


class TestStores:
    """A store keeps the precision in which it was begun, on whatever machine it is continued."""

    @pytest.mark.parametrize("began", ["mixed", "float32"])
    def test_auto_continues_in_the_precision_of_the_store(self, overflowing, tmp_path, began):
        options = {"weights": overflowing, "scales": (32,), "layer": "pool5", "device": "cpu"}
        extract(ITEMS[:1], tmp_path / "s", **options, precision=began)
        store = extract(ITEMS, tmp_path / "s", **options)
        assert store.fingerprint["precision"] == began
        whole = extract(ITEMS, tmp_path / "whole", **options, precision=began)
        for one, other in zip(store.read(["q32"])["q32"], whole.read(["q32"])["q32"], strict=True):
            np.testing.assert_allclose(one.as_py(), other.as_py(), rtol=1e-5)

    def test_what_is_asked_of_a_machine_where_auto_means_something_else(self, tmp_path):
        """A store of a CPU, or of an earlier version on a GPU, is continued in float32."""
        extract(ITEMS[:1], tmp_path / "s", weights="slim", layer="pool5", scales=(32,), device="cpu")
        spec = DescriptorSpec(weights="slim")
        stores = [tmp_path / "none", tmp_path / "s"]
        assert continued(spec, stores) == replace(spec, precision="float32")
        assert continued(spec, stores[:1]) == spec
        named = replace(spec, precision="mixed")
        assert continued(named, stores) == named

    def test_another_precision_is_refused(self, overflowing, tmp_path):
        options = {"weights": overflowing, "scales": (32,), "layer": "pool5", "device": "cpu"}
        extract(ITEMS[:1], tmp_path / "s", **options, precision="mixed")
        with pytest.raises(StoreError, match="was made with precision 'mixed', not 'float32'"):
            extract(ITEMS, tmp_path / "s", **options, precision="float32")
        assert Store(tmp_path / "s").paths == ["dark"]

    def test_an_unknown_precision_of_a_later_version_is_refused(self, overflowing, tmp_path):
        options = {"weights": overflowing, "scales": (32,), "layer": "pool5", "device": "cpu"}
        extract(ITEMS[:1], tmp_path / "s", **options)
        meta = tmp_path / "s" / "meta.json"
        meta.write_text(meta.read_text().replace('"float32"', '"float4"', 1))
        with pytest.raises(StoreError, match="was made with precision 'float4', not 'float32'"):
            extract(ITEMS, tmp_path / "s", **options)
