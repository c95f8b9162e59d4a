"""Table 1: the layers of each net, the shapes of their parameters, and what they cost. Free of torch.

Layers are named as in Caffe: conv1_1 ... conv5_4, pool1 ... pool5, fc6, fc7, fc8.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from vggfeat.errors import UsageError

_FC = "FC-4096 FC-4096 FC-1000"

# The columns of Table 1, without the soft-max, which only probabilities need.
# "B-5x5" is the shallow net of Sect. 4.1: B with one 5x5 convolution instead of each pair of 3x3 convolutions.
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

CROP = 224  # side of the image for which the fully connected layers were made (Sect. 2.1)
MAX_WIDTH = 16  # of trained nets and of files; a larger width needs terabytes, and is a typing error
FC_WINDOW = 7  # side of the pool5 map of such an image, the input of fc6
TOPS = ("pool5", "fc6", "fc7", "fc8")  # possible last layers of a file

Top = Literal["pool5", "fc6", "fc7", "fc8"]
Init = Literal["glorot", "he", "random", "random-0.1"]


class Layer(NamedTuple):
    """One line of Table 1.

    Parameters
    ----------
    name : str
        The name in Caffe, such as conv1_1.
    kind : str
        conv, LRN, maxpool or FC.
    kernel : int
        Side of the window in pixels; 0 for LRN.
    inputs, outputs : int
        Numbers of channels.
    """

    name: str
    kind: str
    kernel: int = 0
    inputs: int = 0
    outputs: int = 0


def layers(net: str, width: float = 1.0, classes: int = 1000, top: str = "fc8") -> list[Layer]:
    """List the layers of a net up to and including `top`.

    Parameters
    ----------
    net : str
        A name in CONFIGS.
    width : float
        Factor on the numbers of channels, in (0, MAX_WIDTH]; 1 is the paper's net.
    classes : int
        Outputs of fc8.
    top : str
        The name of the last layer.

    Returns
    -------
    list of Layer
        The layers, from the image on.

    Raises
    ------
    UsageError
        If `net` is unknown or has no layer `top`, or `width` is out of range or leaves a layer without channels.

    References
    ----------
    Table 1.
    """
    check_net(net)
    plan = list(_walk(net, width, classes))
    names = [layer.name for layer in plan]
    if top not in names:
        raise UsageError(f"net {net} has no layer {top!r}; its layers are {', '.join(names)}")
    return plan[: names.index(top) + 1]


def file_top(layer: str) -> Top:
    """Name the last layer that a weights file must have for a layer.

    Parameters
    ----------
    layer : str
        The name of a layer.

    Returns
    -------
    {"pool5", "fc6", "fc7", "fc8"}

    Examples
    --------
    >>> file_top("conv4_3"), file_top("fc7")
    ('pool5', 'fc7')
    """
    return next((top for top in get_args(Top) if top == layer), "pool5")


def check_net(net: str) -> None:
    """Raise UsageError if there is no such net in Table 1."""
    if net not in CONFIGS:
        usual = "VGG-11 is A, VGG-13 is B, VGG-16 is D, VGG-19 is E"
        raise UsageError(f"no net {net!r}; the nets are {', '.join(CONFIGS)} ({usual})")


def _walk(net: str, width: float, classes: int) -> Iterator[Layer]:
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


def _scaled(channels: int, width: float) -> int:
    if not 0 < width <= MAX_WIDTH:
        raise UsageError(f"width must be above 0 and at most {MAX_WIDTH}, not {width}")
    scaled = round(channels * width)
    if scaled < 1:
        raise UsageError(f"width {width} leaves a layer of {channels} channels with none; take a larger one")
    return scaled


def tensor_shapes(net: str, width: float = 1.0, classes: int = 1000, top: str = "fc8") -> dict[str, tuple[int, ...]]:
    """List the shapes of the parameters of a net.

    Parameters
    ----------
    net, width, classes, top
        As for `layers`.

    Returns
    -------
    dict of str to tuple of int
        The shape of each parameter by name: (out, in, kh, kw) for weights of convolutions, (out, in) for those of fully
        connected layers, (out,) for biases. The inputs of fc6 are in the order C, H, W.

    Raises
    ------
    UsageError
        As `layers`.

    Examples
    --------
    >>> tensor_shapes("D")["conv1_1.weight"]
    (64, 3, 3, 3)
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


def parameter_count(net: str, width: float = 1.0, classes: int = 1000, top: str = "fc8") -> int:
    """Count the weights and biases of a net.

    Parameters
    ----------
    net, width, classes, top
        As for `layers`.

    Returns
    -------
    int
        The number of parameters.

    Raises
    ------
    UsageError
        As `layers`.

    References
    ----------
    Table 2, in millions.

    Examples
    --------
    >>> parameter_count("D")
    138357544
    """
    return sum(math.prod(shape) for shape in tensor_shapes(net, width, classes, top).values())


def weight_layers(net: str) -> int:
    """Count the layers of a net that have weights.

    Parameters
    ----------
    net : str
        A name in CONFIGS.

    Returns
    -------
    int
        11 for A to 19 for E, as in the first line of Table 1.

    Raises
    ------
    UsageError
        As `layers`.
    """
    return sum(layer.kind in ("conv", "FC") for layer in layers(net))


def flops(
    net: str,
    height: int = CROP,
    width_px: int = CROP,
    *,
    width: float = 1.0,
    classes: int = 1000,
    top: str = "fc8",
) -> int:
    """Count the floating-point operations of one dense pass over an image.

    Only convolutions and fully connected layers are counted; biases, ReLU and pooling are below 1 %. The fully
    connected layers are applied at every position of the pool5 map; for 224x224 pixels that is one position.

    Parameters
    ----------
    height, width_px : int
        Size of the image in pixels.
    net, width, classes, top
        As for `layers`.

    Returns
    -------
    int
        The number of operations; a multiplication with an addition counts as two.

    Raises
    ------
    UsageError
        As `layers`.

    References
    ----------
    Sect. 3.2.
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
