"""Fully connected layers over a map: its windows are the rows of one matrix product.

On a CPU, fc6 as a convolution packs its 400 MB of weights again for every small map; as a product it reads them once.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

FEW = 64  # windows below which the product is faster with the weights on its left


class WindowLinear(nn.Module):
    """A k x k convolution without padding: (N, C, H, W), best channels_last -> (N, K, H-k+1, W-k+1), for inference.

    Its weights are in H, W, C order, in which the windows of a channels_last map are cut fastest.
    """

    def __init__(self, conv: nn.Conv2d, few: int = FEW) -> None:
        super().__init__()
        assert conv.bias is not None
        self.bias = conv.bias.detach()
        self.side, self.few = conv.kernel_size[0], few
        self.weight = conv.weight.detach().permute(0, 2, 3, 1).flatten(1).contiguous()

    @staticmethod
    def suits(module: nn.Module) -> bool:
        """Whether a module is a fully connected layer that `dense` turned into a convolution."""
        return (
            isinstance(module, nn.Conv2d)
            and module.padding == (0, 0)
            and module.stride == module.dilation == (1, 1)
            and module.kernel_size[0] == module.kernel_size[1]
            and module.groups == 1
        )

    def forward(self, x: Tensor) -> Tensor:
        windows = x.permute(0, 2, 3, 1).unfold(1, self.side, 1).unfold(2, self.side, 1)  # (N, h, w, C, k, k)
        n, h, w = windows.shape[:3]
        rows = windows.permute(0, 1, 2, 4, 5, 3).reshape(n * h * w, -1)
        if len(rows) < self.few:
            out = torch.addmm(self.bias[:, None], self.weight, rows.t().contiguous()).t()
        else:
            out = functional.linear(rows, self.weight, self.bias)
        return out.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def use_windows(net: nn.Sequential) -> nn.Sequential:
    """The net with each fully connected layer replaced."""
    for name, module in net.named_children():
        if name.startswith("fc") and WindowLinear.suits(module):
            setattr(net, name, WindowLinear(module))  # type: ignore[arg-type]
    return net
