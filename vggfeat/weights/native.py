"""The native weights format: safetensors files that say how an image becomes the net's input.

The tensors are float16, bfloat16 or float32, named and shaped as in Caffe:

    conv1_1.weight  (outputs, inputs, height, width)
    conv1_1.bias    (outputs,)
    ...
    fc6.weight      (4096, 25088); the inputs in the order channel, row, column
    ...
    fc8.bias        (classes,)

A weight may also be int8. Then (outputs,) float32 scales, conv1_1.scale, multiply its rows.

A file ends at pool5, fc6, fc7 or fc8, and holds all layers before. The metadata are texts:

    format     vggfeat/1
    net        A, A-LRN, B, C, D, E or B-5x5
    width      the numbers of channels, as a factor of the paper's
    lineage    who trained the net
    colour     RGB or BGR, the order of the channels
    range      255 or 1; pixels are scaled to 0..range
    mean, std  three numbers with commas; mean is subtracted, then the values are divided by std
    source     where the weights come from
    licence    the licence of the weights
    classes    a JSON list of the names of fc8's outputs; may be missing
    boxes      scr or pcr, if fc8 predicts boxes (see `Weights`): `classes` are then those of training; else missing
    assumed    lineage, if lineage and preprocessing were not known and had to be assumed; else missing
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vggfeat._util.files import check_writable, replacing
from vggfeat._util.printable import reason_of
from vggfeat._util.regular_files import open_regular
from vggfeat.errors import UsageError, WeightsError
from vggfeat.nets import TOPS, VGG, Top, file_top, tensor_shapes
from vggfeat.weights.header import Preprocessing, Regression, Weights, parse_header, to_metadata
from vggfeat.weights.rounding import restored
from vggfeat.weights.tensorfile import TensorFile, TensorInfo

_DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.int8: "I8"}
_digests: dict[tuple[int, ...], str] = {}


def read(path: str | Path) -> Weights:
    """Read the header of a native file and compute its checksum. The tensors are not read.

    Parameters
    ----------
    path : str or Path
        A native file.

    Returns
    -------
    Weights
        What the file says of itself, checked against the net.

    Raises
    ------
    WeightsError
        If the file is missing, truncated or in another format, or if its tensors are not exactly those of its net up
        to pool5, fc6, fc7 or fc8.
    """
    path = Path(path)
    with reading(path) as raw:
        weights = header_of(TensorFile(path, raw))
        return replace(weights, sha256=_digest(path, raw))


def read_header(path: Path) -> Weights:
    """As `read`, but without the checksum, which takes long for a large file."""
    with reading(path) as raw:
        return header_of(TensorFile(path, raw))


def header_of(file: TensorFile) -> Weights:
    """What an open file says of itself; `sha256` is empty."""
    return parse_header(file.path, file.metadata, file.infos)


def digest(path: Path) -> str:
    """The sha256 of a file, hexadecimal. It is kept until the file changes."""
    with reading(path) as raw:
        return _digest(path, raw)


def _digest(path: Path, raw: BufferedReader) -> str:
    """The sha256 of an open file. Raises WeightsError if it changes meanwhile."""
    before = _state(raw)
    if before not in _digests:
        raw.seek(0)
        found = hashlib.file_digest(raw, "sha256").hexdigest()
        if _state(raw) != before:
            raise WeightsError(f"{path}: changed while it was read; start again")
        _digests[before] = found
    return _digests[before]


def _state(raw: BufferedReader) -> tuple[int, ...]:
    """What changes with an open file; the time of the last change of its inode cannot be set back."""
    found = os.fstat(raw.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@contextmanager
def reading(path: Path) -> Iterator[BufferedReader]:
    """The open file. Raises WeightsError if it cannot be read, or is a pipe or a device."""
    try:
        with open_regular(path) as raw:
            yield raw
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; check the name of the weights") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({reason_of(error)})") from None


def load(weights: Weights, top: str = "fc8", *, dtype: torch.dtype = torch.float32, ceil: bool = False) -> VGG:
    """Load a net with its weights. Only the tensors that are needed are kept.

    Parameters
    ----------
    weights : Weights
        What `read` or `resolve` returned.
    top : str
        The last layer of the net, such as fc8 or conv4_3.
    dtype : torch.dtype
        The precision of the net.
    ceil : bool
        Round sizes up in pooling, as Caffe does.

    Returns
    -------
    VGG
        The net on the CPU, in eval mode, without gradients.

    Raises
    ------
    WeightsError
        If the file ends before `top`, changed since it was read, or holds values that are not finite in `dtype`.
    """
    require(weights, file_top(top))
    wanted = tensor_shapes(weights.net, weights.width, top=top)
    with reading(weights.path) as raw:
        file = TensorFile(weights.path, raw)
        found = {name: tensor for name, tensor in file.tensors() if name in wanted or name.endswith(".scale")}
    if file.sha256 != weights.sha256:  # the tensors may be of any shape
        raise WeightsError(f"{weights.path}: changed since its header was read; start again")
    state = {name: tensor for name, tensor in restored(found, dtype).items() if name in wanted}
    check_finite(weights.path, state)
    classes = len(state["fc8.bias"]) if top == "fc8" else 1000
    with torch.device("meta"):
        vgg = VGG(weights.net, width=weights.width, classes=classes, top=top, ceil=ceil)
    vgg.load_state_dict(state, assign=True)
    return vgg.eval().requires_grad_(False)


def require(weights: Weights, top: Top) -> None:
    """Raise WeightsError if the file ends before the layer `top`."""
    if TOPS.index(weights.top) < TOPS.index(top):
        remedy = f"take weights that have {top}" + ("" if top == "fc8" else f", or use --layer {weights.top}")
        raise WeightsError(f"{known_as(weights)}: ends at {weights.top}, and {top} is needed; {remedy}")


def require_classes(weights: Weights) -> None:
    """Raise WeightsError if the net predicts boxes in place of classes."""
    if weights.boxes:
        raise WeightsError(
            f"{known_as(weights)}: predicts boxes, and no classes; take weights of a net that classifies, or use "
            "`vggfeat localize predict`"
        )


def known_as(weights: Weights) -> str:
    """The file's name for a message; a converted file in the cache has its source's name first."""
    own = weights.name == weights.path.name or "." not in weights.name
    return str(weights.path) if own else f"{weights.name} ({weights.path})"


def save(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    *,
    net: str,
    preprocessing: Preprocessing,
    width: float = 1.0,
    lineage: str,
    source: str,
    licence: str,
    classes: tuple[str, ...] | None = None,
    assumed: bool = False,
    boxes: Regression | None = None,
) -> Weights:
    """Write a native file, whole or not at all. Equal arguments give equal bytes.

    Parameters
    ----------
    path : str or Path
        The file; its folder is made if needed.
    tensors : mapping of str to torch.Tensor
        float16, bfloat16 or float32, named and shaped as `vggfeat.nets.tensor_shapes` says, up to pool5, fc6, fc7 or
        fc8. The state dict of a `VGG` is one. Weights may be int8, with scales; see `vggfeat.weights.rounding`.
    net, width, preprocessing, lineage, source, licence, classes, assumed, boxes
        What the file says of itself; see `Weights`.

    Returns
    -------
    Weights
        What `read` returns for the file.

    Raises
    ------
    WeightsError
        If the tensors are not the net's, hold values that are not finite, or the file cannot be written.
    """
    path = Path(path)
    metadata = to_metadata(net, width, lineage, preprocessing, source, licence, classes, assumed, boxes)
    infos = {
        name: TensorInfo(_DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    parse_header(path, metadata, infos)
    check_finite(path, tensors)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(_separate(tensors), temporary, metadata)
            _sort_metadata(temporary)
    except (OSError, SafetensorError) as error:
        reason = reason_of(error)
        raise WeightsError(f"{path}: cannot be written ({reason}); name another file, or make room") from None
    return read(path)


def save_as(path: Path, tensors: Mapping[str, Tensor], facts: Weights) -> Weights:
    """As `save`, with all that `facts` says of its net."""
    return save(
        path,
        tensors,
        net=facts.net,
        preprocessing=facts.preprocessing,
        width=facts.width,
        lineage=facts.lineage,
        source=facts.source,
        licence=facts.licence,
        classes=facts.classes,
        assumed=facts.assumed,
        boxes=facts.boxes,
    )


def check_out(path: Path) -> None:
    """Raise UsageError, before long work begins, if `path` has another suffix or cannot be written."""
    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: weights are written as .safetensors; give the file that suffix")
    check_writable(path)


def check_finite(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError for the first tensor with a NaN or an infinity; `file` is named in the message."""
    for name, tensor in tensors.items():
        if not all(math.isfinite(extreme) for extreme in torch.aminmax(tensor.detach())):
            raise WeightsError(f"{file}: {name} holds values that are not finite; take other weights")


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without shared memory, as safetensors needs them."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return separate


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in place; safetensors writes them in an order that varies."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(text.ljust(length))
