"""Table 1: the layers of each net, the shapes of their parameters, and what they cost. Free of torch.

Layers are named as in Caffe: conv1_1 ... conv5_4, pool1 ... pool5, fc6, fc7, fc8.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

from vggfeat.errors import UsageError

_FC = "FC-4096 FC-4096 FC-1000"

# Table 1, column by column, in its own words; the soft-max is left to whoever needs probabilities.
# "B-5x5" is the shallow net of Sect. 4.1: B with each pair of 3x3 convolutions replaced by one 5x5.
CONFIGS: dict[str, tuple[str, ...]] = {
    name: (*f"{layers} {_FC}".split(),)
    for name, layers in {
        "A": """conv3-64 maxpool conv3-128 maxpool conv3-256 conv3-256 maxpool
                conv3-512 conv3-512 maxpool conv3-512 conv3-512 maxpool""",
        "A-LRN": """conv3-64 LRN maxpool conv3-128 maxpool conv3-256 conv3-256 maxpool
                    conv3-512 conv3-512 maxpool conv3-512 conv3-512 maxpool""",
        "B": """conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 maxpool
                conv3-512 conv3-512 maxpool conv3-512 conv3-512 maxpool""",
        "C": """conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 conv1-256 maxpool
                conv3-512 conv3-512 conv1-512 maxpool conv3-512 conv3-512 conv1-512 maxpool""",
        "D": """conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool conv3-256 conv3-256 conv3-256 maxpool
                conv3-512 conv3-512 conv3-512 maxpool conv3-512 conv3-512 conv3-512 maxpool""",
        "E": """conv3-64 conv3-64 maxpool conv3-128 conv3-128 maxpool
                conv3-256 conv3-256 conv3-256 conv3-256 maxpool
                conv3-512 conv3-512 conv3-512 conv3-512 maxpool
                conv3-512 conv3-512 conv3-512 conv3-512 maxpool""",
        "B-5x5": "conv5-64 maxpool conv5-128 maxpool conv5-256 maxpool conv5-512 maxpool conv5-512 maxpool",
    }.items()
}

CROP = 224  # the side of the image that the fully connected layers were made for (Sect. 2.1)
MAX_WIDTH = 16  # of nets that are trained and of files; a larger one is a typing error that asks for terabytes
FC_WINDOW = 7  # ... and that of the pool5 map that fc6 sees there
TOPS = ("pool5", "fc6", "fc7", "fc8")  # where a net may end

Top = Literal["pool5", "fc6", "fc7", "fc8"]
Init = Literal["glorot", "random", "random-0.1"]


class Layer(NamedTuple):
    """One line of Table 1: `kind` is conv, LRN, maxpool or FC; sizes are 0 where they mean nothing."""

    name: str
    kind: str
    kernel: int = 0
    inputs: int = 0
    outputs: int = 0


def layers(net: str, width: float = 1.0, classes: int = 1000, top: Top = "fc8") -> list[Layer]:
    """The layers of a net up to and including `top`, with its channels scaled by `width`.

    Raises UsageError for a net that is not in CONFIGS, a top that is not in TOPS, or a width that leaves
    a layer without channels.
    """
    if net not in CONFIGS:
        raise UsageError(f"no net {net!r}; the nets are {', '.join(CONFIGS)}")
    if top not in TOPS:
        raise UsageError(f"no layer {top!r} to end at; the layers are {', '.join(TOPS)}")
    return list(_walk(net, width, classes, top))


def _walk(net: str, width: float, classes: int, top: Top) -> Iterator[Layer]:
    channels, block, index, fc = 3, 1, 0, 6
    for word in CONFIGS[net]:
        kind, _, size = word.partition("-")
        if kind == "maxpool":
            layer = Layer(f"pool{block}", "maxpool", 2, channels, channels)
            block, index = block + 1, 0
        elif kind == "LRN":
            layer = Layer(f"norm{block}", "LRN", 0, channels, channels)
        elif kind == "FC":
            inputs = channels * FC_WINDOW**2 if fc == 6 else channels
            outputs = classes if fc == 8 else _scaled(int(size), width)
            layer = Layer(f"fc{fc}", "FC", FC_WINDOW if fc == 6 else 1, inputs, outputs)
            fc += 1
        else:
            index += 1
            kernel = int(kind.removeprefix("conv"))
            layer = Layer(f"conv{block}_{index}", "conv", kernel, channels, _scaled(int(size), width))
        yield layer
        channels = layer.outputs
        if layer.name == top:
            return


def _scaled(channels: int, width: float) -> int:
    if not 0 < width <= MAX_WIDTH:
        raise UsageError(f"width must be above 0 and at most {MAX_WIDTH}, not {width}")
    scaled = round(channels * width)
    if scaled < 1:
        raise UsageError(f"width {width} leaves a layer of {channels} channels with none; take a larger one")
    return scaled


def tensor_shapes(net: str, width: float = 1.0, classes: int = 1000, top: Top = "fc8") -> dict[str, tuple[int, ...]]:
    """Name -> shape of each parameter: convolutions (out, in, kh, kw), fully connected (out, in).

    fc6's inputs are in C, H, W order.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in layers(net, width, classes, top):
        if layer.kind == "conv":
            shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        elif layer.kind == "FC":
            shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs)
        else:
            continue
        shapes[f"{layer.name}.bias"] = (layer.outputs,)
    return shapes


def parameter_count(net: str, width: float = 1.0, classes: int = 1000, top: Top = "fc8") -> int:
    """Number of weights and biases (Table 2 gives them in millions)."""
    return sum(math.prod(shape) for shape in tensor_shapes(net, width, classes, top).values())


def weight_layers(net: str) -> int:
    """Number of layers with weights: 11 for A ... 19 for E (the first line of Table 1)."""
    return sum(layer.kind in ("conv", "FC") for layer in layers(net))


def flops(
    net: str,
    height: int = CROP,
    width_px: int = CROP,
    *,
    width: float = 1.0,
    classes: int = 1000,
    top: Top = "fc8",
) -> int:
    """Floating-point operations of one dense pass over a (height, width_px) image, two a multiply-add.

    Convolutions and fully connected layers only (biases, ReLU, pooling: below 1 %). The fully connected
    layers count as applied at every place of the pool5 map (Sect. 3.2); at 224x224 that is one place.
    """
    total, h, w = 0, height, width_px
    for layer in layers(net, width, classes, top):
        if layer.kind == "maxpool":
            h, w = h // 2, w // 2
        elif layer.kind == "conv":
            total += 2 * h * w * layer.outputs * layer.inputs * layer.kernel**2
        elif layer.kind == "FC":
            h, w = h - layer.kernel + 1, w - layer.kernel + 1
            total += 2 * max(h, 0) * max(w, 0) * layer.outputs * layer.inputs
    return total
