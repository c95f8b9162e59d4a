"""Narrow VGGs of other frameworks, in the layout of their real files, for tests."""

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import vgg as torchvision_vgg

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


def narrow(net: str) -> list[str | int]:
    return [size if isinstance(size, str) else size // SLIM for size in torchvision_vgg.cfgs[net]]


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


def keras_layers(net: str, seed: int = 0) -> KerasLayers:
    """Layer -> (kernel, bias) as Keras' VGG has them: (kh, kw, in, out) and (in, out)."""
    draw = np.random.default_rng(seed).normal
    layers: KerasLayers = {}
    block, place, channels = 1, 1, 3
    for size in narrow(net):
        if isinstance(size, str):
            block, place = block + 1, 1
        else:
            kernel = draw(scale=(2 / (9 * channels)) ** 0.5, size=(3, 3, channels, size))
            layers[f"block{block}_conv{place}"] = (kernel, draw(scale=0.1, size=size))
            place, channels = place + 1, size
    inputs = 49 * channels
    for name, outputs in (("fc1", 256), ("fc2", 256), ("predictions", CLASSES)):
        kernel = draw(scale=(2 / inputs) ** 0.5, size=(inputs, outputs))
        layers[name], inputs = (kernel, draw(scale=0.1, size=outputs)), outputs
    return {name: (k.astype("float32"), b.astype("float32")) for name, (k, b) in layers.items()}


def without_top(layers: KerasLayers) -> KerasLayers:
    return {name: pair for name, pair in layers.items() if name.startswith("block")}


KERAS_STYLES = {
    "keras 1": "{0}/{0}_W_1:0 {0}/{0}_b_1:0",  # the published files
    "keras 2": "{0}/{0}/kernel:0 {0}/{0}/bias:0",
    "whole model": "model_weights/{0}/vgg16/{0}/kernel model_weights/{0}/vgg16/{0}/bias",
}


def write_keras(path: Path, layers: KerasLayers, style: str = "keras 1") -> Path:
    """An HDF5 file as Keras' save_weights (or save, for a whole model) leaves it."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if style == "whole model" else file
        names = ["input_1", *layers, "flatten"]
        root.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            root.create_group(name)
        for name, pair in layers.items():
            for place, array in zip(KERAS_STYLES[style].format(name).split(), pair, strict=True):
                file[place] = array
        if style == "whole model":
            file["optimizer_weights/Adam/block1_conv1/kernel/m:0"] = layers["block1_conv1"][0]
    return path


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


def image(seed: int = 0) -> Tensor:
    """A random (1, 3, 224, 224) input."""
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(seed))
