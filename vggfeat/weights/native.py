"""The native weights format: safetensors whose metadata say how an image is brought to the net.

Tensors are named as in Caffe (`conv1_1.weight` (out, in, kh, kw), `fc6.weight` (4096, 25088) with inputs in
C, H, W order, ..., `fc8.bias`). A file may end at pool5, fc6, fc7 or fc8, and holds all layers before.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vggfeat.errors import WeightsError
from vggfeat.nets import TOPS, VGG, Top, tensor_shapes
from vggfeat.weights.header import (
    OXFORD,
    TORCHVISION,
    Preprocessing,
    TensorInfo,
    Weights,
    compose,
    interpret,
)

__all__ = ["OXFORD", "TORCHVISION", "Preprocessing", "Weights", "inspect", "load", "read", "require", "save"]

MAX_HEADER = 4 << 20  # bytes; a full net E with 1000 class names takes 40 thousand
_DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


def read(path: str | Path) -> Weights:
    """The metadata of a native file, its header checked against the net; the tensors are not read.

    Raises WeightsError for a file that is missing, truncated, in another format, or whose tensors are not
    exactly those of the net that it names, up to pool5, fc6, fc7 or fc8.
    """
    path = Path(path)
    return replace(inspect(path), sha256=digest(path))


def inspect(path: Path) -> Weights:
    """As `read`, but quick for a file of any size: `sha256` is left empty."""
    with opened(path) as file:
        infos = {}
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            tensor = file.get_slice(name)
            infos[name] = TensorInfo(tensor.get_dtype(), tuple(tensor.get_shape()))
        return interpret(path, file.metadata() or {}, infos)


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; kept in memory for as long as its time and size stay."""
    stat = path.stat()
    return _digest(path, stat.st_mtime_ns, stat.st_size)


def load(weights: Weights, top: Top = "fc8", *, dtype: torch.dtype = torch.float32, ceil: bool = False) -> VGG:
    """The net with its weights, up to and including `top`: on the CPU, in eval mode, without gradients.

    Only the tensors that are needed are read; nothing is initialised first. `ceil` is VGG's.
    Raises WeightsError if the file ends before `top`, changed since it was read, or holds values that are
    not finite in `dtype`.
    """
    require(weights, top)
    if read(weights.path).sha256 != weights.sha256:
        raise WeightsError(f"{weights.path} changed since its header was read: start again")
    with opened(weights.path) as file:
        # A copy in torch's own memory: it is aligned, and the file may be replaced or cut meanwhile.
        state = {
            name: file.get_tensor(name).to(dtype, copy=True)
            for name in tensor_shapes(weights.net, weights.width, top=top)
        }
    check_finite(weights.path, state)
    classes = len(state["fc8.bias"]) if top == "fc8" else 1000
    with torch.device("meta"):
        vgg = VGG(weights.net, width=weights.width, classes=classes, top=top, ceil=ceil)
    vgg.load_state_dict(state, assign=True)
    return vgg.eval().requires_grad_(False)


def require(weights: Weights, top: Top) -> None:
    """Raise WeightsError if the file ends before the layer `top`."""
    if TOPS.index(weights.top) < TOPS.index(top):
        rest = "the fully connected ones" if weights.top == "pool5" else "those after it"
        remedy = "take weights with them" if top == "fc8" else f"use --layer {weights.top}, or weights with them"
        raise WeightsError(f"{called(weights)} holds the layers up to {weights.top} only, {top} needs {rest}: {remedy}")


def called(weights: Weights) -> str:
    """The file as its user knows it: one of another framework lies converted in the cache."""
    known = weights.name == weights.path.name or "." not in weights.name
    return str(weights.path) if known else f"{weights.name} ({weights.path})"


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
) -> Weights:
    """Write a native file, whole or not at all; equal arguments give equal bytes. Returns what `read` does.

    `tensors` are float16, bfloat16 or float32, named and shaped as `nets.tensor_shapes` says, up to pool5,
    fc6, fc7 or fc8. Raises WeightsError for others, for values that are not finite, and where `path` can't
    be written.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"can't write {path}: it is a folder; name a file")
    metadata = compose(net, width, lineage, preprocessing, source, licence, classes)
    infos = {
        name: TensorInfo(_DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))
        for name, tensor in tensors.items()
    }
    interpret(path, metadata, infos)
    check_finite(path, tensors)
    _write(path, _separate(tensors), metadata)
    return read(path)


def check_finite(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError for the first tensor with a NaN or an infinity; `file` is named in the message."""
    for name, tensor in tensors.items():
        if not all(math.isfinite(extreme) for extreme in torch.aminmax(tensor.detach())):
            raise WeightsError(f"{file}: {name} holds values that are not finite: take other weights")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Any safetensors file through the library's reader; what goes wrong inside is raised as WeightsError."""
    try:
        if not path.is_file():
            raise WeightsError(f"no weights file {path}")
        with path.open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
        if length > MAX_HEADER:
            raise WeightsError(f"{path} is no safetensors file: its header would be {length} bytes long")
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}): fetch or convert it again") from None
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"can't read {path}: {error}") from None


@lru_cache(maxsize=64)
def _digest(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in memory of their own, as safetensors wants them."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return separate


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        mode = part.stat().st_mode  # what the user's umask leaves; safetensors makes files that no one else can read
        save_file(tensors, part, metadata)
        part.chmod(mode)
        with part.open("r+b") as file:
            _sort_metadata(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"can't write {path}: {error}") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _sort_metadata(file: Any) -> None:
    """Put the metadata into alphabetical order, in place; safetensors writes them in an order that varies."""
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    file.seek(8)
    file.write(text.ljust(length))
