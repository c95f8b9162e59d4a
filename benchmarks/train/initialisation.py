"""Which random initialisation trains net A: N(0, 0.01 squared), or N(0, variance 0.01)?  See README.md.

    python benchmarks/train/initialisation.py growth --photos FOLDER       # at full width, one pass of a few photos
    python benchmarks/train/initialisation.py curve                        # losses of a narrow A, minutes

A narrow net's layers add up fewer inputs, so that its signals shrink more from layer to layer than the full net's
do. `initialise` makes up for it with random; for the curves the weights of random-0.1 are multiplied by 1 / sqrt(width)
too, but for conv1_1, whose inputs are three colours at any width: the growth from layer to layer is then that of the
full net.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vggfeat import images, nets
from vggfeat.nets import Init
from vggfeat.train.crops import centre_window, crop_of
from vggfeat.train.pixel_statistics import ILSVRC

COLOURS = ((40, 60, 200), (50, 180, 60), (200, 50, 40))  # the curves' classes: noise around each
PER_CLASS, NOISE, BATCH, LR = 20, 40, 12, 0.003


def mean() -> Tensor:
    return torch.tensor(ILSVRC.mean)[:, None, None]


def photos(folder: Path, count: int = 4) -> Tensor:
    """float32 (count, 3, 224, 224): centre crops, evenly spaced over the folder's photos, minus the mean."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = [images.read(file) for file in files[:: max(1, len(files) // count)][:count]]
    crops = [crop_of(photo, centre_window(photo.shape[:2], 256)) for photo in photos]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() - mean()


def growth(x: Tensor, net: str) -> dict[str, Any]:
    """Root mean square of each layer's output before its ReLU, and of its weights' gradient, by initialisation."""
    found: dict[str, Any] = {}
    for how in get_args(Init):
        vgg = nets.initialise(nets.VGG(net).eval(), how, torch.Generator().manual_seed(0))
        y, outputs = x, {}
        for name, module in vgg.named_children():
            y = module(y)
            if isinstance(module, nn.Conv2d | nn.Linear):
                outputs[name] = _rms(y)
        loss = functional.cross_entropy(y, torch.arange(len(x)))
        loss.backward()
        gradients = {name: _rms(getattr(vgg, name).weight.grad) for name in outputs}
        found[how] = {"loss": float(f"{loss.item():.4g}"), "outputs": outputs, "gradients": gradients}
    return found


def _rms(tensor: Tensor) -> float:
    return float(f"{tensor.detach().double().pow(2).mean().sqrt().item():.3g}")


def curve(how: Init, width: float, steps: int) -> list[float]:
    """Losses of a narrow A that learns to tell three colours apart; it ends where the loss is no number."""
    rng = np.random.default_rng(0)
    shape = (PER_CLASS, nets.CROP, nets.CROP, 3)
    crops = [(np.array(c) + rng.integers(-NOISE, NOISE + 1, shape)).clip(0, 255).astype(np.uint8) for c in COLOURS]
    x, y = torch.from_numpy(np.concatenate(crops)).permute(0, 3, 1, 2), torch.arange(3).repeat_interleave(PER_CLASS)
    vgg = nets.initialise(nets.VGG("A", width=width, classes=3), how, torch.Generator().manual_seed(0))
    if how == "random-0.1":  # the others know the layers' sizes
        with torch.no_grad():
            for name, parameter in vgg.named_parameters():
                if name.endswith("weight") and name != "conv1_1.weight":
                    parameter /= math.sqrt(width)
    sgd = torch.optim.SGD(vgg.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4)
    torch.manual_seed(0)
    losses: list[float] = []
    while len(losses) < steps and (not losses or math.isfinite(losses[-1])):
        rows = torch.randint(0, len(y), (BATCH,))
        loss = functional.cross_entropy(vgg(x[rows] - mean()), y[rows])
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("growth", "curve"))
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--net", default="A")
    parser.add_argument("--width", type=float, default=1 / 32)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if args.what == "growth":
        result: dict[str, Any] = growth(photos(args.photos), args.net)
    else:
        result = {}
        for how in get_args(Init):
            losses = curve(how, args.width, args.steps)
            means = [float(f"{np.mean(losses[at : at + 50]):.4g}") for at in range(0, len(losses), 50)]
            result[how] = {"first": losses[:3], "mean_of_50": means, "steps": len(losses), "last": losses[-1]}
    text = json.dumps(result, indent=1).replace("NaN", '"NaN"').replace("Infinity", '"Infinity"')
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
