"""Layers on a GPU: each by the faster of two ways, found out with the maps that come."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vggfeat.engine.layers.windows import WindowLinear

WRONG = 0.02  # of a result's norm, by which two ways never differ through rounding


def milliseconds(layer: nn.Module, x: Tensor) -> float:
    """What a layer takes on a CUDA device; its first call, in which libraries choose algorithms, doesn't count."""
    layer(x)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(x.device)
    began.record(stream)
    layer(x)
    ended.record(stream)
    ended.synchronize()
    return began.elapsed_time(ended)


class ConvReLU(nn.Module):
    """A convolution, its bias and its ReLU in one call of cuDNN; apart, torch goes over the map three times."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        c = self.conv
        assert isinstance(c.padding, tuple)
        return torch.cudnn_convolution_relu(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)


class Faster(nn.Module):
    """The plain way or the other one, whichever is faster; (N, C, H, W) -> (N, K, H - side + 1, W - side + 1).

    Both are tried once for each power of two of places in the result, with the first map that comes. The other way is
    not taken where torch can't go it, nor where it gives something else. torch.use_deterministic_algorithms(True)
    leaves no choice: the plain way.
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
        self._cost = cost
        self._chosen: dict[int, nn.Module] = {}

    def forward(self, x: Tensor) -> Tensor:
        if torch.are_deterministic_algorithms_enabled():
            return self.plain(x)
        n, _, height, width = x.shape
        size = (n * (height - self.side + 1) * (width - self.side + 1)).bit_length()
        if size not in self._chosen:
            self._chosen[size] = self.other if self._other_is_better(x) else self.plain
        return self._chosen[size](x)

    def _other_is_better(self, x: Tensor) -> bool:
        try:
            found, expected = (way(x)[0].float() for way in (self.other, self.plain))
            right = (found - expected).norm() <= WRONG * expected.norm()  # not so for NaN either
            return bool(right) and self._cost(self.other, x) < self._cost(self.plain, x)
        except torch.OutOfMemoryError:  # a RuntimeError too; the batch is halved
            raise
        except RuntimeError:
            return False


def use_faster(net: nn.Sequential) -> nn.Sequential:
    """The net with a choice for each of its layers: convolutions with ReLU, and the fully connected ones.

    Neither way has weights of its own, where those of the net are channels_last.
    """
    modules = dict(net.named_children())
    names = list(modules)
    for name, following in zip(names, [*names[1:], ""], strict=True):
        layer, relu = modules[name], modules.get(following)
        if name.startswith("fc") and WindowLinear.suits(layer):
            setattr(net, name, Faster(layer, WindowLinear(layer), layer.kernel_size[0]))  # type: ignore[arg-type, index]
        elif isinstance(layer, nn.Conv2d) and isinstance(relu, nn.ReLU):
            setattr(net, name, Faster(nn.Sequential(layer, relu), ConvReLU(layer)))
            setattr(net, following, nn.Identity())
    return net
