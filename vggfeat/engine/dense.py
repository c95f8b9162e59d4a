"""Dense application (Sect. 3.2): the fully connected layers become convolutions, and the net takes any image."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from vggfeat.errors import UsageError
from vggfeat.nets import FC_WINDOW, VGG, Top


def dense(vgg: VGG, top: Top = "fc8") -> nn.Sequential:
    """The net as convolutions, up to `top`: (N, 3, H, W) float -> (N, channels, h, w).

    fc6 becomes a 7x7 convolution without padding, fc7 and fc8 become 1x1 ones; dropout is left out. pool5,
    fc6 and fc7 end after their ReLU, fc8 gives the map of class scores. With five poolings by two and
    windows of 7x7, h = H // 32 - 6 (H // 32 for pool5). The parameters are those of `vgg`, not copies.
    Raises UsageError for a net that ends before `top`.
    """
    last = {"fc6": "relu6", "fc7": "relu7"}.get(top, top)
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
