"""What is asked of descriptors, as one frozen, validated object. Free of torch and numpy.

Library, command, scikit-learn transformer, benchmarks, evaluation and the workers of a cluster pass this object on; a
variant of one is made with `dataclasses.replace`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import index
from os import fspath
from typing import ClassVar, Literal, get_args

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.nets.table import CONFIGS, FC_WINDOW, layers

Aggregation = Literal["mean", "max", "stack"]
Normalisation = Literal["l2", "per-scale", "none"]
DescriptorLayer = Literal[
    "fc7", "fc6",
    "pool5", "conv5_4", "conv5_3", "conv5_2", "conv5_1",
    "pool4", "conv4_4", "conv4_3", "conv4_2", "conv4_1",
    "pool3", "conv3_4", "conv3_3", "conv3_2", "conv3_1",
    "pool2", "conv2_2", "conv2_1",
    "pool1", "conv1_2", "conv1_1",
]  # fmt: skip
Lineage = Literal["oxford", "torchvision"]
Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16", "mixed"]

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "SCALES",
    "Aggregation",
    "DescriptorLayer",
    "DescriptorSpec",
    "Lineage",
    "NetSpec",
    "Normalisation",
    "PosteriorSpec",
    "Precision",
]

MAX_BYTES = 2**30  # of an image file, which is read into memory; MAX_PIXELS of 16-bit RGBA take three quarters of it
MAX_PIXELS = 89_478_485  # of an image file; Pillow suspects a decompression bomb if there are more
SCALES = (256, 384, 512)  # Appendix B, Caltech; the five scales of VOC gain 0.3 %


@dataclass(frozen=True)
class NetSpec(ABC):
    """Settings of the nets that see the images, shared by descriptors and class posteriors.

    Parameters
    ----------
    net : str or None
        Net of Table 1: A (VGG-11), A-LRN, B (VGG-13), C, D (VGG-16) or E (VGG-19); or several, such as "D,E", whose
        results are fused. Default: the net of the weights, or D.
    scales : sequence of int
        Smallest image sides Q in pixels, to which each image is rescaled.
    weights : str or path
        auto, a name (oxford, torchvision, oxford-int8; slim, for tests only) or a file. For several nets: one for all
        of them, or one for each net, separated by commas.
    lineage : {"oxford", "torchvision"} or None
        Preprocessing of weights whose origin is unknown: oxford (BGR, 0..255) or torchvision (RGB, 0..1). Default: that
        of the file or of its first layer, or assumed by the format.
    mirror : bool
        Average with the result of the mirrored image.
    device : str
        auto (the first GPU, or the CPU), cpu, cuda, cuda:1, ...
    precision : {"auto", "float32", "tf32", "bfloat16", "float16", "mixed"}
        Precision of the net. mixed is float16 with sums in float32; an image with a value that is not finite is
        computed again in tf32. auto is mixed on a GPU with tensor cores and float32 on a CPU; in a store that exists it
        is the precision of the store.
    ceil : bool
        Round pooled sizes up, as Caffe does.
    exif : bool
        Turn photos upright as their EXIF orientation says.
    allow_truncated : bool
        Also take image files that are cut: missing rows or details become grey or black. Else they are errors.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    net: str | None = None
    scales: tuple[int, ...] = SCALES
    weights: str = "auto"
    lineage: Lineage | None = None
    mirror: bool = True
    device: str = "auto"
    precision: Precision = "auto"
    ceil: bool = field(default=False, metadata={"flags": "--ceil/--floor"})
    exif: bool = True
    allow_truncated: bool = False

    @property
    @abstractmethod
    def top(self) -> str:
        """The layer whose values are wanted."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", whole_scales(self.scales))
        object.__setattr__(self, "weights", fspath(self.weights))
        check_choice("precision", self.precision, Precision)
        if self.lineage is not None:
            check_choice("lineage", self.lineage, Lineage)
        for net in (self.net or "").split(","):
            if net.strip() in CONFIGS:
                layers(net.strip(), top=self.top)
        check_scales(self.scales, self.top, self.ceil)


@dataclass(frozen=True)
class DescriptorSpec(NetSpec):
    """Settings of VGG descriptors (Appendix B); the other parameters are those of `NetSpec`.

    Parameters
    ----------
    agg : {"mean", "max", "stack"}
        Aggregation over the scales.
    layer : str
        Layer whose activations are averaged over space, after its ReLU: fc7, fc6, or a pooling or convolution of
        Table 1, such as pool5 or conv4_3.
    normalize : {"l2", "per-scale", "none"}
        L2 normalisation: once at the end (as in the paper), of each scale and at the end, or none.

    Raises
    ------
    UsageError
        If a value is invalid.

    Examples
    --------
    >>> DescriptorSpec(scales=[256], layer="pool5").scales
    (256,)
    """

    agg: Aggregation = "mean"
    layer: DescriptorLayer = "fc7"
    normalize: Normalisation = "l2"

    @property
    def top(self) -> str:
        """The layer whose values are wanted."""
        return self.layer

    def __post_init__(self) -> None:
        check_choice("layer", self.layer, DescriptorLayer)
        check_choice("aggregation", self.agg, Aggregation)
        check_choice("normalisation", self.normalize, Normalisation)
        super().__post_init__()


@dataclass(frozen=True)
class PosteriorSpec(NetSpec):
    """Settings of class posteriors (Sect. 3.2): fc8 after the soft-max, averaged. The parameters are `NetSpec`'s."""

    agg: ClassVar[Aggregation] = "mean"
    layer: ClassVar[str] = "fc8"
    normalize: ClassVar[Normalisation] = "none"

    @property
    def top(self) -> str:
        """The layer whose values are wanted."""
        return "fc8"


