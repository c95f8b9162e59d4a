"""Half precisions on a CPU without them: each layer's result is the exact one, rounded."""

import numpy as np
import pytest
import torch
from torch import nn

from vggfeat.descriptors import Describer
from vggfeat.engine import passes
from vggfeat.engine.layers import winograd
from vggfeat.engine.layers.halves import InFloat32, computes_in, round_results
from vggfeat.engine.layers.windows import WindowLinear
from vggfeat.engine.layers.winograd import WinogradConv2d

HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES)
def test_a_layer_rounds_its_result_once(dtype):
    """Whole numbers up to 15: float32 sums them exactly, and torch's own way in a half precision as well."""
    rng = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(8, 4, 3, padding=1).requires_grad_(False)
    conv.weight.copy_(torch.randint(-15, 16, conv.weight.shape, generator=rng))
    conv.bias.fill_(0.5)
    x = torch.randint(-15, 16, (2, 8, 6, 5), generator=rng).to(dtype)
    exact = conv(x.float())
    found = InFloat32(conv)(x)
    assert found.dtype == dtype
    assert torch.equal(found, exact.to(dtype))
    assert not torch.equal(found.float(), exact)  # there was something to round
    assert torch.equal(found, conv.to(dtype)(x))


def test_layers_that_choose_are_left_as_they_are():
    net = round_results(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(2)))
    assert [isinstance(layer, InFloat32) for layer in net] == [True, False, True, False]


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),  # Skylake
        ({"avx2": True, "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),  # Zen 4
        ({"avx512_f": True, "avx512_bf16": True, "amx_bf16": True, "avx512_fp16": True}, True),  # Sapphire Rapids
        ({"neon": True, "fp16_arith": True}, False),
        (None, False),
    ],
)
def test_what_a_cpu_computes_in(capabilities, native, monkeypatch):
    """float16 in nothing: no CPU with instructions for it was at hand, and on others it is many times slower."""
    if capabilities is None:  # a torch of before it told
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert [computes_in(dtype) for dtype in (torch.float32, *HALVES)] == [True, native, False]


@pytest.mark.parametrize("native", [True, False])
def test_fully_connected_layers_are_products_of_windows_in_any_precision(tiny_weights, native, monkeypatch):
    """... and Winograd's transforms, which round four times as much, are for float32 only."""
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 1)
    monkeypatch.setattr(passes, "computes_in", lambda dtype: native or dtype == torch.float32)
    describer = Describer(weights=tiny_weights("A"), device="cpu", scales=(224,), precision="bfloat16")
    found = [type(layer.layer if isinstance(layer, InFloat32) else layer) for layer in describer.nets[0].net]
    assert found.count(WindowLinear) == 2  # fc6 and fc7
    assert (WinogradConv2d in found) == (not native)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_as_near_to_float32_as_torchs_own_way(tiny_weights, precision, monkeypatch):
    """... of which each sum may also be in the half precision."""
    image = np.random.default_rng(0).integers(0, 256, (224, 256, 3), np.uint8)
    options = {"weights": tiny_weights("A"), "device": "cpu", "scales": (224,)}
    exact = Describer(**options).describe(image)
    gaps = []
    for native in (False, True):
        monkeypatch.setattr(passes, "computes_in", lambda dtype, native=native: native)
        describer = Describer(**options, precision=precision)
        gaps.append(1 - exact @ describer.describe(image))
        assert any(isinstance(layer, InFloat32) for layer in describer.nets[0].net) != native
    assert 0 < gaps[0] < 2 * gaps[1] + 1e-6
