"""MatConvNet's `.mat`: simplenn and DagNN structures, in MATLAB's v7 files or in v7.3 (HDF5).

Both kinds of file are first converted to plain values: a struct is a dict, a struct array or cell a list, text a str,
and an array of numbers a ForeignTensor with MATLAB's order of axes.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from vggfeat._util.mat_files import read_mat
from vggfeat._util.printable import reason_of
from vggfeat.errors import WeightsError
from vggfeat.weights.foreign import ForeignFile, ForeignTensor, by_paper_name, refuse_elsewhere, stored_values
from vggfeat.weights.header import Preprocessing

VARIABLES = ("layers", "params", "meta", "normalization", "classes", "net")
MAX_MATRICES = 10_000  # arrays, cells and struct fields of a file; VGG-19 has about 3,000
_HDF5_MARK = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 12  # of nested structs and cells; net.layers(1).block.opts{1} is 5
MAX_TEXT = 10_000  # characters
MAX_MEAN = 3 << 22  # numbers in averageImage; a 224x224 image has 150,528


@contextmanager
def open_matconvnet(src: Path, data: bytes) -> Iterator[ForeignFile]:
    """A VGG of MatConvNet, with the layer names of imagenet-vgg-verydeep-16: conv1_1 ... fc8.

    Filters are (H, W, in, out), fully connected layers are convolutions. The input is RGB in 0..255 minus averageImage.
    If that is an image, which fits one size of input only, its mean per channel is used; the published files have the
    same values at all pixels.
    """
    try:
        if any(data.startswith(_HDF5_MARK, place) for place in (0, 512, 1024, 2048)):
            with h5py.File(io.BytesIO(data), "r") as file:
                yield _parsed(src, _Hdf5(src, file).variables())
        else:
            found = read_mat(data, VARIABLES, _plain, max_arrays=MAX_MATRICES)
            yield _parsed(src, found)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise WeightsError(f"{src}: cannot be read as a net of MatConvNet ({reason_of(error)})") from None


def _parsed(src: Path, file: Mapping[str, Any]) -> ForeignFile:
    net = file["net"] if isinstance(file.get("net"), dict) else file
    meta = net["meta"] if isinstance(net.get("meta"), dict) else net
    params = {one.get("name"): one.get("value") for one in _structs(net.get("params"))}
    layers: dict[str, tuple[ForeignTensor, ForeignTensor]] = {}
    for layer in _structs(net.get("layers")):
        arrays = _arrays(layer, params)
        if arrays is None:
            continue
        name = str(layer.get("name"))[:64]
        if name in layers or len(arrays) != 2 or not all(isinstance(array, ForeignTensor) for array in arrays):
            raise WeightsError(
                f"{src}: layer {name!r} occurs twice, or does not have one array of filters and one of biases"
            )
        layers[name] = _filters(name, arrays[0]), _reshaped(arrays[1], (prod(arrays[1].shape),))
    return ForeignFile(*by_paper_name(layers), _preprocessing(src, meta), _classes(meta))


def _structs(value: Any) -> list[dict[str, Any]]:
    """A struct, a struct array or a cell of structs as a list."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, dict)]


def _arrays(layer: dict[str, Any], params: Mapping[Any, Any]) -> list[Any] | None:
    """Filters and biases of a layer, in the three layouts of MatConvNet; None if it has none."""
    if isinstance(layer.get("weights"), list):
        return layer["weights"] or None
    if "filters" in layer:
        return [layer["filters"], layer.get("biases")]
    if isinstance(layer.get("params"), list):  # DagNN: the names of its arrays
        return [params.get(name) for name in layer["params"]] or None
    return None


def _filters(name: str, array: ForeignTensor) -> ForeignTensor:
    h, w, inputs, outputs = (*array.shape, 1, 1)[:4]  # MATLAB drops the last axes of size 1
    turned = ForeignTensor(
        (outputs, inputs, h, w), lambda: array.read().reshape(h, w, inputs, outputs).permute(3, 2, 0, 1)
    )
    return _reshaped(turned, (outputs, inputs * h * w)) if name.startswith("fc") else turned


def _reshaped(array: ForeignTensor, shape: tuple[int, ...]) -> ForeignTensor:
    return ForeignTensor(shape, lambda: array.read().reshape(shape))


