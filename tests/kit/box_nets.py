"""Narrow nets whose boxes and classes can be worked out by hand, and photos with true boxes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vggfeat.weights import Weights, load, read
from vggfeat.weights.native import save_as

Make = Callable[..., Path]  # the fixture tiny_weights


def constant_net(
    tiny_weights: Make, path: Path, outputs: Any, classes: Sequence[str] | None, boxes: Any = None, net: str = "A"
) -> Weights:
    """A net whose fc8 gives the same outputs at every place: codes of boxes, or scores of classes."""
    bias = torch.tensor(np.ravel(outputs), dtype=torch.float32)
    known = read(tiny_weights(net, classes=len(bias)))
    tensors = load(known).state_dict()
    tensors["fc8.weight"], tensors["fc8.bias"] = torch.zeros_like(tensors["fc8.weight"]), bias
    return save_as(path, tensors, replace(known, classes=tuple(classes) if classes else None, boxes=boxes))


def random_net(
    tiny_weights: Make, path: Path, classes: Sequence[str], boxes: Any = None, net: str = "A", seed: int = 0
) -> Weights:
    """A net with random fully connected layers, on the convolutions that all random nets of its kind have."""
    outputs = {None: len(classes), "scr": 4, "pcr": 4 * len(classes)}[boxes]
    known = read(tiny_weights(net, classes=outputs))
    tensors = load(known).state_dict()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in load(read(tiny_weights(net, top="pool5")), "pool5").state_dict().items():
        tensors[name] = tensor
    for name in ("fc6", "fc7", "fc8"):
        weight = tensors[f"{name}.weight"]
        tensors[f"{name}.weight"] = torch.randn(weight.shape, generator=generator) * (2 / weight.shape[1]) ** 0.5
    return save_as(path, tensors, replace(known, classes=tuple(classes), boxes=boxes))


def make_photos(folder: Path, photos: Mapping[str, tuple[str, tuple[int, int], Sequence[Sequence[float]]]]) -> Path:
    """boxes.csv of photos: name -> label, (height, width), boxes. The pixels are noise, others for each photo."""
    lines = ["path,label,x0,y0,x1,y1,subset"]
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (label, size, boxes)) in enumerate(photos.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
        subset = "train" if name.startswith("train") else "val"
        lines += [",".join(map(str, (name, label, *box, subset))) for box in boxes]
    file = folder / "boxes.csv"
    file.write_text("\n".join(lines) + "\n")
    return file
