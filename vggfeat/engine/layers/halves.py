"""bfloat16 and float16 on a CPU without instructions for them.

Products and sums are computed in float32; weights and results are rounded. Devices with such instructions do the same.
torch's own way on these CPUs is many times slower than float32.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class InFloat32(nn.Module):
    """A layer with float32 parameters that takes and gives maps in a half precision."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.float()).to(x.dtype)


def computes_in(dtype: torch.dtype) -> bool:
    """Whether this CPU has instructions for products in `dtype` and torch uses them; an older torch does not say."""
    if dtype == torch.bfloat16:
        tell: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
        return any(tell().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return dtype == torch.float32


def round_results(net: nn.Sequential) -> nn.Sequential:
    """A float32 net for maps in a half precision: all layers are replaced, except those that only select values."""
    for name, module in net.named_children():
        if not isinstance(module, nn.ReLU | nn.MaxPool2d):
            setattr(net, name, InFloat32(module))
    return net
