"""Winograd convolutions: equal to direct ones, used where they suit and nowhere else."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vggfeat.engine.dense import dense
from vggfeat.engine.layers.winograd import WinogradConv2d, use_winograd
from vggfeat.nets import VGG, initialise


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    conv.weight = nn.Parameter(torch.randn(conv.weight.shape, generator=seeded(0)))
    conv.bias = nn.Parameter(torch.randn(outputs, generator=seeded(1)))
    return conv


def exactly(conv: nn.Conv2d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    return functional.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)


def assert_close(found: Tensor, expected: Tensor) -> None:
    """To 5e-6 relative to the norm; each value to 2e-5 of the largest one."""
    assert found.shape == expected.shape
    difference = found - expected
    assert difference.norm() <= 5e-6 * expected.norm()
    assert difference.abs().max() <= 2e-5 * expected.abs().max()


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 9), (4, 4), (5, 8), (13, 7), (16, 21)])
def test_equals_the_direct_convolution(n: int, size: tuple[int, int]) -> None:
    conv = convolution(128, 136)
    x = torch.randn(n, 128, *size, generator=seeded(2))
    for layout in (torch.contiguous_format, torch.channels_last):
        assert_close(WinogradConv2d(conv)(x.contiguous(memory_format=layout)), exactly(conv, x))


@pytest.mark.parametrize("strip", [1, 36 * 5 * 24 * 2, 36 * 5 * 24 * 9, 2**30])
def test_however_the_tiles_are_cut_into_strips(strip: int) -> None:
    """Five tiles across, four down, 24 channels: one row of tiles a strip, two, two whole images, and all."""
    conv = convolution(16, 24)
    x = torch.randn(5, 16, 15, 18, generator=seeded(2))
    assert_close(WinogradConv2d(conv, strip)(x), exactly(conv, x))


def test_one_filter_tap_shifts_the_image_by_hand() -> None:
    conv = convolution(1, 1)
    conv.weight.zero_()[0, 0, 0, 2] = 1  # above, to the right
    assert conv.bias is not None
    conv.bias.fill_(0.5)
    x = torch.arange(30.0).view(1, 1, 5, 6)
    expected = torch.full((5, 6), 0.5)
    expected[1:, :-1] += x[0, 0, :-1, 1:]
    torch.testing.assert_close(WinogradConv2d(conv)(x)[0, 0], expected, rtol=1e-5, atol=1e-5)


def test_it_replaces_the_suitable_layers_alone() -> None:
    net = use_winograd(dense(VGG("C", width=1 / 2)))
    replaced = [name for name, module in net.named_children() if isinstance(module, WinogradConv2d)]
    # At half width, block 3 has 128 channels and gets 64; conv*_3 are 1x1, fc6 is 7x7.
    assert replaced == ["conv3_2", "conv4_1", "conv4_2", "conv5_1", "conv5_2"]


@pytest.mark.parametrize(
    ("options", "suits"),
    [
        ({}, True),
        ({"stride": 2}, False),
        ({"dilation": 2}, False),
        ({"groups": 2}, False),
        ({"padding": 0}, False),
    ],
)
def test_it_suits_plain_3x3_convolutions(options: dict[str, Any], suits: bool) -> None:
    assert WinogradConv2d.suits(nn.Conv2d(128, 128, 3, **{"padding": 1, **options})) is suits


def test_a_whole_net_agrees() -> None:
    vgg = initialise(VGG("E", width=1 / 4, classes=7), generator=seeded(0))
    exact = dense(vgg.double(), "fc7")
    x = 100 * torch.randn(2, 3, 231, 290, generator=seeded(1))
    expected = exact(x.double())
    fast = use_winograd(dense(vgg.float(), "fc7").to(memory_format=torch.channels_last))
    assert sum(isinstance(module, WinogradConv2d) for module in fast) == 7  # conv4_2 ... conv5_4
    assert_close(fast(x.contiguous(memory_format=torch.channels_last)), expected)
