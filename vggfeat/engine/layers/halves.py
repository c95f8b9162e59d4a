"""bfloat16 and float16 on a CPU that can't compute in them: products and sums in float32, weights and results rounded.

That is what devices with such instructions do. torch's own way on other CPUs is many times slower than float32.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class InFloat32(nn.Module):
    """A layer whose parameters are float32: maps of a half precision in, and out."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.float()).to(x.dtype)


def computes_in(dtype: torch.dtype) -> bool:
    """Whether this CPU has instructions for products in a type, and torch uses them. An older torch doesn't tell."""
    if dtype == torch.bfloat16:
        tell: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
        return any(tell().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
    return dtype == torch.float32


def round_results(net: nn.Sequential) -> nn.Sequential:
    """A float32 net for maps of a half precision: its layers replaced, but those that only choose among values."""
    for name, module in net.named_children():
        if not isinstance(module, nn.ReLU | nn.MaxPool2d):
            setattr(net, name, InFloat32(module))
    return net
