"""Files of other frameworks: their tensors under our names and in our shapes. A reader for Keras.

The net is not known yet, so convolutions are named by position: `conv0.weight`, `conv0.bias`, `conv1.weight`, ...,
then `fc6.weight` ... `fc8.bias`. Shapes are checked before values are read, only tensors are unpickled, and no link to
another file is followed.
"""

import io
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from vggfeat._util.printable import reason_of
from vggfeat.errors import WeightsError
from vggfeat.nets import FC_WINDOW
from vggfeat.weights.header import Preprocessing, shown

MAX_OBJECTS = 1000  # in an HDF5 file; Keras' VGG19 has about 80
SLACK = 1 << 20  # bytes that a chunk may take more than its dataset
_DEFLATE, _SHUFFLE, _CHECKSUM = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32


class ForeignTensor(NamedTuple):
    """A tensor of a file: `read` returns it, in this shape."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


ForeignTensors = dict[str, ForeignTensor]


class ForeignFile(NamedTuple):
    """What a file holds; its preprocessing and its class names only if they are in the file.

    others : what the file names its other tensors or layers.
    """

    tensors: ForeignTensors
    others: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] | None = None


_KERAS_FC = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}


def by_paper_name(layers: Mapping[str, tuple[ForeignTensor, ForeignTensor]]) -> tuple[ForeignTensors, tuple[str, ...]]:
    """The tensors of layers that are named conv1_1 ... conv5_4, fc6, fc7, fc8: name -> (weight, bias); other names."""
    convs = sorted(name for name in layers if re.fullmatch(r"conv\d_\d", name))
    names = {name: f"conv{place}" for place, name in enumerate(convs)} | {name: name for name in ("fc6", "fc7", "fc8")}
    tensors: ForeignTensors = {}
    for name, (weight, bias) in layers.items():
        if name in names:
            tensors |= {f"{names[name]}.weight": weight, f"{names[name]}.bias": bias}
    return tensors, tuple(name for name in layers if name not in names)


@contextmanager
def open_keras(src: Path, data: bytes) -> Iterator[ForeignFile]:
    """The weights of Keras' VGG16 or VGG19, full or without the top, channels last."""
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield _keras_names(src, _datasets(src, file))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{src}: cannot be read as Keras weights in HDF5 ({reason_of(error)})") from None


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


def stored_values(data: Any) -> Any:
    """The values of an HDF5 dataset, if they take the space in memory that their shape says.

    A chunk may unpack to any size, may be larger than the dataset, and need not be there. Raises ValueError.
    """
    size, file_size = data.size * data.dtype.itemsize, data.file.id.get_filesize()
    if data.chunks is None:
        if data.id.get_storage_size() != size:
            raise ValueError(f"{shown(data.name)} is not stored whole")
        return data[()]
    chunk = math.prod(data.chunks) * data.dtype.itemsize
    count = math.prod(-(-side // step) for side, step in zip(data.shape, data.chunks, strict=True))
    chunks: list[Any] = []
    data.id.chunk_iter(chunks.append)
    if len(chunks) != count or sum(one.size for one in chunks) > file_size or chunk > size + SLACK:
        raise ValueError(f"{shown(data.name)} is not stored whole, or in chunks larger than itself")
    plan = data.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if not {*filters} <= {_SHUFFLE, _CHECKSUM, _DEFLATE} or filters.count(_DEFLATE) > 1:
        raise ValueError(f"{shown(data.name)} is compressed in an unusual way; save it without compression")
    for one in chunks if _DEFLATE in filters else ():
        mask, packed = data.id.read_direct_chunk(one.chunk_offset)
        if not mask and len(zlib.decompressobj().decompress(packed, chunk + SLACK)) >= chunk + SLACK:
            raise ValueError(f"{shown(data.name)} unpacks to more than its chunks hold")
    return data[()]


def _keras_names(src: Path, datasets: Mapping[str, Any]) -> ForeignFile:
    layers = {path: _keras_layer(path) for path in datasets}
    convs = sorted({layer for layer in layers.values() if layer and not layer.startswith("fc")})
    tensors: ForeignTensors = {}
    for path, layer in layers.items():
        if layer is None:
            continue
        data = datasets[path]
        ours = layer if layer.startswith("fc") else f"conv{convs.index(layer)}"
        name = f"{ours}.{'bias' if data.ndim == 1 else 'weight'}"
        if name in tensors:
            raise WeightsError(f"{src}: holds {layer} twice")
        tensors[name] = _keras_tensor(name, data)
    return ForeignFile(tensors, tuple(path for path, layer in layers.items() if layer is None))


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
        return torch.from_numpy(stored_values(data).astype(np.float32, copy=False))

    shape = tuple(data.shape)
    if len(shape) == 4:
        return ForeignTensor((shape[3], shape[2], *shape[:2]), lambda: read().permute(3, 2, 0, 1))
    if len(shape) == 2 and name == "fc6.weight" and shape[0] % FC_WINDOW**2 == 0:
        window = (FC_WINDOW, FC_WINDOW, shape[0] // FC_WINDOW**2, shape[1])
        return ForeignTensor(shape[::-1], lambda: read().reshape(window).permute(3, 2, 0, 1).flatten(1))
    return ForeignTensor(shape[::-1], lambda: read().T if len(shape) == 2 else read())
