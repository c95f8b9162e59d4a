"""Faster layers for inference, behind one function.

winograd   3x3 convolutions on a CPU with a quarter of the products
windows    fully connected layers over a map as matrix products
fused      on a GPU: convolution, bias and ReLU in one call, or whichever way is faster
halves     bfloat16 and float16 on a CPU that has no instructions for them
"""

import torch
from torch import nn

from vggfeat.engine.layers.fused import use_faster
from vggfeat.engine.layers.halves import computes_in, round_results
from vggfeat.engine.layers.windows import use_windows
from vggfeat.engine.layers.winograd import use_winograd


def optimise(net: nn.Sequential, device: torch.device, dtype: torch.dtype, native: bool | None = None) -> nn.Sequential:
    """The dense net on a device, its layers replaced by faster ones that give the same values but for rounding.

    dtype : of the maps that it takes and gives. native : whether the CPU computes in that type; None asks it.
    """
    net = net.to(device, dtype).to(memory_format=torch.channels_last)
    if device.type == "cuda":
        return use_faster(net)
    if not (computes_in(dtype) if native is None else native):
        return round_results(use_windows(use_winograd(net.float())))
    return use_windows(use_winograd(net) if dtype == torch.float32 else net)
