"""Images per second on the CPU: the loop that a user writes first, and vggfeat, on the same files in one run.

    python benchmarks/extract/cpu.py --photos FOLDER --weights vgg19.safetensors --out results/cpu.json

Net E to pool5 (the file may hold the convolutional layers only), float32, each image and its mirror at one Q.
The rows: torchvision's VGG-19, one image at a time, its mirror in the same batch; vggfeat with direct
convolutions, one pass at a time; with Winograd convolutions; with passes side by side, as `extract` runs.
Rounds of all rows take turns, so that a drift of the machine's speed hits all alike.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import vgg19
from torchvision.transforms.v2 import functional as transforms

from vggfeat import descriptors, weights
from vggfeat.descriptors import Describer
from vggfeat.images import rescaled_size

Rows = list[np.ndarray]


def torchvision_loop(weights_file: Path, q: int) -> Callable[[list[Path]], Rows]:
    """The plain loop, with the same weights and the same preprocessing."""
    net = vgg19(weights=None, init_weights=False).features.eval()
    convolutions = [module for module in net if isinstance(module, torch.nn.Conv2d)]
    ours = weights.load(weights.read(weights_file), "pool5")
    for convolution, own in zip(convolutions, [m for m in ours if isinstance(m, torch.nn.Conv2d)], strict=True):
        convolution.load_state_dict(own.state_dict())
    mean = torch.tensor(weights.OXFORD.mean).view(3, 1, 1)

    @torch.inference_mode()
    def run(files: list[Path]) -> Rows:
        rows = []
        for file in files:
            pixels = transforms.pil_to_tensor(Image.open(file).convert("RGB")).float()
            size = rescaled_size(*pixels.shape[1:], q)  # torchvision's own rule cuts the longer side
            x = transforms.resize(pixels, size, antialias=True).flip(0) - mean
            maps = net(torch.stack([x, x.flip(2)]))
            rows.append(maps.mean(dim=(0, 2, 3)).numpy())
        return rows

    return run


def ours(weights_file: Path, q: int, winograd: bool, at_once: int) -> Callable[[list[Path]], Rows]:
    """vggfeat's engine without the store; the two switches are internals, for this comparison."""
    kept = descriptors.use_winograd
    descriptors.use_winograd = kept if winograd else lambda net: net
    describer = Describer(weights=weights_file, layer="pool5", scales=(q,))
    describer.nets[0].net  # noqa: B018  (loads now)
    descriptors.use_winograd = kept

    def run(files: list[Path]) -> Rows:
        descriptors.PASSES_AT_ONCE = at_once
        rows = dict(describer.stream((i, describer.prepare(file)) for i, file in enumerate(files)))
        return [rows[i][0][0] for i in range(len(files))]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--q", type=int, default=256)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    files = sorted(options.photos.rglob("*.jpg"))
    files = files[:: max(1, len(files) // options.images)][: options.images]
    contenders = {
        "torchvision, plain loop": torchvision_loop(options.weights, options.q),
        "vggfeat, direct convolutions": ours(options.weights, options.q, False, 1),
        "vggfeat, Winograd": ours(options.weights, options.q, True, 1),
        "vggfeat, Winograd, passes side by side": ours(options.weights, options.q, True, descriptors.PASSES_AT_ONCE),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    rows: dict[str, Rows] = {}
    for round_ in range(options.rounds + 1):  # the first warms up
        for name, run in contenders.items():
            began = time.perf_counter()
            rows[name] = run(files)
            if round_:
                seconds[name].append((time.perf_counter() - began) / len(files))
    report(contenders, seconds, rows, options)


def report(
    contenders: dict, seconds: dict[str, list[float]], rows: dict[str, Rows], options: argparse.Namespace
) -> None:
    first = next(iter(contenders))
    reference = np.array(rows[first])
    table = {}
    for name in contenders:
        ratios = [a / b for a, b in zip(seconds[first], seconds[name], strict=True)]
        difference = np.abs(np.array(rows[name]) - reference).max() / reference.max()
        table[name] = {
            "images_per_s": round(1 / statistics.median(seconds[name]), 3),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
            "largest_difference": float(f"{difference:.1e}"),
        }
        print(f"{name:40} {table[name]['images_per_s']:6.2f} img/s   x{table[name]['ratio']:.2f}   {difference:.1e}")
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "torch": torch.__version__}
    settings = {"net": "E", "layer": "pool5", "q": options.q, "images": options.images, "rounds": options.rounds}
    options.out.write_text(json.dumps({"settings": settings, "machine": machine, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