def _preprocessing(src: Path, meta: Mapping[str, Any]) -> Preprocessing:
    normalization = meta.get("normalization")
    image = normalization.get("averageImage") if isinstance(normalization, dict) else None
    shape = image.shape if isinstance(image, ForeignTensor) else (0,)
    if (
        not isinstance(image, ForeignTensor)
        or not (prod(shape) == 3 or shape[2:] == (3,))
        or not 3 <= prod(shape) <= MAX_MEAN
    ):
        raise WeightsError(
            f"{src}: has no normalization.averageImage of 3 numbers or H x W x 3, so its mean is unknown"
        )
    mean = image.read().double().reshape(-1, 3).mean(0)
    if not bool(((mean >= 0) & (mean <= 255)).all()):
        raise WeightsError(f"{src}: its averageImage is {mean.tolist()}, not within 0..255")
    red, green, blue = (float(str(np.float32(value))) for value in mean)  # 123.68, not 123.68000030517578
    return Preprocessing("RGB", 255.0, (red, green, blue), (1.0, 1.0, 1.0))


def _classes(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The descriptions of the classes, or else their synsets, in the order of fc8's outputs."""
    classes = meta.get("classes")
    if not isinstance(classes, dict):
        return None
    for names in (classes.get("description"), classes.get("name")):
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _plain(node: Any, depth: int = 0) -> Any:
    """What scipy reads from a v7 file, as plain values; None for all other kinds."""
    if depth > MAX_DEPTH:
        raise ValueError(f"structs and cells are more than {MAX_DEPTH} deep")
    if isinstance(node, dict):
        return {name: _plain(value, depth + 1) for name, value in node.items()}
    if not isinstance(node, np.ndarray):
        return None
    if node.dtype.names:
        fields = node.dtype.names
        structs = [{name: _plain(one[name], depth + 1) for name in fields} for one in node.flat]
        return structs[0] if node.size == 1 else structs
    if node.dtype == object:
        return [_plain(one, depth + 1) for one in node.flat]
    if node.dtype.kind == "U":
        return str(node.flat[0]) if node.size else ""
    return ForeignTensor(node.shape, _reader(lambda: node)) if node.dtype.kind in "fiu" else None


def _reader(array: Callable[[], np.ndarray]) -> Callable[[], Tensor]:
    """Numbers as float32; doubles stay."""

    def read() -> Tensor:
        values = array()
        return torch.from_numpy(np.array(values, np.float64 if values.dtype == np.float64 else np.float32))

    return read


class _Hdf5:
    """Plain values from a v7.3 file: cells and struct arrays are datasets of references, axes are reversed."""

    def __init__(self, src: Path, file: Any) -> None:
        self.src, self.file, self.visited = src, file, count(1)

    def variables(self) -> dict[str, Any]:
        return {name: self.plain(_hard(self.file, name)) for name in VARIABLES if name in self.file}

    def plain(self, node: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH or next(self.visited) > MAX_MATRICES:
            raise ValueError(f"structs and cells are more than {MAX_DEPTH} deep, or more than {MAX_MATRICES}")
        if isinstance(node, h5py.Group):
            return self._struct(node, depth)
        refuse_elsewhere(self.src, node)
        if node.attrs.get("MATLAB_empty"):
            return None
        if node.dtype == h5py.ref_dtype:
            return self._cell(node, depth)
        if node.attrs.get("MATLAB_class") == b"char":
            return self._text(node)
        return (
            ForeignTensor(node.shape[::-1], _reader(lambda: stored_values(node).T))
            if node.dtype.kind in "fiu"
            else None
        )

    def _struct(self, group: Any, depth: int) -> Any:
        members = {name: _hard(group, name) for name in group}
        fields = {name: self.plain(member, depth + 1) for name, member in members.items()}
        # In a struct array each field is a dataset of references that, unlike a cell, has no MATLAB_class.
        if not fields or any("MATLAB_class" in member.attrs for member in members.values()):
            return fields
        return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]

    def _cell(self, dataset: Any, depth: int) -> list[Any]:
        if dataset.size > MAX_MATRICES:
            raise ValueError(f"{dataset.name} has {dataset.size} cells")
        return [self.plain(self.file[reference], depth + 1) for reference in stored_values(dataset).T.flat]

    def _text(self, dataset: Any) -> str:
        if dataset.size > MAX_TEXT or dataset.dtype.kind != "u":
            raise ValueError(f"{dataset.name} is not a text of at most {MAX_TEXT} characters")
        return stored_values(dataset).T.astype("<u2").tobytes().decode("utf-16-le", errors="replace")


def _hard(group: Any, name: str) -> Any:
    """A member of a group, which must be in the same file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link, which is not followed")
    return group[name]
