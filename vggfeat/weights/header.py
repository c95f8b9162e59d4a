"""The header of a native weights file: what its metadata say, and which tensors it may list."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import CONFIGS, MAX_WIDTH, Top, tensor_shapes

FORMAT = "vggfeat/1"
DTYPES = ("F16", "BF16", "F32")  # in the words of safetensors
MAX_CLASSES = 100_000

Colour = Literal["RGB", "BGR"]


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become the net's input: brought to 0..`range`, then minus `mean`, over `std`.

    Channels are in the order of `colour`, and so are `mean` and `std`, whose unit is that of `range`
    (255 or 1).
    """

    colour: Colour
    range: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


OXFORD = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
TORCHVISION = Preprocessing("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Weights:
    """A native weights file, read up to its header.

    `name` is what a store records: the registry's name, or the file's. `sha256` is that of the whole file.
    `top` is the last layer in the file, `outputs` the number of fc8's, 0 without it; `classes` are their names,
    where the file has them.
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


class TensorInfo(NamedTuple):
    """What a header tells of a tensor; `dtype` in the words of safetensors."""

    dtype: str
    shape: tuple[int, ...]


def shown(text: str) -> str:
    """Words of a file as a message may show them: on one line, and not without end."""
    return text[:200] if text.isprintable() else ascii(text[:200])


def compose(
    net: str,
    width: float,
    lineage: str,
    preprocessing: Preprocessing,
    source: str,
    licence: str,
    classes: tuple[str, ...] | None,
) -> dict[str, str]:
    """The metadata of a native file; what `interpret` reads."""
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
    return metadata if classes is None else {**metadata, "classes": json.dumps(list(classes))}


def interpret(file: Path, metadata: Mapping[str, str], infos: Mapping[str, TensorInfo]) -> Weights:
    """What a header says of its file; `sha256` is left empty.

    Raises WeightsError, naming the file, for metadata that are not complete and tensors that are not the
    net's.
    """
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{file} is a safetensors file, but not in vggfeat's format ({FORMAT}): "
            "convert it with `vggfeat weights convert`"
        )
    try:
        net, width = metadata["net"], float(metadata["width"])
        lineage, source, licence = metadata["lineage"], metadata["source"], metadata["licence"]
        preprocessing, classes = _preprocessing(metadata), _classes(metadata)
    except KeyError as error:
        raise WeightsError(f"{file}: its metadata lack {error}") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{file}: its metadata can't be meant: {error}") from None
    for name, info in infos.items():
        if info.dtype not in DTYPES:
            raise WeightsError(f"{file}: {shown(name)} is {info.dtype}, not one of {', '.join(DTYPES)}")
    top = check_tensors(file, {name: info.shape for name, info in infos.items()}, net, width)
    outputs = infos["fc8.bias"].shape[0] if top == "fc8" else 0
    if classes is not None and len(classes) != outputs:
        raise WeightsError(f"{file}: {len(classes)} class names for {outputs} outputs of fc8")
    return Weights(file, net, width, lineage, preprocessing, source, licence, classes, "", file.name, top, outputs)


def check_tensors(file: Path, shapes: Mapping[str, tuple[int, ...]], net: str, width: float) -> Top:
    """The last layer of a set of tensors, which must be exactly those of the net up to pool5 ... fc8.

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
    if net not in CONFIGS or not 0 < width <= MAX_WIDTH:
        raise WeightsError(f"{file}: no net {net!r} of width {width:g}; the nets are {', '.join(CONFIGS)}")
    fc8 = shapes.get("fc8.bias", (1000,))
    classes = fc8[0] if len(fc8) == 1 else 1000
    if not 0 < classes <= MAX_CLASSES:
        raise WeightsError(f"{file}: fc8 has {classes} outputs; 1 to {MAX_CLASSES} can be meant")
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
    return Preprocessing(colour, float(metadata["range"]), mean, std)


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


def _text(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
