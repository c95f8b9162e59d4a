"""3x3 convolutions on the CPU by Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray, 2016).

An output tile of 4x4 is A' [(G g G') * (B' d B)] A for the 3x3 filter g and the 6x6 input tile d: 36 products
instead of 144. Over all tiles and channels the products are 36 matrix products, and each transform of a tile,
written as its Kronecker square, is one more. Float32 rounding grows by about four times (2e-6 relative).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_B = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
_B += [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
_G = [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]  # over 24
_A = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]

MIN_CHANNELS = 128  # below, moving the tiles costs more than the products save
STRIP = 2**21  # values of a strip of transformed tiles; it should stay in the last-level cache


def _square(rows: list[list[int]], scale: float = 1.0) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float64) * scale
    return torch.kron(matrix, matrix)


class WinogradConv2d(nn.Module):
    """A float32 3x3 convolution with padding 1: (N, C, H, W) channels_last -> (N, K, H, W), for inference."""

    def __init__(self, conv: nn.Conv2d, strip: int = STRIP) -> None:
        super().__init__()
        outputs, inputs = conv.weight.shape[:2]
        assert conv.bias is not None
        self.bias = conv.bias.detach()
        self.inputs, self.outputs, self.strip = inputs, outputs, strip
        self.gather = _square(_B).float()
        self.scatter = _square(_A).float()
        filters = conv.weight.detach().double().permute(2, 3, 1, 0).reshape(9, inputs * outputs)
        self.filters = (_square(_G, 1 / 24) @ filters).float().view(36, inputs, outputs)

    @staticmethod
    def suits(module: nn.Module) -> bool:
        """Whether a module is a convolution that this one can replace, and is faster than."""
        return (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (3, 3)
            and module.padding == module.stride == module.dilation == (1, 1)
            and module.groups == 1
            and min(module.in_channels, module.out_channels) >= MIN_CHANNELS
        )

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        down, across = -(-height // 4), -(-width // 4)
        padding = (0, 0, 1, 4 * across + 1 - width, 1, 4 * down + 1 - height)
        padded = functional.pad(x.permute(0, 2, 3, 1), padding).contiguous()
        out = x.new_empty(n, 4 * down, 4 * across, self.outputs)
        rows = max(1, self.strip // (36 * across * max(self.inputs, self.outputs)))
        images = max(1, rows // down)  # of small maps several fit into a strip
        for i in range(0, n, images):
            for top in range(0, down, rows):
                bottom = min(top + rows, down)
                self._strip(
                    padded[i : i + images, 4 * top : 4 * bottom + 2],
                    out[i : i + images, 4 * top : 4 * bottom],
                )
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def _strip(self, x: Tensor, out: Tensor) -> None:
        """(n, 4 t + 2, 4 s + 2, C) -> (n, 4 t, 4 s, K): t rows of s tiles of each image."""
        n, t, s = out.shape[0], out.shape[1] // 4, out.shape[2] // 4
        tiles = x.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3).reshape(36, -1)
        transformed = (self.gather @ tiles).view(36, n * t * s, self.inputs)
        products = torch.bmm(transformed, self.filters).view(36, -1)
        result = (self.scatter @ products).view(4, 4, n, t, s, self.outputs).permute(2, 3, 0, 4, 1, 5)
        torch.add(result, self.bias, out=out.view(n, t, 4, s, 4, self.outputs))


def use_winograd(net: nn.Sequential) -> nn.Sequential:
    """The net with each suitable convolution replaced."""
    for name, module in net.named_children():
        if WinogradConv2d.suits(module):
            setattr(net, name, WinogradConv2d(module))  # type: ignore[arg-type]
    return net
