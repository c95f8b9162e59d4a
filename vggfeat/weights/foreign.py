"""Files of other frameworks: their tensors under our names and in our shapes. Readers for PyTorch and Keras.

The net is not known yet, so convolutions are named by position: `conv0.weight`, `conv0.bias`, `conv1.weight`, ...,
then `fc6.weight` ... `fc8.bias`. Shapes are checked before values are read, only tensors are unpickled, and no link to
another file is followed.
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
from vggfeat.weights.header import Preprocessing, shown
from vggfeat.weights.native import MAX_HEADER, opened

MAX_OBJECTS = 1000  # in an HDF5 file; Keras' VGG19 has about 80


class ForeignTensor(NamedTuple):
    """A tensor of a file: `read` returns it, in this shape."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


ForeignTensors = dict[str, ForeignTensor]


class ForeignFile(NamedTuple):
    """What a file holds; its preprocessing and its class names only if they are in the file."""

    tensors: ForeignTensors
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] | None = None


_TORCH_FC = {
    "classifier.0": "fc6",  # torchvision
    "classifier.3": "fc7",
    "classifier.6": "fc8",
    "pre_logits.fc1": "fc6",  # timm, as convolutions
    "pre_logits.fc2": "fc7",
    "head.fc": "fc8",
}
_KERAS_FC = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}


def by_paper_name(src: Path, layers: Mapping[str, tuple[ForeignTensor, ForeignTensor]]) -> ForeignTensors:
    """The tensors of layers that are named conv1_1 ... conv5_4, fc6, fc7, fc8: name -> (weight, bias)."""
    convs = sorted(name for name in layers if re.fullmatch(r"conv\d_\d", name))
    tensors: ForeignTensors = {}
    for name, (weight, bias) in layers.items():
        if name not in convs and name not in ("fc6", "fc7", "fc8"):
            raise WeightsError(f"{src}: holds a layer {name!r}, which no VGG has")
        ours = f"conv{convs.index(name)}" if name in convs else name
        tensors |= {f"{ours}.weight": weight, f"{ours}.bias": bias}
    return tensors


@contextmanager
def open_torch(src: Path) -> Iterator[ForeignFile]:
    """A state dict of torchvision's or timm's VGG, from torch.save or in safetensors."""
    if is_safetensors(src):
        with opened(src) as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            raw = {name: ForeignTensor(shape, partial(file.get_tensor, name)) for name, shape in shapes.items()}
            yield ForeignFile(_torch_names(src, raw))
    else:
        state = _state_dict(src)
        yield ForeignFile(
            _torch_names(src, {name: ForeignTensor(tuple(t.shape), t.detach) for name, t in state.items()})
        )


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors files do: the header's length, then the header."""
    with path.open("rb") as file:
        length, brace = file.read(8), file.read(1)
    return brace == b"{" and int.from_bytes(length, "little") <= MAX_HEADER


def _unpickled(src: Path) -> Any:
    """What torch.save wrote, if it is made of tensors and plain containers. Raises WeightsError."""
    try:
        zipped = zipfile.is_zipfile(src)
        if zipped:
            _refuse_packed(src)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of tensors that are refused below
            return torch.load(src, map_location="cpu", weights_only=True, mmap=zipped)
    except WeightsError:
        raise
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{src}: holds more than tensors, or is damaged; vggfeat runs no code in files, "
            "so save the net's state_dict() alone"
        ) from None
    except Exception as error:  # a damaged or hostile pickle can raise anything
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise WeightsError(f"{src}: is not a whole file of torch.save ({reason}); fetch it again") from None


def _refuse_packed(src: Path) -> None:
    """torch.save compresses nothing; a compressed member may unpack to any size."""
    with zipfile.ZipFile(src) as archive:
        if sum(member.file_size for member in archive.infolist()) > src.stat().st_size:
            raise WeightsError(f"{src}: its members are larger than the file; it is not from torch.save")


