"""Narrow VGGs as MatConvNet's users saved them, v7 through scipy and v7.3 through h5py."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from tests.kit.foreign_files import CLASSES, Layers

RGB_MEAN = (123.68, 116.779, 103.939)
MATCONVNET_STYLES = ("simplenn", "filters", "dagnn", "net", "v7.3", "v7.3 dagnn")


def matconvnet_net(layers: Layers, style: str = "simplenn") -> dict[str, Any]:
    """The variables of a `.mat`: "filters" is the oldest form, "net" has all in one struct."""
    found: list[dict[str, Any]] = []
    params: list[dict[str, Any]] = []
    for name, (weight, bias) in layers.items():
        size = 7 if name == "fc6" else 1
        filters = (weight if weight.ndim == 4 else weight.reshape(len(weight), -1, size, size)).transpose(2, 3, 1, 0)
        layer: dict[str, Any] = {"name": name, "type": "conv", "stride": [1.0, 1.0]}
        if style == "filters":
            layer |= {"filters": filters, "biases": bias[None]}
        elif "dagnn" in style:
            layer |= {"type": "dagnn.Conv", "block": {"hasBias": True}, "params": cell(f"{name}f", f"{name}b")}
            params += [{"name": f"{name}{end}", "value": a} for end, a in (("f", filters), ("b", bias[:, None]))]
        else:
            layer["weights"] = cell(filters, bias[:, None])
        empty = {key: cell() for key in ("weights", "params") if key in layer}
        relu = {key: thing for key, thing in layer.items() if key not in ("filters", "biases")}
        found += [layer, {**relu, **empty, "name": f"relu{name[-3:]}", "type": "relu"}]
    mean = np.array(RGB_MEAN, np.float32)
    image = np.broadcast_to(mean, (224, 224, 3)) if style in ("filters", "v7.3") else mean.reshape(1, 1, 3)
    classes = len(layers["fc8"][1]) if "fc8" in layers else CLASSES
    meta = {
        "normalization": {"averageImage": image, "imageSize": [224.0, 224.0, 3.0]},
        "classes": {
            "name": cell(*(f"n{i:08}" for i in range(classes))),
            "description": cell(*(f"klass «{i}», thing" for i in range(classes))),
        },
    }
    net: dict[str, Any] = {"layers": cell(*found)} | (meta if style == "filters" else {"meta": meta})
    if "dagnn" in style:
        net |= {"layers": found, "params": params}
    return {"net": net} if style == "net" else net


def cell(*things: Any) -> np.ndarray:
    array = np.empty((1, len(things)), object)
    for i, thing in enumerate(things):
        array[0, i] = thing
    return array


def write_matconvnet(path: Path, variables: dict[str, Any], style: str = "simplenn") -> Path:
    if style.startswith("v7.3"):
        return write_v73(path, variables)
    savemat(path, {name: _struct(thing) for name, thing in variables.items()}, do_compression=True)
    return path


def _struct(thing: Any) -> Any:
    """Lists of dicts as the struct arrays that scipy needs."""
    if isinstance(thing, dict):
        return {name: _struct(value) for name, value in thing.items()}
    if isinstance(thing, list) and thing and isinstance(thing[0], dict):
        array = np.empty((1, len(thing)), [(name, object) for name in thing[0]])
        for i, one in enumerate(thing):
            array[0, i] = tuple(_struct(value) for value in one.values())
        return array
    return thing


def write_v73(path: Path, variables: dict[str, Any]) -> Path:
    """MATLAB's v7.3: HDF5 behind 512 bytes of header, cells as references into #refs#, axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, thing in variables.items():
            _v73(file, name, thing)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def _v73(group: Any, name: str, thing: Any) -> Any:
    refs = group.file.require_group("#refs#")

    def referred(things: list[Any]) -> np.ndarray:
        made = [_v73(refs.create_group(str(len(refs))), "value", one).ref for one in things]
        return np.array(made, h5py.ref_dtype)[:, None]

    if isinstance(thing, dict):
        made = group.create_group(name)
        for key, value in thing.items():
            _v73(made, key, value)
        kind = "struct"
    elif isinstance(thing, list) and isinstance(thing[0], dict):
        made = group.create_group(name)
        made.attrs["MATLAB_class"] = np.bytes_("struct")
        for key in thing[0]:  # without a class
            made.create_dataset(key, data=referred([one[key] for one in thing]))
        return made
    elif isinstance(thing, np.ndarray) and thing.dtype == object:
        made = group.create_dataset(name, data=referred(list(thing.flat)) if thing.size else np.zeros(2, "u8"))
        kind = "cell"
        if not thing.size:
            made.attrs["MATLAB_empty"] = np.uint8(1)
    elif isinstance(thing, str):
        made = group.create_dataset(name, data=np.frombuffer(thing.encode("utf-16-le"), "<u2")[:, None])
        kind = "char"
    else:
        array = np.atleast_2d(np.asarray(thing))
        made = group.create_dataset(name, data=array.T)
        kind = {"f4": "single", "f8": "double", "b1": "logical"}.get(array.dtype.str[1:], "double")
    made.attrs["MATLAB_class"] = np.bytes_(kind)
    return made
