"""Fully connected layers as windows and one product: equal to the convolutions that they replace."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vggfeat.engine.dense import dense
from vggfeat.engine.layers.windows import WindowLinear, use_windows
from vggfeat.nets import VGG, initialise


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def convolution(inputs: int, outputs: int, side: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, side).requires_grad_(False)
    conv.weight.copy_(torch.randn(conv.weight.shape, generator=seeded(0)))
    return conv


def exactly(conv: nn.Conv2d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    return functional.conv2d(x.double(), conv.weight.double(), conv.bias.double())


@pytest.mark.parametrize("few", [0, 10**6], ids=["rows on the left", "weights on the left"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("side", "shape"), [(7, (1, 7, 7)), (7, (2, 8, 10)), (7, (3, 9, 7)), (1, (2, 4, 5)), (3, (1, 3, 8))]
)
def test_equals_the_convolution(side, shape, layout, few):
    conv = convolution(24, 40, side)
    n, h, w = shape
    x = torch.randn(n, 24, h, w, generator=seeded(1)).contiguous(memory_format=layout)
    expected = exactly(conv, x)
    found = WindowLinear(conv, few)(x)
    assert found.shape == expected.shape
    assert (found - expected).norm() <= 2e-6 * expected.norm()


def test_a_window_by_hand():
    """Two channels, a 1 x 2 window cannot be asked for; a 2 x 2 one over a 2 x 3 map gives two places."""
    conv = nn.Conv2d(2, 1, 2).requires_grad_(False)
    conv.weight.copy_(torch.tensor([[[[1.0, 2], [3, 4]], [[10, 20], [30, 40]]]]))
    conv.bias.fill_(0.5)
    x = torch.tensor([[[[1.0, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 0]]]])
    # left: 1*1 + 20*1 + 0.5; right: 4*1 + 10*1 + 0.5
    assert WindowLinear(conv)(x).tolist() == [[[[21.5, 14.5]]]]


def test_replaces_the_fully_connected_layers_only():
    """Net C has 1x1 convolutions of its own, which stay."""
    net = dense(initialise(VGG("C", width=1 / 32, classes=10), generator=seeded(2))).requires_grad_(False)
    x = torch.randn(1, 3, 256, 224, generator=seeded(3))
    before = net(x)
    replaced = {name for name, module in use_windows(net).named_children() if isinstance(module, WindowLinear)}
    assert replaced == {"fc6", "fc7", "fc8"}
    torch.testing.assert_close(net(x), before, rtol=1e-5, atol=1e-6)
