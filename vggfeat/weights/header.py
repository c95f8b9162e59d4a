"""The header of a native weights file: its metadata, and the tensors that it lists."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from vggfeat._util.printable import printable
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import TOPS, Top, tensor_shapes
from vggfeat.weights.rounding import without_scales
from vggfeat.weights.tensorfile import TensorInfo

FORMAT = "vggfeat/1"
DTYPES = ("F16", "BF16", "F32")  # as safetensors names them
ASSUMED = "lineage"  # the value of the metadata `assumed`
MAX_CLASSES = 100_000
SCALES = 1000  # a deviation is between the range of the pixels divided by this and times this

Colour = Literal["RGB", "BGR"]
Regression = Literal["scr", "pcr"]  # the paper's names (Appendix A)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the input of a net: scale them to 0..`range`, subtract `mean`, divide by `std`.

    Parameters
    ----------
    colour : {"RGB", "BGR"}
        The order of the channels of the input, and of `mean` and `std`.
    range : float
        255 or 1, the largest pixel value.
    mean, std : tuple of 3 float
        One number per channel, in the unit of `range`. Files hold means in 0..`range`, and deviations from
        `range` / 1000 to `range` * 1000.

    References
    ----------
    Simonyan & Zisserman, Sect. 2.1: the mean of each channel is subtracted.
    """

    colour: Colour
    range: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:g}" for value in triple) for triple in (self.mean, self.std))
        return f"{self.colour}, 0..{self.range:g}, minus {mean}, over {std}"


OXFORD = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
TORCHVISION = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Weights:
    """A native weights file: what its header says. The tensors are not in memory; `load` reads them.

    Parameters
    ----------
    path : Path
        The file.
    net : str
        The net of the paper's Table 1: A, A-LRN, B, C, D, E, or B-5x5.
    width : float
        The numbers of channels, as a factor of the paper's.
    lineage : str
        Who trained the net, such as "oxford".
    preprocessing : Preprocessing
        How pixels become the net's input.
    source, licence : str
        Where the weights come from, and their licence.
    classes : tuple of str or None
        The names of the outputs of fc8, if the file has them. With `boxes`, the names of the classes that it was
        trained on.
    sha256 : str
        The checksum of the whole file, hexadecimal.
    name : str
        What a descriptor store records: the name in the registry, or the file's name.
    top : {"pool5", "fc6", "fc7", "fc8"}
        The last layer in the file.
    outputs : int
        The number of outputs of fc8; 0 without fc8.
    assumed : bool
        Whether `lineage` and `preprocessing` were assumed when the file was converted, because nothing told them.
    boxes : {"scr", "pcr"} or None
        What fc8 predicts (Appendix A): one box for all classes (4 outputs), a box for each class (outputs 4 k to
        4 k + 3 are those of class k), or, with None, scores of classes.
    """

    path: Path
    net: str
    width: float
    lineage: str
    preprocessing: Preprocessing
    source: str
    licence: str
    classes: tuple[str, ...] | None
    sha256: str
    name: str
    top: Top
    outputs: int = 0
    assumed: bool = False
    boxes: Regression | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that a descriptor can be taken from: those of pool5, fc6 and fc7 that the file has."""
        return tuple(layer for layer in TOPS[: TOPS.index(self.top) + 1] if layer != "fc8")


def shown(text: str) -> str:
    """Text from a file for a message: printable, on one line, at most 200 characters."""
    return printable(text, 200)


def to_metadata(
    net: str,
    width: float,
    lineage: str,
    preprocessing: Preprocessing,
    source: str,
    licence: str,
    classes: tuple[str, ...] | None,
    assumed: bool = False,
    boxes: Regression | None = None,
) -> dict[str, str]:
    """The metadata of a native file, which `parse_header` reads."""
    metadata = {
        "format": FORMAT,
        "net": net,
        "width": _text(width),
        "lineage": lineage,
        "colour": preprocessing.colour,
        "range": _text(preprocessing.range),
        "mean": ",".join(map(_text, preprocessing.mean)),
        "std": ",".join(map(_text, preprocessing.std)),
        "source": source,
        "licence": licence,
    }
    if assumed:
        metadata["assumed"] = ASSUMED
    if boxes:
        metadata["boxes"] = boxes
    return metadata if classes is None else {**metadata, "classes": json.dumps(list(classes))}


def parse_header(file: Path, metadata: Mapping[str, str], infos: Mapping[str, TensorInfo]) -> Weights:
    """What a header says of its file; `sha256` is empty.

    Raises WeightsError, naming the file, for incomplete or invalid metadata and for tensors that are not the net's.
    """
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{file}: is a safetensors file, but not in vggfeat's format ({FORMAT}); "
            "convert it with `vggfeat weights convert`"
        )
    try:
        net, width = metadata["net"], float(metadata["width"])
        lineage, source, licence = metadata["lineage"], metadata["source"], metadata["licence"]
        preprocessing, classes, boxes = _preprocessing(metadata), _classes(metadata), _boxes(metadata)
    except KeyError as error:
        raise WeightsError(f"{file}: its metadata lack {error}; take another file") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file}: its metadata are invalid: {error}; take another file") from None
    infos = without_scales(infos)
    for name, info in infos.items():
        if info.dtype not in DTYPES:
            raise WeightsError(f"{file}: {shown(name)} is {info.dtype}, not one of {', '.join(DTYPES)}")
    top = check_tensors(file, {name: info.shape for name, info in infos.items()}, net, width)
    outputs = infos["fc8.bias"].shape[0] if top == "fc8" else 0
    check_classes(file, classes, outputs, boxes)
    facts = classes, "", file.name, top, outputs, metadata.get("assumed") == ASSUMED, boxes
    return Weights(file, net, width, lineage, preprocessing, source, licence, *facts)


def box_outputs(boxes: Regression, classes: int) -> int:
    """How many outputs of fc8 predict boxes, each of which has four numbers."""
    return 4 * (classes if boxes == "pcr" else 1)


def check_classes(file: Path, classes: tuple[str, ...] | None, outputs: int, boxes: Regression | None = None) -> None:
    """Raise WeightsError if the class names and the outputs of fc8 do not fit together."""
    if boxes and not classes:
        raise WeightsError(f"{file}: predicts boxes, and does not name its classes; take another file")
    if classes is not None and outputs != (box_outputs(boxes, len(classes)) if boxes else len(classes)):
        what = f"{boxes} boxes of {len(classes)} classes" if boxes else f"{len(classes)} class names"
        raise WeightsError(f"{file}: {what} for {outputs} outputs of fc8")


def check_tensors(file: Path, shapes: Mapping[str, tuple[int, ...]], net: str, width: float) -> Top:
    """The last layer of a set of tensors, which must be exactly those of the net up to pool5, fc6, fc7 or fc8.

    Raises WeightsError, naming the file, the tensor and both shapes.
    """
    full = _expected(file, shapes, net, width)
    for name, shape in shapes.items():
        if name not in full:
            raise WeightsError(f"{file}: holds {shown(name)}, which net {net} does not have")
        if shape != full[name]:
            wanted = f"net {net} of width {_text(width)} has {full[name]}"
            raise WeightsError(f"{file}: {name} has the shape {shape}, {wanted}")
    for top in get_args(Top):
        names = tensor_shapes(net, width, top=top)
        if shapes.keys() <= names.keys():
            break
    for name in names:
        if name not in shapes:
            raise WeightsError(f"{file}: lacks {name}, which net {net} has (shape {full[name]})")
    return top


def _expected(file: Path, shapes: Mapping[str, tuple[int, ...]], net: str, width: float) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of the net. Raises WeightsError for an unknown net, width or number of classes."""
    fc8 = shapes.get("fc8.bias", (1000,))
    classes = fc8[0] if len(fc8) == 1 else 1000
    if not 0 < classes <= MAX_CLASSES:
        raise WeightsError(f"{file}: fc8 has {classes} outputs; a net has 1 to {MAX_CLASSES}")
    try:
        return tensor_shapes(net, width, classes)
    except UsageError as error:
        raise WeightsError(f"{file}: {error}") from None


