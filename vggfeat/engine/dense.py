"""Dense application (Sect. 3.2): the fully connected layers become convolutions, and the net takes any image."""

from collections import OrderedDict
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from vggfeat.errors import UsageError
from vggfeat.nets import FC_WINDOW, VGG


def dense(vgg: VGG, top: str = "fc8") -> nn.Sequential:
    """The net as convolutions, up to the layer `top`: (N, 3, H, W) float -> (N, channels, h, w).

    fc6 becomes a 7x7 convolution without padding, fc7 and fc8 become 1x1 ones; dropout is left out. All layers but
    pooling and fc8 end after their ReLU; fc8 gives the map of class scores. With five poolings by two and windows of
    7x7, h = H // 32 - 6 (H // 32 for pool5). The parameters are those of `vgg`, not copies. Raises UsageError for a net
    that ends before `top`.
    """
    last = last_module(top)
    if not hasattr(vgg, last):
        raise UsageError(f"the net ends at {vgg.top}, before {top}")
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in vgg.named_children():
        if isinstance(module, nn.Linear):
            modules[name] = _as_convolution(module, FC_WINDOW if name == "fc6" else 1)
        elif not isinstance(module, nn.Flatten | nn.Dropout):
            modules[name] = module
        if name == last:
            break
    return nn.Sequential(modules).eval()


def last_module(layer: str) -> str:
    """The module of a VGG that gives the values of a layer: its ReLU, if it has one.

    >>> last_module("conv4_3"), last_module("fc7"), last_module("pool5"), last_module("fc8")
    ('relu4_3', 'relu7', 'pool5', 'fc8')
    """
    has_none = layer == "fc8" or layer.startswith("pool")
    return layer if has_none else f"relu{layer.lstrip('convf')}"


def at_layers(
    net: nn.Sequential, x: Tensor, layers: Collection[str], of: Callable[[Tensor], Tensor] | None = None
) -> dict[str, Tensor]:
    """The maps of named layers, in the order of the net, which runs up to the deepest of them.

    of : what is wanted of each map, which is then not kept. Default: the map itself.
    """
    named_by = {last_module(layer): layer for layer in layers}
    found: dict[str, Tensor] = {}
    for name, module in net.named_children():
        if len(found) == len(named_by):
            break
        x = module(x)
        if name in named_by:
            found[named_by[name]] = of(x) if of else x
    return found


def _as_convolution(linear: nn.Linear, window: int) -> nn.Conv2d:
    channels = linear.in_features // window**2
    with torch.device("meta"):  # no memory and no time for values that are replaced at once
        conv = nn.Conv2d(channels, linear.out_features, window)
    conv.weight = nn.Parameter(linear.weight.detach().view(-1, channels, window, window), linear.weight.requires_grad)
    conv.bias = linear.bias
    return conv


def spatial_mean(maps: Tensor) -> Tensor:
    """Global average pooling, in float32: (N, C, h, w) -> (N, C)."""
    return maps.mean(dim=(2, 3), dtype=torch.float32)