def _state_dict(src: Path) -> dict[str, Tensor]:
    state = _unpickled(src)
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise WeightsError(f"{src}: holds no state dict (names and their tensors)")
    for name, tensor in state.items():
        plain = isinstance(tensor, Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain:
            raise WeightsError(f"{src}: {shown(name)} is not a plain tensor")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _torch_names(src: Path, raw: ForeignTensors) -> ForeignTensors:
    if any(name.endswith("running_mean") for name in raw):
        raise WeightsError(f"{src}: has batch normalisation, which no net of the paper has")
    found = {name: re.fullmatch(r"features\.(\d{1,3})\.(weight|bias)", name) for name in raw}
    places = sorted({int(match[1]) for match in found.values() if match})
    tensors = {}
    for name, tensor in raw.items():
        module, _, kind = name.rpartition(".")
        if match := found[name]:
            tensors[f"conv{places.index(int(match[1]))}.{kind}"] = tensor
        elif module in _TORCH_FC and kind in ("weight", "bias"):
            tensors[f"{_TORCH_FC[module]}.{kind}"] = _flat(tensor) if kind == "weight" else tensor
        else:
            raise WeightsError(f"{src}: holds {shown(name)}, which neither torchvision's nor timm's VGG has")
    return tensors


def _flat(tensor: ForeignTensor) -> ForeignTensor:
    """timm's (outputs, C, kh, kw) as (outputs, inputs), the inputs in C, H, W order."""
    shape = (*tensor.shape[:1], math.prod(tensor.shape[1:]))
    return ForeignTensor(shape, lambda: tensor.read().flatten(1))


@contextmanager
def open_keras(src: Path) -> Iterator[ForeignFile]:
    """The weights of Keras' VGG16 or VGG19, full or without the top, channels last."""
    try:
        with h5py.File(src, "r") as file:
            yield ForeignFile(_keras_names(src, _datasets(src, file)))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{src}: cannot be read as Keras weights in HDF5 ({error})") from None


def _datasets(src: Path, file: Any) -> dict[str, Any]:
    """Path -> dataset of weights. h5py's walk follows neither soft nor external links."""
    found: dict[str, Any] = {}
    visited: list[str] = []

    def visit(path: str, thing: Any) -> None:
        visited.append(path)
        if len(visited) > MAX_OBJECTS:
            raise WeightsError(f"{src}: holds more than {MAX_OBJECTS} objects; it is not Keras' VGG")
        if isinstance(thing, h5py.Dataset) and not path.startswith(("optimizer_weights/", "optimizer/")):
            refuse_elsewhere(src, thing)
            if thing.dtype.kind != "f":
                raise WeightsError(f"{src}: {shown(path)} holds {thing.dtype}, not floating-point numbers")
            found[path] = thing

    file.visititems(visit)
    return found


def refuse_elsewhere(src: Path, dataset: Any) -> None:
    """Raise WeightsError for an HDF5 dataset whose values are in another file."""
    if dataset.external or dataset.is_virtual:
        raise WeightsError(f"{src}: {shown(dataset.name.lstrip('/'))} is in another file, which is not read")


def _keras_names(src: Path, datasets: Mapping[str, Any]) -> ForeignTensors:
    layers = {path: _keras_layer(path) for path in datasets}
    convs = sorted({layer for layer in layers.values() if layer and not layer.startswith("fc")})
    tensors: ForeignTensors = {}
    for path, data in datasets.items():
        layer = layers[path]
        if layer is None:
            raise WeightsError(f"{src}: holds {shown(path)}, which Keras' VGG does not have")
        ours = layer if layer.startswith("fc") else f"conv{convs.index(layer)}"
        name = f"{ours}.{'bias' if data.ndim == 1 else 'weight'}"
        if name in tensors:
            raise WeightsError(f"{src}: holds {layer} twice")
        tensors[name] = _keras_tensor(name, data)
    return tensors


def _keras_layer(path: str) -> str | None:
    """The layer of a dataset's path, from the last group with the name of a layer; names of convolutions sort in order.

    block1_conv1/block1_conv1_W_1:0 -> block1_conv1, fc1/fc1/kernel:0 -> fc6. Keras 3 numbers the layers of each kind,
    except for the first: layers/conv2d_1/vars/0 -> conv01, layers/dense/vars/0 -> fc6.
    """
    if found := re.fullmatch(r"(?:.+/)?(conv2d|dense)(?:_(\d\d?))?/vars/[01]", path):
        place = int(found[2] or 0)
        return f"conv{place:02}" if found[1] == "conv2d" else f"fc{6 + place}"
    groups = path.split("/")[-2::-1]
    layer = next((g for g in groups if g in _KERAS_FC or re.fullmatch(r"block\d_conv\d", g)), None)
    return _KERAS_FC.get(layer, layer) if layer else None


def _keras_tensor(name: str, data: Any) -> ForeignTensor:
    """A tensor in our shape. Keras' kernels are (kh, kw, in, out) or (in, out), fc6's inputs in H, W, C order."""

    def read() -> Tensor:
        return torch.from_numpy(data.astype("<f4")[()])

    shape = tuple(data.shape)
    if len(shape) == 4:
        return ForeignTensor((shape[3], shape[2], *shape[:2]), lambda: read().permute(3, 2, 0, 1))
    if len(shape) == 2 and name == "fc6.weight" and shape[0] % FC_WINDOW**2 == 0:
        window = (FC_WINDOW, FC_WINDOW, shape[0] // FC_WINDOW**2, shape[1])
        return ForeignTensor(shape[::-1], lambda: read().reshape(window).permute(3, 2, 0, 1).flatten(1))
    return ForeignTensor(shape[::-1], lambda: read().T if len(shape) == 2 else read())
