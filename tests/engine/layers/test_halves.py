"""Half precisions on a CPU without them: each layer's result is the exact one, rounded."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from vggfeat.engine.dense import dense, spatial_mean
from vggfeat.engine.layers import optimise
from vggfeat.engine.layers.halves import InFloat32, computes_in, round_results
from vggfeat.engine.layers.windows import WindowLinear
from vggfeat.engine.layers.winograd import WinogradConv2d
from vggfeat.engine.net import DTYPES
from vggfeat.nets import VGG, initialise

HALVES = [torch.bfloat16, torch.float16]


def optimised(top, dtype, native=None):
    """Net A of width 1/4, whose widest layers have the 128 channels that Winograd's convolutions need."""
    vgg = initialise(VGG("A", width=1 / 4, top=top), generator=torch.Generator().manual_seed(0))
    return optimise(dense(vgg.requires_grad_(False), top), torch.device("cpu"), dtype, native)


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
def test_fully_connected_layers_are_products_of_windows_in_any_precision(native):
    """Winograd's transforms, which round four times as much, are for float32 only."""
    net = optimised("fc7", torch.bfloat16, native)
    found = [type(layer.layer if isinstance(layer, InFloat32) else layer) for layer in net]
    assert found.count(WindowLinear) == 2  # fc6 and fc7
    assert (WinogradConv2d in found) == (not native)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_as_near_to_float32_as_torchs_own_way(precision):
    """In torch's own way each sum may also be in the half precision."""
    x = 50 * torch.randn(2, 3, 224, 256, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    exact = functional.normalize(spatial_mean(optimised("fc7", torch.float32)(x)))
    gaps = []
    for native in (False, True):
        net = optimised("fc7", DTYPES[precision], native)
        found = functional.normalize(spatial_mean(net(x.to(DTYPES[precision]))))
        gaps.append(float((1 - (exact * found).sum(1)).max()))
        assert any(isinstance(layer, InFloat32) for layer in net) != native
    assert 0 < gaps[0] < 2 * gaps[1] + 1e-6
