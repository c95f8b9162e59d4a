"""Other frameworks' VGG weights, brought into the native format."""

import math
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vggfeat.errors import WeightsError
from vggfeat.fetch import mismatch
from vggfeat.nets import CONFIGS, layers, tensor_shapes
from vggfeat.weights.foreign import Parts, is_safetensors, keras_parts, torch_parts
from vggfeat.weights.header import MAX_WIDTH, Weights, check_tensors
from vggfeat.weights.native import check_finite, opened, save
from vggfeat.weights.published import LINEAGES, Form, by_file

_READERS = {"torchvision": torch_parts, "keras": keras_parts}
_HDF5, _ZIP, _PICKLE = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80"


def convert(src: str | Path, out: str | Path, *, net: str | None = None, form: Form | None = None) -> Weights:
    """Convert a VGG file of another framework to the native format at `out`.

    Read are the state dicts of torchvision and timm (`.pth`, safetensors; form "torchvision") and Keras'
    VGG16 and VGG19 (`.h5`, full or without the top; form "keras"); None: what the file looks like. The net
    is recognised by its shapes, narrow ones too; `net` only tells A-LRN from A, and must fit. The form
    says what the preprocessing is: nothing in such files does.

    Raises WeightsError for a file that is damaged, no such net, or other than its published checksum.
    """
    src = Path(src)
    found = sniff(src)
    if found == "native":
        raise WeightsError(f"{src} is in vggfeat's format already")
    kind = form or found
    entry = by_file(src.name)
    if entry and (complaint := mismatch(src, **entry.check)):
        raise WeightsError(f"{src} is damaged: {complaint}; remove it and fetch it again")
    with _READERS[kind](src) as parts:
        net, width, named = _recognise(src, parts, net)
        tensors = {name: _ready(src, name, part.read()) for name, part in named.items()}
    check_finite(src, tensors)
    lineage, preprocessing = LINEAGES[kind]
    return save(
        out,
        tensors,
        net=net,
        preprocessing=preprocessing,
        width=width,
        lineage=lineage,
        source=entry.urls[0] if entry else src.name,
        licence=entry.licence if entry else "unknown",
    )


def sniff(path: Path) -> Form | Literal["native"]:
    """What a weights file is by its first bytes. Raises WeightsError for one that is none of these."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
        if is_safetensors(path):
            with opened(path) as tensors:
                ours = (tensors.metadata() or {}).get("format", "").startswith("vggfeat/")
            return "native" if ours else "torchvision"
    except OSError as error:
        raise WeightsError(f"can't read {path}: {error.strerror}") from None
    if head.startswith(_HDF5):
        return "keras"
    if head.startswith((_ZIP, _PICKLE)):
        return "torchvision"
    raise WeightsError(f"{path} is no weights file: neither safetensors, nor PyTorch's, nor Keras' HDF5")


def _recognise(src: Path, parts: Parts, net: str | None) -> tuple[str, float, Parts]:
    """The net and the width that the shapes tell, and the tensors under their native names, all checked."""
    convs = len({name.partition(".")[0] for name in parts if name.startswith("conv")})
    shapes = {name: part.shape for name, part in parts.items()}
    width = (shapes.get("conv0.weight") or (0,))[0] / 64
    if not 0 < width <= MAX_WIDTH:
        raise WeightsError(f"{src}: holds no first convolution of a VGG")
    wrong = {known: _differences(known, width, shapes) for known in CONFIGS if len(_convs(known)) == convs}
    if not wrong:
        raise WeightsError(f"{src}: holds {convs} convolutional layers, as no net of the paper does")
    likeliest = min(wrong, key=wrong.__getitem__)
    if net is not None and wrong.get(net, math.inf) > wrong[likeliest]:
        raise WeightsError(f"{src} holds net {likeliest}, not {net}")
    net = net or likeliest
    names = {f"conv{place}": name for place, name in enumerate(_convs(net))}
    named = {}
    for name, part in parts.items():
        layer, _, kind = name.partition(".")
        named[f"{names.get(layer, layer)}.{kind}"] = part
    check_tensors(src, {name: part.shape for name, part in named.items()}, net, width)
    return net, width, named


def _convs(net: str) -> list[str]:
    return [layer.name for layer in layers(net) if layer.kind == "conv"]


def _differences(net: str, width: float, shapes: dict[str, tuple[int, ...]]) -> int:
    ours = tensor_shapes(net, width, top="pool5")
    return sum(shapes.get(f"conv{place}.weight") != ours[f"{name}.weight"] for place, name in enumerate(_convs(net)))


def _ready(src: Path, name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        raise WeightsError(f"{src}: {name} holds {tensor.dtype}, not floating-point numbers")
    kept = tensor.dtype in (torch.float16, torch.bfloat16, torch.float32)
    return tensor.contiguous() if kept else tensor.float().contiguous()