def _preprocessing(metadata: Mapping[str, str]) -> Preprocessing:
    colour: Any = metadata["colour"]
    if colour not in get_args(Colour):
        raise ValueError(f"colour {colour!r} is neither RGB nor BGR")
    if metadata["range"] not in ("255", "1"):
        raise ValueError(f"range {metadata['range']!r} is neither 255 nor 1")
    mean, std = (_triple(key, metadata[key]) for key in ("mean", "std"))
    if min(std) <= 0:
        raise ValueError(f"std {metadata['std']!r} is not above 0")
    largest = float(metadata["range"])
    if not all(0 <= value <= largest for value in mean):
        raise ValueError(f"mean {metadata['mean']!r} is not within 0..{largest:g}, the range of the pixels")
    if not all(largest / SCALES <= value <= largest * SCALES for value in std):
        raise ValueError(f"std {metadata['std']!r} is not within {largest / SCALES:g}..{largest * SCALES:g}")
    return Preprocessing(colour, largest, mean, std)


def _triple(key: str, text: str) -> tuple[float, float, float]:
    values = [float(word) for word in text.split(",")]
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise ValueError(f"{key} {text!r} is not three numbers")
    return values[0], values[1], values[2]


def _classes(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    if "classes" not in metadata:
        return None
    classes = json.loads(metadata["classes"])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("classes is not a list of names")
    return tuple(classes)


def _boxes(metadata: Mapping[str, str]) -> Regression | None:
    boxes: Any = metadata.get("boxes")
    if boxes not in (None, *get_args(Regression)):
        raise ValueError(f"boxes {shown(boxes)!r} is neither scr nor pcr")
    return boxes


def _text(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
