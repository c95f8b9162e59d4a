"""Layers on a GPU: each runs in the faster of two ways, which is measured with the first maps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vggfeat.engine.layers.windows import WindowLinear

WRONG = 0.02  # of a result's norm; rounding never makes two ways differ by so much


def milliseconds(layer: nn.Module, x: Tensor) -> float:
    """Time of a layer on a CUDA device. Its first call, in which libraries choose algorithms, does not count."""
    layer(x)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(x.device)
    began.record(stream)
    layer(x)
    ended.record(stream)
    ended.synchronize()
    return began.elapsed_time(ended)


class ConvReLU(nn.Module):
    """Convolution, bias and ReLU in one call of cuDNN; separately, torch goes over the map three times."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        c = self.conv
        assert isinstance(c.padding, tuple)
        return torch.cudnn_convolution_relu(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)


class Faster(nn.Module):
    """The plain way or the other one, whichever is faster; (N, C, H, W) -> (N, K, H - side + 1, W - side + 1).

    Both are tried once for each power of two of places in the result, with the first such map. The other way is not
    taken if torch cannot run it, or if its result is different. In float16 it is not taken either if it makes numbers
    of NaN: a value too large for float16 becomes infinite, a sum of such values NaN, and a ReLU that makes 0 of NaN
    would give finite, wrong descriptors. With torch.use_deterministic_algorithms(True) it is
    always the plain way.

    cost : measures a way, (layer, map) -> any unit. chosen : bits of the number of places -> the way taken.
    """

    def __init__(
        self,
        plain: nn.Module,
        other: nn.Module,
        side: int = 1,
        cost: Callable[[nn.Module, Tensor], float] = milliseconds,
    ) -> None:
        super().__init__()
        self.plain, self.other, self.side = plain, other, side
        self.cost = cost
        self.chosen: dict[int, nn.Module] = {}

    def forward(self, x: Tensor) -> Tensor:
        if torch.are_deterministic_algorithms_enabled():
            return self.plain(x)
        n, _, height, width = x.shape
        size = (n * (height - self.side + 1) * (width - self.side + 1)).bit_length()
        if size not in self.chosen:
            self.chosen[size] = self.other if self._other_is_better(x) else self.plain
        return self.chosen[size](x)

    def _other_is_better(self, x: Tensor) -> bool:
        try:
            found, expected = (way(x)[0].float() for way in (self.other, self.plain))
            right = (found - expected).norm() <= WRONG * expected.norm()  # not so for NaN either
            if x.dtype == torch.float16 and not self.other(torch.full_like(x[:1], torch.nan)).isnan().all():
                return False
            return bool(right) and self.cost(self.other, x) < self.cost(self.plain, x)
        except torch.OutOfMemoryError:  # a RuntimeError too; the batch is halved
            raise
        except RuntimeError:
            return False


def use_faster(net: nn.Sequential, cost: Callable[[nn.Module, Tensor], float] = milliseconds) -> nn.Sequential:
    """The net with a choice for each of its layers: convolutions with ReLU, and the fully connected ones.

    Both ways share the weights of the net if these are channels_last.
    """
    modules = dict(net.named_children())
    names = list(modules)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        layer, relu = modules[name], modules.get(following)
        if name.startswith("fc") and WindowLinear.suits(layer):
            setattr(net, name, Faster(layer, WindowLinear(layer), layer.kernel_size[0], cost))  # type: ignore[arg-type, index]
        elif isinstance(layer, nn.Conv2d) and isinstance(relu, nn.ReLU):
            setattr(net, name, Faster(nn.Sequential(layer, relu), ConvReLU(layer), cost=cost))
            setattr(net, following, nn.Identity())
    return net
