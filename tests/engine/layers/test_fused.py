"""The faster of two ways through a layer: which one is taken, and that both give the same (cuDNN's on a GPU only)."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vggfeat.engine.dense import dense
from vggfeat.engine.layers.fused import ConvReLU, Faster, use_faster
from vggfeat.engine.layers.windows import WindowLinear
from vggfeat.nets import VGG, initialise

HALVES_TOO = [torch.float32, torch.bfloat16, torch.float16]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Times(nn.Module):
    """Its input times a number; says when it is called."""

    def __init__(self, log: list[str], name: str, factor: float = 2.0) -> None:
        super().__init__()
        self.log, self.name, self.factor = log, name, factor

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(self.name)
        return x * self.factor


class Failing(Times):
    def forward(self, x: Tensor) -> Tensor:
        raise self.factor


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def choice(log):
    """choice(faster, other, side) -> a layer whose ways are `plain` and `other`; costs are as the name says."""

    def make(faster: str = "other", other: nn.Module | None = None, side: int = 1) -> Faster:
        def cost(way: nn.Module, x: Tensor) -> float:
            log.append(f"timed {way.name}")
            return 1.0 if way.name == faster else 2.0

        return Faster(Times(log, "plain"), other or Times(log, "other"), side, cost)

    return make


X = torch.ones(1, 3, 5, 6)


@pytest.mark.parametrize("faster", ["plain", "other"])
def test_the_faster_one_is_taken_from_then_on(choice, log, faster):
    layer = choice(faster)
    assert layer(X).equal(2 * X)
    assert log == ["other", "plain", "timed other", "timed plain", faster]
    layer(X)
    assert log[5:] == [faster]


@pytest.mark.parametrize(("side", "shapes"), [(1, "1x4x4 1x5x6 2x3x5"), (3, "1x6x6 1x7x8 2x5x7")])
def test_trials_are_one_for_each_power_of_two_of_places(choice, log, side, shapes):
    """16 to 31 places in the result, whatever the map; then 32."""
    layer = choice(side=side)
    for shape in shapes.split():
        n, h, w = map(int, shape.split("x"))
        layer(torch.ones(n, 3, h, w))
    assert log.count("timed plain") == 1
    layer(torch.ones(2, 3, 4 + side - 1, 4 + side - 1))
    assert log.count("timed plain") == 2


@pytest.mark.parametrize("factor", [2.2, float("nan")])
def test_another_result_is_never_taken(choice, log, factor):
    assert choice("other", Times(log, "other", factor))(X).equal(2 * X)


@pytest.mark.parametrize(("dtype", "taken"), [(torch.float16, "plain"), (torch.bfloat16, "other")])
def test_a_way_that_hides_nan_is_not_taken_in_float16(choice, log, dtype, taken):
    """There NaN may be the only trace of a value that was too large."""

    class Hiding(Times):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).nan_to_num(0.0)

    layer = choice("other", Hiding(log, "other"))
    layer(X.to(dtype))
    layer(X.to(dtype))
    assert log[-1] == taken


def test_a_way_that_keeps_nan_is_taken_in_float16(choice, log):
    choice("other")(X.half())
    assert log[-1] == "other"


def test_a_way_that_torch_cannot_go_is_not_taken(choice, log):
    assert choice("other", Failing(log, "other", RuntimeError("no engine")))(X).equal(2 * X)


def test_want_of_memory_is_the_callers_to_hear_of(choice, log):
    layer = choice("other", Failing(log, "other", torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError, match="memory"):
        layer(X)
    layer.other = Times(log, "other")  # nothing is decided yet
    layer(X)
    assert log[-1] == "other"


def test_nothing_is_tried_where_the_same_bits_count(choice, log):
    torch.use_deterministic_algorithms(True)
    try:
        choice("other")(X)
    finally:
        torch.use_deterministic_algorithms(False)
    assert log == ["plain"]


def make_net():
    vgg = initialise(VGG("C", width=1 / 32, classes=10), generator=seeded(2))
    return dense(vgg).requires_grad_(False).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("faster", [ConvReLU, WindowLinear, nn.Module])
def test_each_layer_has_a_choice_and_either_way_gives_the_same(faster, monkeypatch):
    """On the CPU, with cuDNN's call written out; `faster` is the kind of layer that wins, nn.Module is none of them."""

    def written_out(x, weight, bias, *how):
        return functional.conv2d(x, weight, bias, *how).relu()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", written_out)
    x = torch.randn(2, 3, 256, 224, generator=seeded(3))
    expected = make_net()(x)
    net = use_faster(make_net(), cost=lambda way, _: 0.0 if type(way) is faster else 1.0)
    layers = dict(net.named_children())
    choices = {name: layer for name, layer in layers.items() if isinstance(layer, Faster)}
    assert [type(layer.other) for layer in choices.values()] == [ConvReLU] * 13 + [WindowLinear] * 3
    assert [layer.side for layer in choices.values()] == [1] * 13 + [7, 1, 1]
    torch.testing.assert_close(net(x), expected, rtol=1e-5, atol=1e-6)
    taken = {layer.other in layer.chosen.values() for layer in choices.values()}
    assert taken == ({True, False} if faster != nn.Module else {False})


def test_no_way_has_weights_of_its_own():
    layers = dict(use_faster(make_net()).named_children())
    for layer in (layers["fc6"], layers["fc7"], layers["fc8"]):
        assert layer.other.weight.data_ptr() == layer.plain.weight.data_ptr()


@pytest.mark.gpu
class TestOnAGpu:
    @pytest.mark.parametrize("dtype", HALVES_TOO)
    @pytest.mark.parametrize(("inputs", "shape"), [(3, (2, 64, 48)), (64, (1, 30, 21)), (128, (3, 16, 16))])
    def test_cudnns_call_is_convolution_bias_and_relu(self, inputs, shape, dtype):
        conv = nn.Conv2d(inputs, 64, 3, padding=1).requires_grad_(False)
        conv.bias.copy_(torch.randn(64, generator=seeded(0)))
        conv = conv.to("cuda", dtype).to(memory_format=torch.channels_last)
        x = torch.randn(shape[0], inputs, *shape[1:], generator=seeded(1)).to("cuda", dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        exact = functional.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1).relu()
        found = ConvReLU(conv)(x)
        assert found.dtype == dtype
        assert (found - exact).norm() <= 1e-2 * exact.norm()

    @pytest.mark.parametrize("dtype", HALVES_TOO)
    @pytest.mark.parametrize("shape", [(1, 7, 7), (3, 12, 16)])
    def test_windows_are_the_convolution(self, shape, dtype):
        conv = nn.Conv2d(64, 96, 7).requires_grad_(False).to("cuda", dtype).to(memory_format=torch.channels_last)
        n, h, w = shape
        x = (
            torch.randn(n, 64, h, w, generator=seeded(1))
            .to("cuda", dtype)
            .contiguous(memory_format=torch.channels_last)
        )
        exact = functional.conv2d(x.double(), conv.weight.double(), conv.bias.double())
        layer = Faster(conv, WindowLinear(conv), 7)
        for way in (layer.plain, layer.other, layer):
            assert (way(x) - exact).norm() <= 1e-2 * exact.norm()
        assert len(layer.chosen) == 1
