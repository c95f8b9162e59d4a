"""Narrow VGGs of other frameworks, in the layout of their real files, and checks of their conversion."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg as torchvision_vgg

from vggfeat.errors import WeightsError
from vggfeat.weights import convert

SLIM = 16  # times fewer channels than the paper's: 4 ... 32, and 256 for the fully connected layers
WIDTH = 1 / SLIM
CLASSES = 10

KerasLayers = dict[str, tuple[np.ndarray, np.ndarray]]


def torchvision_net(net: str, seed: int = 0) -> nn.Module:
    """torchvision's own VGG, its modules made narrow: its state dict has torchvision's names."""
    with torch.device("meta"):
        model = torchvision_vgg.VGG(nn.Identity(), init_weights=False)
    model.features = torchvision_vgg.make_layers(narrow(net))
    hidden = 4096 // SLIM
    model.classifier = nn.Sequential(
        nn.Linear(512 // SLIM * 49, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, CLASSES),
    )
    return randomise(model, seed)


def narrow(net: str, slim: int = SLIM) -> list[str | int]:
    return [size if isinstance(size, str) else size // slim for size in torchvision_vgg.cfgs[net]]


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Random weights that keep the signal's size, so that every layer shows in the end."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(parameter, generator=generator)
        else:
            parameter.normal_(std=0.1, generator=generator)
    return model.eval()


def keras_layers(net: str, seed: int = 0, slim: int = SLIM) -> KerasLayers:
    """Layer -> (kernel, bias) as Keras' VGG has them: (kh, kw, in, out) and (in, out); at full size if `slim` is 1."""
    rng = np.random.default_rng(seed)

    def draw(scale: float, size: int | tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(size, np.float32) * np.float32(scale)

    layers: KerasLayers = {}
    block, place, channels = 1, 1, 3
    for size in narrow(net, slim):
        if isinstance(size, str):
            block, place = block + 1, 1
        else:
            kernel = draw(scale=(2 / (9 * channels)) ** 0.5, size=(3, 3, channels, size))
            layers[f"block{block}_conv{place}"] = (kernel, draw(scale=0.1, size=size))
            place, channels = place + 1, size
    inputs = 49 * channels
    hidden = 4096 // slim
    for name, outputs in (("fc1", hidden), ("fc2", hidden), ("predictions", CLASSES if slim > 1 else 1000)):
        kernel = draw(scale=(2 / inputs) ** 0.5, size=(inputs, outputs))
        layers[name], inputs = (kernel, draw(scale=0.1, size=outputs)), outputs
    return layers


def without_top(layers: KerasLayers) -> KerasLayers:
    return {name: pair for name, pair in layers.items() if name.startswith("block")}


KERAS_STYLES = {
    "keras 1": "{0}/{0}_W_1:0 {0}/{0}_b_1:0",  # the published files
    "keras 2": "{0}/{0}/kernel:0 {0}/{0}/bias:0",
    "whole model": "model_weights/{0}/vgg16/{0}/kernel model_weights/{0}/vgg16/{0}/bias",
    "keras 3": "layers/{1}/vars/0 layers/{1}/vars/1",
}


def write_keras(path: Path, layers: KerasLayers, style: str = "keras 1") -> Path:
    """An HDF5 file as Keras' save_weights (or save, for a whole model) leaves it."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if style == "whole model" else file
        names = ["input_1", *layers, "flatten"]
        root.attrs["layer_names"] = [name.encode() for name in names]
        if style == "keras 3":
            names = ["layers/input_layer/vars", "layers/flatten/vars", "layers/max_pooling2d_1/vars"]
            file["optimizer/vars/0"] = 0  # of a model that was compiled: steps, an integer
        for name in names:
            root.create_group(name)
        for name, pair in layers.items():
            places = KERAS_STYLES[style].format(name, keras_3_name(name, list(layers)))
            for place, array in zip(places.split(), pair, strict=True):
                file[place] = array
        if style == "whole model":
            file["optimizer_weights/Adam/block1_conv1/kernel/m:0"] = layers["block1_conv1"][0]
    return path


def keras_3_name(layer: str, layers: list[str]) -> str:
    """conv2d, conv2d_1, ..., dense, dense_1, dense_2: Keras 3 names groups by the layer's kind and place."""
    kind = "conv2d" if layer.startswith("block") else "dense"
    place = [name for name in layers if name.startswith("block") == layer.startswith("block")].index(layer)
    return f"{kind}_{place}" if place else kind


def keras_forward(layers: KerasLayers, image: np.ndarray) -> np.ndarray:
    """(224, 224, 3) -> the output of the last layer, before any soft-max; channels last all the way."""
    x = image
    for name, (kernel, bias) in layers.items():
        if name.startswith("block"):
            if name.endswith("conv1") and name != "block1_conv1":
                x = pooled(x)
            x = np.maximum(convolved(x, kernel) + bias, 0)
        else:
            x = pooled(x).reshape(-1) if name == "fc1" else np.maximum(x, 0)
            x = x @ kernel + bias
    return x if "fc1" in layers else pooled(x)


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    h, w, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return sum(padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))


def pooled(x: np.ndarray) -> np.ndarray:
    h, w, c = x.shape
    return x.reshape(h // 2, 2, w // 2, 2, c).max(axis=(1, 3))


# Caffe and MatConvNet hold the same nets: conv1_1 -> (out, in, 3, 3), fc6 -> (out, C * 7 * 7)

Layers = dict[str, tuple[np.ndarray, np.ndarray]]


def named_layers(net: str, seed: int = 0, slim: int = SLIM) -> Layers:
    """Layer -> (weight, bias) under the names of Table 1, in Caffe's order of axes."""
    names = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}
    found: Layers = {}
    for name, (kernel, bias) in keras_layers(net, seed, slim).items():
        ours = names.get(name) or name.replace("block", "conv").replace("_conv", "_")
        found[ours] = (kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T), bias
    return {name: (np.ascontiguousarray(weight), bias) for name, (weight, bias) in found.items()}


def caffe_forward(layers: Layers, image: np.ndarray) -> np.ndarray:
    """(3, 224, 224) -> the output of the last layer, before any soft-max; channels first all the way."""
    x = image
    for name, (weight, bias) in layers.items():
        if name.startswith("conv"):
            if name.endswith("_1") and name != "conv1_1":
                x = pooled(x.transpose(1, 2, 0)).transpose(2, 0, 1)
            kernel = weight.transpose(2, 3, 1, 0)
            x = np.maximum(convolved(x.transpose(1, 2, 0), kernel) + bias, 0).transpose(2, 0, 1)
        else:
            x = pooled(x.transpose(1, 2, 0)).transpose(2, 0, 1).ravel() if name == "fc6" else np.maximum(x, 0)
            x = weight @ x + bias
    return x


def image(seed: int = 0) -> Tensor:
    """A random (1, 3, 224, 224) input."""
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(seed))


# Checks of conversions


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to 1e-5 of the largest value. A net whose output does not depend on its input would prove nothing."""
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())
    assert float(theirs.std()) > 0.05


def refused(src: Path, words: str = "") -> None:
    """Conversion raises one line that names the file, and leaves nothing behind."""
    with pytest.raises(WeightsError, match=r"\A.+\Z") as caught:  # no line break
        convert(src, src.with_name("out.safetensors"))
    assert str(src) in str(caught.value)
    assert words in str(caught.value)
    assert not list(src.parent.glob("*out.safetensors*"))


def cut(path: Path, share: float) -> None:
    """Keep only this share of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
