"""Half precisions on a CPU without them: each layer's result is the exact one, rounded."""

import numpy as np
import pytest
import torch
from torch import nn

from vggfeat import passes
from vggfeat.descriptors import Describer
from vggfeat.halves import InFloat32, computes_in, round_results

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


def test_what_a_cpu_computes_in(monkeypatch):
    for capability, native in {"AVX2": [True, False, False], "AVX512": [True, True, False]}.items():
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        assert [computes_in(dtype) for dtype in (torch.float32, *HALVES)] == native


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
