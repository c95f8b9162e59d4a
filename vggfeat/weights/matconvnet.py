"""MatConvNet's `.mat`: simplenn and DagNN structures, as MATLAB's v7 files or as v7.3 (HDF5).

Either kind of file is first brought into plain things: a struct is a dict, a struct array or cell a list, text
a str, and an array of numbers a Part, with MATLAB's order of axes.
"""

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

from vggfeat.errors import WeightsError
from vggfeat.weights.foreign import Foreign, Part, by_name, refuse_elsewhere
from vggfeat.weights.header import Preprocessing
from vggfeat.weights.matfile import MAX_MATRICES, load_v7

VARIABLES = ("layers", "params", "meta", "normalization", "classes", "net")
MAX_DEPTH = 12  # of structs and cells in each other; net.layers(1).block.opts{1} is 5
MAX_TEXT = 10_000  # characters
MAX_MEAN = 3 << 22  # numbers in averageImage; a 224x224 image has 150,528


@contextmanager
def open_matconvnet(src: Path) -> Iterator[Foreign]:
    """A VGG of MatConvNet, whose layers bear the names of imagenet-vgg-verydeep-16: conv1_1 ... fc8.

    Filters lie as H, W, in, out; fully connected layers are convolutions there. The net wants RGB in 0..255
    minus averageImage; where that is an image rather than three numbers, its mean over the places is taken
    (they are equal in the published files), for a mean image fits one size of input only.
    """
    try:
        if h5py.is_hdf5(src):
            with h5py.File(src, "r") as file:
                yield _interpreted(src, _Hdf5(src, file).read())
        else:
            found = load_v7(src, VARIABLES, _plain)
            yield _interpreted(src, found)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError) as error:
        raise WeightsError(f"can't read {src} as a net of MatConvNet: {error}") from None


def _interpreted(src: Path, file: Mapping[str, Any]) -> Foreign:
    net = file["net"] if isinstance(file.get("net"), dict) else file
    meta = net["meta"] if isinstance(net.get("meta"), dict) else net
    params = {one.get("name"): one.get("value") for one in _structs(net.get("params"))}
    layers: dict[str, tuple[Part, Part]] = {}
    for layer in _structs(net.get("layers")):
        arrays = _arrays(layer, params)
        if arrays is None:
            continue
        name = str(layer.get("name"))[:64]
        if name in layers or len(arrays) != 2 or not all(isinstance(array, Part) for array in arrays):
            raise WeightsError(f"{src}: layer {name!r} is there twice, or has not one array each of filters and biases")
        layers[name] = _filters(name, arrays[0]), _reshaped(arrays[1], (prod(arrays[1].shape),))
    return Foreign(by_name(src, layers), _preprocessing(src, meta), _classes(meta) if "fc8" in layers else None)


def _structs(thing: Any) -> list[dict[str, Any]]:
    """A struct, a struct array or a cell of structs as a list."""
    things = thing if isinstance(thing, list) else [thing]
    return [one for one in things if isinstance(one, dict)]


def _arrays(layer: dict[str, Any], params: Mapping[Any, Any]) -> list[Any] | None:
    """Filters and biases of a layer, as the three generations of MatConvNet keep them; None without any."""
    if isinstance(layer.get("weights"), list):
        return layer["weights"] or None
    if "filters" in layer:
        return [layer["filters"], layer.get("biases")]
    if isinstance(layer.get("params"), list):  # DagNN: the names of its arrays
        return [params.get(name) for name in layer["params"]] or None
    return None


def _filters(name: str, array: Part) -> Part:
    h, w, inputs, outputs = (*array.shape, 1, 1)[:4]  # MATLAB drops the last axes where they are 1
    turned = Part((outputs, inputs, h, w), lambda: array.read().reshape(h, w, inputs, outputs).permute(3, 2, 0, 1))
    return _reshaped(turned, (outputs, inputs * h * w)) if name.startswith("fc") else turned


def _reshaped(array: Part, shape: tuple[int, ...]) -> Part:
    return Part(shape, lambda: array.read().reshape(shape))


