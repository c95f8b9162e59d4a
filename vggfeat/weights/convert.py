"""Other frameworks' VGG weights, brought into the native format."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vggfeat._util.fetch import mismatch
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import CONFIGS, MAX_WIDTH, Top, layers, tensor_shapes
from vggfeat.weights.caffe import open_caffe
from vggfeat.weights.foreign import Parts, is_safetensors, open_keras, open_torch
from vggfeat.weights.header import Weights, check_tensors
from vggfeat.weights.matconvnet import open_matconvnet
from vggfeat.weights.native import check_finite, opened, save
from vggfeat.weights.published import LINEAGES, PREPROCESSING, Form, Lineage, by_file

_READERS = {"torchvision": open_torch, "keras": open_keras, "caffe": open_caffe, "matconvnet": open_matconvnet}
SLACK = 8 << 20  # values that may be packed to nothing
_HDF5, _ZIP, _PICKLE, _MATLAB = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80", b"MATLAB "


class Recognised(NamedTuple):
    """A VGG in another framework's file: `parts` bear their native names, `weights` is what the native file would say
    (but for its path and sha256). assumed: the file says nothing of its preprocessing, nobody else did, and it is
    taken for one of the published files of its form.
    """

    parts: Parts
    weights: Weights
    assumed: bool

    def read(self, name: str) -> Tensor:
        """A tensor in a precision of the native format. Raises WeightsError where its values are not finite."""
        tensor = _ready(self.weights.path, name, self.parts[name].read())
        check_finite(self.weights.path, {name: tensor})
        return tensor


def convert(
    src: str | Path,
    out: str | Path,
    *,
    net: str | None = None,
    form: Form | None = None,
    lineage: Lineage | None = None,
) -> Weights:
    """Convert a VGG file of another framework to the native format at `out`.

    Read are the state dicts of torchvision and timm (`.pth`, safetensors; form "torchvision"), Keras' VGG16
    and VGG19 (`.h5`, `.weights.h5`, full or without the top; form "keras"), Caffe's `.caffemodel` (form
    "caffe") and MatConvNet's `.mat` (form "matconvnet"); None: what the file looks like. The net is
    recognised by its shapes, narrow ones too; `net` only tells A-LRN from A, and must fit. MatConvNet's files
    say what the preprocessing is and what the classes are called; for the others `lineage` does, whose training it
    is: "oxford" (BGR, 0..255) or "torchvision" (RGB, 0..1); None: that of the form's published files.

    Raises WeightsError for a file that is damaged, no such net, or other than its published checksum, and for an
    `out` that is `src`; UsageError for an unknown lineage.
    """
    src, out = Path(src), Path(out)
    if out.exists() and out.samefile(src):
        raise WeightsError(f"{out} is the file to convert: name another one for the native file")
    with recognised(src, net, form, lineage) as found:
        tensors = {name: found.read(name) for name in found.parts}
    said = found.weights
    return save(
        out,
        tensors,
        net=said.net,
        preprocessing=said.preprocessing,
        width=said.width,
        lineage=said.lineage,
        source=said.source,
        licence=said.licence,
        classes=said.classes,
    )


@contextmanager
def recognised(
    src: Path, net: str | None = None, form: Form | None = None, lineage: Lineage | None = None
) -> Iterator[Recognised]:
    """Another framework's file, its checksum and its shapes looked at, its tensors not yet read; see `convert`."""
    if lineage is not None and lineage not in PREPROCESSING:
        raise UsageError(f"no lineage {lineage!r}; take one of {', '.join(PREPROCESSING)}")
    looks = sniff(src)
    if looks == "native":
        raise WeightsError(f"{src} is in vggfeat's format already")
    kind = form or looks
    entry = by_file(src.name)
    if entry and not entry.editions and (complaint := mismatch(src, **entry.check)):
        raise WeightsError(f"{src} is damaged: {complaint}; remove it and fetch it again")
    training = lineage or LINEAGES[kind]
    with _READERS[kind](src) as foreign:
        preprocessing = foreign.preprocessing or PREPROCESSING[training]
        assumed = not (foreign.preprocessing or lineage or entry)
        net, width, parts, top = _recognise(src, foreign.parts, net)
        _refuse_unpacking(src, parts)
        outputs = parts["fc8.bias"].shape[0] if top == "fc8" else 0
        if foreign.classes is not None and len(foreign.classes) != outputs:
            raise WeightsError(f"{src}: {len(foreign.classes)} class names for {outputs} outputs of fc8")
        about = (entry.urls[0], entry.licence) if entry else (src.name, "unknown")
        weights = Weights(
            src, net, width, training, preprocessing, *about, foreign.classes, sha256="", name=src.name, top=top,
            outputs=outputs,
        )  # fmt: skip
        yield Recognised(parts, weights, assumed)


def sniff(path: Path) -> Form | Literal["native"]:
    """What a weights file is by its first bytes (Caffe's: by its name). Raises WeightsError for none of these."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
        if is_safetensors(path):
            with opened(path) as tensors:
                written_as = (tensors.metadata() or {}).get("format", "")
            if written_as.startswith("vggfeat-train/"):
                raise WeightsError(f"{path} is a training run's checkpoint: take best.safetensors, or last, beside it")
            return "native" if written_as.startswith("vggfeat/") else "torchvision"
    except OSError as error:
        raise WeightsError(f"can't read {path}: {error.strerror}") from None
    if head.startswith(_MATLAB) or (head.startswith(_HDF5) and path.suffix == ".mat"):
        return "matconvnet"
    if path.suffix == ".caffemodel":  # nothing marks protobuf's messages
        return "caffe"
    if head.startswith(_HDF5):
        return "keras"
    if path.suffix == ".keras":
        raise WeightsError(f"{path} is a whole Keras model, in a zip: convert the model.weights.h5 that is in it")
    if head.startswith((_ZIP, _PICKLE)):
        return "torchvision"
    raise WeightsError(
        f"{path} is no weights file: neither safetensors, nor PyTorch's, Keras' HDF5 or MatConvNet's .mat, "
        "nor does its name end in .caffemodel"
    )


def _recognise(src: Path, parts: Parts, net: str | None) -> tuple[str, float, Parts, Top]:
    """The net and the width that the shapes tell, the tensors under their native names, all checked, and the last
    layer.
    """
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
    return net, width, named, check_tensors(src, {name: part.shape for name, part in named.items()}, net, width)


def _refuse_unpacking(src: Path, parts: Parts) -> None:
    """Weights hardly pack. A tensor of stride 0, or one never written, has any size and takes no place in a file."""
    values, size = sum(math.prod(part.shape) for part in parts.values()), src.stat().st_size
    if values > size + SLACK:  # the smallest kind, float16, takes 2 bytes a value
        raise WeightsError(f"{src}: says that it holds {values:,} values, in {size:,} bytes: it is no whole file")


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