def whole_scales(scales: Iterable[int]) -> tuple[int, ...]:
    """The scales as a tuple of int. Raises UsageError for a scale that is not a whole number, or given twice."""
    try:
        chosen = tuple(index(q) for q in scales)
    except TypeError as error:
        raise UsageError(f"scales must be whole numbers, such as (256, 384, 512), not {scales!r}") from error
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"a scale is given twice: {','.join(map(str, chosen))}")
    return chosen


def smallest_q(layer: str, ceil: bool = False) -> int:
    """The smallest Q at which the map of a layer has one place: 224 for fc6, fc7 and fc8, 32 for pool5.

    >>> smallest_q("fc7"), smallest_q("pool5"), smallest_q("conv5_1"), smallest_q("conv1_1")
    (224, 32, 16, 1)
    """
    fully_connected = layer.startswith("fc")
    places = FC_WINDOW if fully_connected else 1
    block = 5 if fully_connected else int(layer.lstrip("convpl").partition("_")[0])
    stride = 2 ** (block - layer.startswith("conv"))
    return stride * (places - 1) + 1 if ceil else stride * places


def check_layers(wanted: Sequence[str]) -> None:
    """Raise UsageError for a text in place of a list of layers, no layer, or a layer given twice."""
    if isinstance(wanted, str) or not wanted:
        raise UsageError(f"layers must be a list of names, such as ['conv4_3', 'pool5'], not {wanted!r}")
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"a layer is given twice: {','.join(map(str, wanted))}")


def deepest(wanted: Iterable[DescriptorLayer]) -> DescriptorLayer:
    """The layer that comes last in the nets.

    >>> deepest(["conv4_3", "pool5", "conv1_1"])
    'pool5'
    """
    return min(wanted, key=get_args(DescriptorLayer).index)


def check_scales(scales: Sequence[int], layer: str, ceil: bool = False) -> None:
    """Raise UsageError for an unknown layer, no scale, a scale given twice, or a scale too small for `layer`."""
    known = *get_args(DescriptorLayer), "fc8"
    if layer not in known:
        raise UsageError(f"no layer {layer!r}; take one of {', '.join(known)}")
    if not scales:
        raise UsageError("no scale given; the paper's are 256,384,512")
    whole_scales(scales)
    smallest = smallest_q(layer, ceil)
    for q in scales:
        if q < smallest:
            raise UsageError(f"Q={q} is too small for {layer}: its smallest Q is {smallest}")
