"""Readers of other frameworks' weight files: their tensors under our names and in our shapes.

Each gives convolutions by position (`conv0.weight`, `conv0.bias`, `conv1.weight`, ...), for the net is not
known yet, and `fc6.weight` ... `fc8.bias`. Nothing is read before its shape was looked at, nothing is
unpickled but tensors, and no link to another file is followed.
"""

import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import torch
from torch import Tensor

from vggfeat.errors import WeightsError
from vggfeat.nets import FC_WINDOW
from vggfeat.weights.native import MAX_HEADER, opened

MAX_OBJECTS = 1000  # in an HDF5 file; Keras' VGG19 has about 80


class Part(NamedTuple):
    """A tensor of a file: the shape that `read` will give."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


Parts = dict[str, Part]

_TORCH_FC = {
    "classifier.0": "fc6",  # torchvision
    "classifier.3": "fc7",
    "classifier.6": "fc8",
    "pre_logits.fc1": "fc6",  # timm, as convolutions
    "pre_logits.fc2": "fc7",
    "head.fc": "fc8",
}
_KERAS_FC = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}


@contextmanager
def torch_parts(src: Path) -> Iterator[Parts]:
    """A state dict of torchvision's or timm's VGG, from torch.save or as safetensors."""
    if is_safetensors(src):
        with opened(src) as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            yield _torch_names(
                src, {name: Part(shape, partial(file.get_tensor, name)) for name, shape in shapes.items()}
            )
    else:
        state = _state_dict(src)
        yield _torch_names(src, {name: Part(tuple(t.shape), t.detach) for name, t in state.items()})


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the header's length, then the header."""
    with path.open("rb") as file:
        length, brace = file.read(8), file.read(1)
    return brace == b"{" and int.from_bytes(length, "little") <= MAX_HEADER


def _unpickled(src: Path) -> Any:
    """What torch.save wrote, as long as it is made of tensors and plain containers."""
    try:
        zipped = zipfile.is_zipfile(src)
        if zipped:
            _refuse_packed(src)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's, about kinds of tensors that are refused below
            return torch.load(src, map_location="cpu", weights_only=True, mmap=zipped)
    except WeightsError:
        raise
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{src} holds more than tensors, or is damaged; vggfeat runs no code of a file: "
            "save the net's state_dict() alone"
        ) from None
    except Exception as error:  # a damaged or hostile pickle can raise anything
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise WeightsError(f"{src} is no whole file of torch.save ({reason}): fetch it again") from None


def _refuse_packed(src: Path) -> None:
    """torch.save packs nothing; a member that is packed may be of any size."""
    with zipfile.ZipFile(src) as archive:
        if sum(member.file_size for member in archive.infolist()) > src.stat().st_size:
            raise WeightsError(f"{src}: its members are larger than the file, as torch.save leaves none")


def _state_dict(src: Path) -> dict[str, Tensor]:
    state = _unpickled(src)
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise WeightsError(f"{src} holds no state dict (names and their tensors)")
    for name, tensor in state.items():
        plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain:
            raise WeightsError(f"{src}: {name} is no plain tensor")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _torch_names(src: Path, raw: Parts) -> Parts:
    if any(name.endswith("running_mean") for name in raw):
        raise WeightsError(f"{src} has batch normalisation, which no net of the paper has")
    found = {name: re.fullmatch(r"features\.(\d{1,3})\.(weight|bias)", name) for name in raw}
    places = sorted({int(match[1]) for match in found.values() if match})
    parts = {}
    for name, part in raw.items():
        module, _, kind = name.rpartition(".")
        if match := found[name]:
            parts[f"conv{places.index(int(match[1]))}.{kind}"] = part
        elif module in _TORCH_FC and kind in ("weight", "bias"):
            parts[f"{_TORCH_FC[module]}.{kind}"] = _flat(part) if kind == "weight" else part
        else:
            raise WeightsError(f"{src}: holds {name}, which neither torchvision's nor timm's VGG has")
    return parts


def _flat(part: Part) -> Part:
    """timm's (out, C, kh, kw) as (out, inputs), which are in C, H, W order."""
    shape = (*part.shape[:1], math.prod(part.shape[1:]))
    return Part(shape, lambda: part.read().flatten(1))


@contextmanager
def keras_parts(src: Path) -> Iterator[Parts]:
    """The weights of Keras' VGG16 or VGG19, full or without the top, channels last."""
    try:
        with h5py.File(src, "r") as file:
            yield _keras_names(src, _datasets(src, file))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"can't read {src} as Keras weights (HDF5): {error}") from None


def _datasets(src: Path, file: Any) -> dict[str, Any]:
    """Path -> dataset of weights. The walk takes neither soft nor external links."""
    found: dict[str, Any] = {}
    visited: list[str] = []

    def visit(path: str, thing: Any) -> None:
        visited.append(path)
        if len(visited) > MAX_OBJECTS:
            raise WeightsError(f"{src} holds more than {MAX_OBJECTS} objects: it is no VGG of Keras")
        if isinstance(thing, h5py.Dataset) and not path.startswith("optimizer_weights/"):
            if thing.external or thing.is_virtual:
                raise WeightsError(f"{src}: {path} lies in another file, which is not followed")
            if thing.dtype.kind != "f":
                raise WeightsError(f"{src}: {path} holds {thing.dtype}, not floating-point numbers")
            found[path] = thing

    file.visititems(visit)
    return found


def _keras_names(src: Path, datasets: Mapping[str, Any]) -> Parts:
    layers = {path: _keras_layer(path) for path in datasets}
    convs = sorted({layer for layer in layers.values() if layer and layer.startswith("block")})
    parts: Parts = {}
    for path, data in datasets.items():
        layer = layers[path]
        if layer is None:
            raise WeightsError(f"{src}: holds {path}, which Keras' VGG does not have")
        ours = f"conv{convs.index(layer)}" if layer in convs else _KERAS_FC[layer]
        name = f"{ours}.{'bias' if data.ndim == 1 else 'weight'}"
        if name in parts:
            raise WeightsError(f"{src}: holds {layer} twice")
        parts[name] = _keras_part(name, data)
    return parts


def _keras_layer(path: str) -> str | None:
    """The last group of a path that is named as a layer: block1_conv1/block1_conv1_W_1:0 -> block1_conv1."""
    groups = path.split("/")[-2::-1]
    return next((g for g in groups if g in _KERAS_FC or re.fullmatch(r"block\d_conv\d", g)), None)


def _keras_part(name: str, data: Any) -> Part:
    """Kernels are (kh, kw, in, out) and (in, out) there; fc6's inputs are in H, W, C order."""

    def read() -> Tensor:
        return torch.from_numpy(data.astype("<f4")[()])

    shape = tuple(data.shape)
    if len(shape) == 4:
        return Part((shape[3], shape[2], *shape[:2]), lambda: read().permute(3, 2, 0, 1))
    if len(shape) == 2 and name == "fc6.weight" and shape[0] % FC_WINDOW**2 == 0:
        window = (FC_WINDOW, FC_WINDOW, shape[0] // FC_WINDOW**2, shape[1])
        return Part(shape[::-1], lambda: read().reshape(window).permute(3, 2, 0, 1).flatten(1))
    return Part(shape[::-1], lambda: read().T if len(shape) == 2 else read())
