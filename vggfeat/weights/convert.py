"""Weights of other frameworks, converted to the native format."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vggfeat._util.fetch import cache_dir, locked
from vggfeat.errors import WeightsError
from vggfeat.formats import HEAD, LFS, PAGE, kind
from vggfeat.nets import CONFIGS, MAX_WIDTH, TOPS, Top, layers, tensor_shapes
from vggfeat.spec import Lineage
from vggfeat.weights.caffe import open_caffe
from vggfeat.weights.content import Content
from vggfeat.weights.foreign import ForeignFile, ForeignTensors, open_keras
from vggfeat.weights.header import Weights, check_classes, check_tensors, shown
from vggfeat.weights.lineage import training_of
from vggfeat.weights.matconvnet import open_matconvnet
from vggfeat.weights.native import check_finite, check_out, digest, reading, save_as
from vggfeat.weights.published import REGISTRY
from vggfeat.weights.pytorch import NUMPY_FILE, is_safetensors, open_torch
from vggfeat.weights.registry import Form, Registry
from vggfeat.weights.tensorfile import TensorFile

_READERS = {"torchvision": open_torch, "keras": open_keras, "caffe": open_caffe, "matconvnet": open_matconvnet}
SLACK = 8 << 20  # values that may be compressed to nothing
_HDF5, _ZIP, _PICKLE, _MATLAB, _NUMPY = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x80", b"MATLAB ", b"\x93NUMPY"


class Recognised(NamedTuple):
    """A VGG in a file of another framework.

    tensors : under their native names. weights : what the native file will say, with this file's path and no sha256.
    content : of the file.
    """

    tensors: ForeignTensors
    weights: Weights
    content: Content

    def tensor(self, name: str) -> Tensor:
        """A tensor in a precision of the native format. Raises WeightsError if its values are not finite."""
        tensor = self.tensors[name].read()
        if not tensor.is_floating_point():
            raise WeightsError(f"{self.weights.path}: {name} holds {tensor.dtype}, not floating-point numbers")
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32):
            tensor = tensor.float()
        check_finite(self.weights.path, {name: tensor})
        return tensor.contiguous()


def convert(
    src: str | Path,
    out: str | Path,
    *,
    net: str | None = None,
    form: Form | None = None,
    lineage: Lineage | None = None,
    top: Top | None = None,
    registry: Registry = REGISTRY,
) -> Weights:
    """Convert a VGG of another framework to a native file.

    The net and its width are recognised by the shapes of the tensors. No code in the file is run.

    Parameters
    ----------
    src : str or Path
        A state dict of torchvision, timm or `vggfeat.nets.VGG` (`.pth` or safetensors), by itself or in a checkpoint;
        Keras' VGG16 or VGG19 (`.h5` or `.weights.h5`, with or without the top), Caffe's `.caffemodel` or MatConvNet's
        `.mat`.
    out : str or Path
        The native file, .safetensors, in a folder that exists.
    net : str, optional
        The net. It must fit; it is needed only for A-LRN, whose shapes are those of A.
    form : {"torchvision", "keras", "caffe", "matconvnet"}, optional
        The framework. By default it is recognised by the file's first bytes or its name.
    lineage : {"oxford", "torchvision"}, optional
        Who trained the weights: "oxford" (input BGR, 0..255) or "torchvision" (RGB, 0..1). Published weights are
        recognised by their checksum or by the values of their first layer; MatConvNet's files contain their own
        preprocessing. By default other files are assumed to be of the lineage of the published files of the same
        form; `Weights.assumed` says so.
    top : {"pool5", "fc6", "fc7", "fc8"}, optional
        The last layer to convert; what comes after it need not be a VGG's. By default all of the file.
    registry : Registry
        The published files that are known, see `vggfeat.weights.published`: a file with the name of one must have its
        checksum.

    Returns
    -------
    Weights
        What `read` returns for the native file.

    Raises
    ------
    WeightsError
        If `src` is damaged, not a net of the paper, or does not have its published checksum; if it is of another
        lineage; if `out` is `src`.
    UsageError
        If the lineage is unknown; if `out` has another suffix or cannot be written.
    """
    src, out = Path(src), Path(out)
    if out.exists() and out.samefile(src):
        raise WeightsError(f"{out}: is the file to convert; name another one for the native file")
    check_out(out)
    return _convert(src, out, net, form, lineage, top, registry)


def _convert(
    src: Path,
    out: Path,
    net: str | None = None,
    form: Form | None = None,
    lineage: Lineage | None = None,
    top: Top | None = None,
    registry: Registry = REGISTRY,
    sha256: str = "",
) -> Weights:
    """As `convert`; the file must have the checksum, if one is given."""
    with recognised(src, net, form, lineage, top, registry) as found:
        if sha256 and found.content.sum("sha256") != sha256:
            raise WeightsError(f"{src}: changed while it was read; start again")
        tensors = {name: found.tensor(name) for name in found.tensors}
    return save_as(out, tensors, found.weights)


def convert_into_cache(path: Path, top: Top, lineage: Lineage | None, registry: Registry) -> Path:
    """The native file of a file of another framework, in the cache.

    All layers are converted, so that a store is the same weights' for each layer; only if that fails those up to `top`.
    """
    sha256 = digest(path)
    stem = f"{path.stem}-{sha256[:16]}-{lineage or 'auto'}"
    whole, part = (cache_dir() / f"{stem}{end}.safetensors" for end in ("", f"-{top}"))
    for native in (whole, part):
        if native.is_file():
            return native
    with locked(whole):
        if whole.is_file():  # another process was faster
            return whole
        try:
            _convert(path, whole, lineage=lineage, registry=registry, sha256=sha256)
        except WeightsError:
            _convert(path, part, lineage=lineage, top=top, registry=registry, sha256=sha256)
            return part
        return whole


@contextmanager
def recognised(
    src: Path,
    net: str | None = None,
    form: Form | None = None,
    lineage: Lineage | None = None,
    top: Top | None = None,
    registry: Registry = REGISTRY,
) -> Iterator[Recognised]:
    """A file of another framework, its checksum and its shapes checked, its tensors not yet read; see `convert`."""
    looks = sniff(src)
    if looks == "native":
        raise WeightsError(f"{src}: is in vggfeat's format already")
    kind = form or looks
    known, content = registry.by_file(src.name), Content(src)
    if known and not known.editions and (complaint := content.complaint(known.check)):
        raise WeightsError(f"{src}: is damaged ({complaint}); remove it and fetch it again")
    with _READERS[kind](src, content.data) as foreign:
        net, width, tensors, last = _recognise(src, _up_to(src, foreign, top), net)
        _refuse_unpacking(src, len(content.data), tensors)
        training = training_of(src, content, kind, tensors, foreign.preprocessing, lineage, registry)
        outputs = tensors["fc8.bias"].shape[0] if last == "fc8" else 0
        classes = foreign.classes if outputs else None
        check_classes(src, classes, outputs)
        weights = Weights(
            path=src,
            net=net,
            width=width,
            lineage=training.lineage,
            preprocessing=training.preprocessing,
            source=known.urls[0] if known else src.name,
            licence=known.licence if known else "unknown",
            classes=classes,
            sha256="",
            name=src.name,
            top=last,
            outputs=outputs,
            assumed=training.assumed,
        )
        yield Recognised(tensors, weights, content)


def sniff(path: Path) -> Form | Literal["native"]:
    """The form of a weights file, by its first bytes or its name. Raises WeightsError if it has none."""
    with reading(path) as raw:
        head = raw.read(HEAD)
        raw.seek(0)
        if is_safetensors(head):
            written_as = TensorFile(path, raw).metadata.get("format", "")
            if written_as.startswith("vggfeat-train/"):
                raise WeightsError(
                    f"{path}: is the checkpoint of a training run; take best.safetensors or last.safetensors beside it"
                )
            return "native" if written_as.startswith("vggfeat/") else "torchvision"
    if head.startswith(_MATLAB) or (head.startswith(_HDF5) and path.suffix == ".mat"):
        return "matconvnet"
    if path.suffix == ".caffemodel":  # protobuf's messages begin with no mark
        return "caffe"
    if head.startswith(_HDF5):
        return "keras"
    if path.suffix == ".keras":
        raise WeightsError(f"{path}: is a whole Keras model in a zip; convert the model.weights.h5 in it")
    if head.startswith((_ZIP, _PICKLE)):
        return "torchvision"
    if head.startswith(_NUMPY):
        raise WeightsError(f"{path}: {NUMPY_FILE}")
    raise WeightsError(f"{path}: {_why_not(head)}")


def _why_not(head: bytes) -> str:
    """What a file is that holds no weights, by its first bytes, and what to do."""
    if not head:
        return "is empty; download it again"
    if (found := kind(head)) in (LFS, PAGE):
        return f"is {found}, not the weights; " + ("run `git lfs pull`" if found == LFS else "download it again")
    return "is not a weights file; use safetensors, PyTorch's .pth, Keras' .h5, MatConvNet's .mat or a .caffemodel"


def _up_to(src: Path, foreign: ForeignFile, top: Top | None) -> ForeignTensors:
    """The tensors up to the layer `top`. Raises WeightsError for tensors that no VGG has, unless they come after it."""
    later = TOPS[TOPS.index(top) + 1 :] if top else ()
    others = [name for name in foreign.others if not name.startswith(later)]
    if others and top != "pool5":
        raise WeightsError(f"{src}: holds {shown(others[0])}, which no VGG has; give --layer pool5 to do without it")
    return {name: tensor for name, tensor in foreign.tensors.items() if not name.startswith(later)}


def _recognise(src: Path, tensors: ForeignTensors, net: str | None) -> tuple[str, float, ForeignTensors, Top]:
    """The net, its width, the tensors under their native names, all checked, and the last layer."""
    convs = len({name.partition(".")[0] for name in tensors if name.startswith("conv")})
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    width = (shapes.get("conv0.weight") or (0,))[0] / 64
    if not 0 < width <= MAX_WIDTH:
        raise WeightsError(f"{src}: holds no first convolution of a VGG")
    wrong = {known: _differences(known, width, shapes) for known in CONFIGS if len(_convs(known)) == convs}
    if not wrong:
        raise WeightsError(f"{src}: holds {convs} convolutional layers; no net of the paper has so many")
    likeliest = min(wrong, key=wrong.__getitem__)
    if net is not None and wrong.get(net, math.inf) > wrong[likeliest]:
        raise WeightsError(f"{src}: holds net {likeliest}, not {net}")
    net = net or likeliest
    names = {f"conv{place}": name for place, name in enumerate(_convs(net))}
    native = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.partition(".")
        native[f"{names.get(layer, layer)}.{kind}"] = tensor
    top = check_tensors(src, {name: tensor.shape for name, tensor in native.items()}, net, width)
    return net, width, native, top


def _refuse_unpacking(src: Path, size: int, tensors: ForeignTensors) -> None:
    """Refuse a small file of a large net: trained weights hardly compress, but a stride of 0 or unwritten data do."""
    values = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if values > size + SLACK:  # the smallest kind, float16, takes 2 bytes per value
        raise WeightsError(f"{src}: lists {values:,} values, in {size:,} bytes; it is not a whole file")


def _convs(net: str) -> list[str]:
    return [layer.name for layer in layers(net) if layer.kind == "conv"]


def _differences(net: str, width: float, shapes: dict[str, tuple[int, ...]]) -> int:
    ours = tensor_shapes(net, width, top="pool5")
    return sum(shapes.get(f"conv{place}.weight") != ours[f"{name}.weight"] for place, name in enumerate(_convs(net)))
