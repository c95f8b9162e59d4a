"""Weights rounded to 8-bit integers, with one scale for each output channel."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vggfeat.weights.tensorfile import TensorInfo

INTEGER, SCALE = "I8", "F32"  # as safetensors names the types
_LARGEST = 127


def scale_name(weight: str) -> str:
    """The name of the scales of a rounded weight.

    >>> scale_name("conv1_1.weight")
    'conv1_1.scale'
    """
    return weight.removesuffix(".weight") + ".scale"


def without_scales(infos: Mapping[str, TensorInfo]) -> dict[str, TensorInfo]:
    """The tensors of a net: without the scales, and each rounded weight as if it were of the type of its scales.

    A scale that does not fit a rounded weight stays, and a rounded weight without a scale keeps its type.
    """
    found = dict(infos)
    for name, info in infos.items():
        scale = scale_name(name)
        if info.dtype == INTEGER and scale != name and infos.get(scale) == TensorInfo(SCALE, info.shape[:1]):
            found[name] = info._replace(dtype=SCALE)
            del found[scale]
    return found


def rounded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as int8, with their scales as float32 (outputs,); biases as they are.

    The largest weight of a channel becomes 127 or -127. Scales that clip large weights, to make the mean error smaller,
    gave descriptors that were farther from those of the float16 weights.
    """
    result = {}
    for name, tensor in tensors.items():
        if not name.endswith(".weight"):
            result[name] = tensor
            continue
        rows = tensor.float().flatten(1)
        scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
        result[name] = (rows / scale[:, None]).round().to(torch.int8).view(tensor.shape)
        result[scale_name(name)] = scale
    return result


def restored(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The tensors of a net in a type, without scales."""
    result = {}
    for name, tensor in tensors.items():
        if name.endswith(".scale"):
            continue
        if tensor.dtype == torch.int8:
            scale = tensors[scale_name(name)]
            tensor = tensor.float() * scale.view(-1, *[1] * (tensor.ndim - 1))
        result[name] = tensor.to(dtype)
    return result