def _preprocessing(src: Path, meta: Mapping[str, Any]) -> Preprocessing:
    normalization = meta.get("normalization")
    image = normalization.get("averageImage") if isinstance(normalization, dict) else None
    shape = image.shape if isinstance(image, Part) else (0,)
    if not isinstance(image, Part) or not (prod(shape) == 3 or shape[2:] == (3,)) or not 3 <= prod(shape) <= MAX_MEAN:
        raise WeightsError(f"{src}: has no normalization.averageImage of 3 numbers or H x W x 3: its mean is unknown")
    mean = image.read().double().reshape(-1, 3).mean(0)
    if not bool(((mean >= 0) & (mean <= 255)).all()):
        raise WeightsError(f"{src}: its averageImage is {mean.tolist()}, not within 0..255")
    red, green, blue = (float(str(np.float32(value))) for value in mean)  # 123.68, not 123.68000030517578
    return Preprocessing("RGB", 255.0, (red, green, blue), (1.0, 1.0, 1.0))


def _classes(meta: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names in words, else the synsets, in the order of fc8's outputs."""
    classes = meta.get("classes")
    if not isinstance(classes, dict):
        return None
    for names in (classes.get("description"), classes.get("name")):
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _plain(thing: Any, depth: int = 0) -> Any:
    """What scipy makes of a v7 file, as plain things; None for what is neither."""
    if depth > MAX_DEPTH:
        raise ValueError(f"structs and cells more than {MAX_DEPTH} deep")
    if isinstance(thing, dict):
        return {name: _plain(value, depth + 1) for name, value in thing.items()}
    if not isinstance(thing, np.ndarray):
        return None
    if thing.dtype.names:
        fields = thing.dtype.names
        structs = [{name: _plain(one[name], depth + 1) for name in fields} for one in thing.flat]
        return structs[0] if thing.size == 1 else structs
    if thing.dtype == object:
        return [_plain(one, depth + 1) for one in thing.flat]
    if thing.dtype.kind == "U":
        return str(thing.flat[0]) if thing.size else ""
    return Part(thing.shape, _reader(lambda: thing)) if thing.dtype.kind in "fiu" else None


def _reader(array: Callable[[], np.ndarray]) -> Callable[[], Tensor]:
    """Numbers as float32, but doubles as they are."""
    return lambda: torch.from_numpy(np.array(array(), np.float64 if array().dtype == np.float64 else np.float32))


class _Hdf5:
    """Plain things from a v7.3 file: cells and struct arrays are datasets of references, axes are reversed."""

    def __init__(self, src: Path, file: Any) -> None:
        self.src, self.file, self.visited = src, file, count(1)

    def read(self) -> dict[str, Any]:
        return {name: self.plain(_hard(self.file, name)) for name in VARIABLES if name in self.file}

    def plain(self, thing: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH or next(self.visited) > MAX_MATRICES:
            raise ValueError(f"structs and cells more than {MAX_DEPTH} deep, or more than {MAX_MATRICES} things")
        if isinstance(thing, h5py.Group):
            return self._struct(thing, depth)
        refuse_elsewhere(self.src, thing)
        if thing.attrs.get("MATLAB_empty"):
            return None
        if thing.dtype == h5py.ref_dtype:
            return self._cell(thing, depth)
        if thing.attrs.get("MATLAB_class") == b"char":
            return self._text(thing)
        return Part(thing.shape[::-1], _reader(lambda: thing[()].T)) if thing.dtype.kind in "fiu" else None

    def _struct(self, group: Any, depth: int) -> Any:
        things = {name: _hard(group, name) for name in group}
        fields = {name: self.plain(thing, depth + 1) for name, thing in things.items()}
        # In a struct array each field is a dataset of references, which unlike a cell names no class.
        if not fields or any("MATLAB_class" in thing.attrs for thing in things.values()):
            return fields
        return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]

    def _cell(self, dataset: Any, depth: int) -> list[Any]:
        if dataset.size > MAX_MATRICES:
            raise ValueError(f"{dataset.name} has {dataset.size} cells")
        return [self.plain(self.file[reference], depth + 1) for reference in dataset[()].T.flat]

    def _text(self, dataset: Any) -> str:
        if dataset.size > MAX_TEXT or dataset.dtype.kind != "u":
            raise ValueError(f"{dataset.name} is no text of at most {MAX_TEXT} characters")
        return dataset[()].T.astype("<u2").tobytes().decode("utf-16-le", errors="replace")


def _hard(group: Any, name: str) -> Any:
    """A member of a group that lies in the same file."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link, which is not followed")
    return group[name]
