"""Images per second on the CPU: the loop that a user writes first, and vggfeat, on the same files in one run.

    python benchmarks/extract/cpu.py --photos FOLDER --weights vgg19.safetensors --layer fc7 --out results/cpu.json

Net E, float32, each image and its mirror at each scale. Where the file ends at pool5, fc6 and fc7 are random.
The rows: timm's VGG-19, one image at a time, its mirror in the same batch; vggfeat with convolutions as torch has
them, one pass at a time; with Winograd's; with fc6 and fc7 as products of windows; with passes side by side, as
`extract` runs. Rounds of all rows take turns, so that a drift of the machine's speed hits all alike; so does a
matrix product, whose rate in the same run is what FLOP/s (counted from Table 1) are compared with.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from vggfeat import nets, passes, weights
from vggfeat.descriptors import Describer
from vggfeat.images import rescaled_size
from vggfeat.weights import native

Rows = list[np.ndarray]
SIDE = 3072  # of the matrices whose product is the ceiling
FIRST = "timm, plain loop"


def complete(file: Path, layer: str, folder: Path) -> weights.Weights:
    """The weights, with fc6 and fc7 of random values where they are asked for and the file lacks them."""
    found = weights.read(file)
    if layer == "pool5" or found.top != "pool5":
        return found
    tensors = dict(weights.load(found, "pool5").state_dict())
    rng = torch.Generator().manual_seed(0)
    for name, shape in nets.tensor_shapes(found.net, found.width, top="fc7").items():
        if name.startswith("fc"):
            tensors[name] = (
                torch.randn(shape, generator=rng) * (2 / shape[-1]) ** 0.5 if len(shape) > 1 else torch.zeros(shape)
            )
    about = {"lineage": found.lineage, "licence": found.licence, "source": "random fc6 and fc7, for timing only"}
    return native.save(
        folder / "complete.safetensors", tensors, net=found.net, preprocessing=found.preprocessing, **about
    )


def timm_loop(found: weights.Weights, layer: str, scales: list[int]) -> Callable[[list[Path]], Rows]:
    """The plain loop, with the same weights and the same preprocessing."""
    net = timm.create_model("vgg19", pretrained=False).eval()
    layers = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    own = [m for m in weights.load(found, layer) if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    for theirs, ours in zip(layers, own, strict=False):
        theirs.weight.data = ours.weight.data.reshape(theirs.weight.shape)
        theirs.bias.data = ours.bias.data
    mean = torch.tensor(weights.OXFORD.mean).view(3, 1, 1)

    @torch.inference_mode()
    def run(files: list[Path]) -> Rows:
        rows = []
        for file in files:
            pixels = transforms.pil_to_tensor(Image.open(file).convert("RGB")).float()
            vectors = []
            for q in scales:
                size = rescaled_size(*pixels.shape[1:], q)  # torchvision's own rule cuts the longer side
                x = transforms.resize(pixels, size, antialias=True).flip(0) - mean
                maps = net.forward_features(torch.stack([x, x.flip(2)]))
                maps = maps if layer == "pool5" else net.pre_logits(maps)
                vectors.append(maps.mean(dim=(0, 2, 3)).numpy())
            rows.append(np.stack(vectors))
        return rows

    return run


def ours(
    found: weights.Weights,
    layer: str,
    scales: list[int],
    *,
    winograd: bool = True,
    windows: bool = True,
    at_once: int = 1,
) -> Callable[[list[Path]], Rows]:
    """vggfeat's engine without the store; the three switches are internals, for this comparison."""
    kept = passes.use_winograd, passes.use_windows
    passes.use_winograd = kept[0] if winograd else lambda net: net
    passes.use_windows = kept[1] if windows else lambda net: net
    describer = Describer(weights=found.path, layer=layer, scales=scales)  # type: ignore[arg-type]
    describer.nets[0].net  # noqa: B018  (loads now)
    passes.use_winograd, passes.use_windows = kept

    def run(files: list[Path]) -> Rows:
        passes.PASSES_AT_ONCE = at_once
        rows = dict(describer.stream((i, describer.prepare(file)) for i, file in enumerate(files)))
        return [rows[i][0] for i in range(len(files))]

    return run


def contenders(found: weights.Weights, layer: str, scales: list[int]) -> dict[str, Callable[[list[Path]], Rows]]:
    rows = {
        FIRST: timm_loop(found, layer, scales),
        "vggfeat, torch's convolutions": ours(found, layer, scales, winograd=False, windows=False),
        "+ Winograd": ours(found, layer, scales, windows=False),
    }
    if layer != "pool5":
        rows["+ windows and products"] = ours(found, layer, scales)
    rows["+ passes side by side"] = ours(found, layer, scales, at_once=passes.PASSES_AT_ONCE)
    return rows


def product_rate() -> float:
    """FLOP/s of a float32 matrix product, now."""
    a = torch.rand(SIDE, SIDE)
    began = time.perf_counter()
    a @ a
    return 2 * SIDE**3 / (time.perf_counter() - began)


def cost(files: list[Path], layer: str, scales: list[int]) -> float:
    """FLOPs of all images, scales and mirror images by Table 1, as direct convolutions."""
    sizes = [Image.open(file).size for file in files]
    passes = [rescaled_size(height, width, q) for width, height in sizes for q in scales]
    return 2.0 * sum(nets.flops("E", h, w, top=layer) for h, w in passes)  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--layer", choices=("pool5", "fc7"), default="pool5")
    parser.add_argument("--scales", type=lambda text: [int(q) for q in text.split(",")], default=[256])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    files = sorted(options.photos.rglob("*.jpg"))
    files = files[:: max(1, len(files) // options.images)][: options.images]
    with tempfile.TemporaryDirectory() as folder:
        runs = contenders(complete(options.weights, options.layer, Path(folder)), options.layer, options.scales)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rows: dict[str, Rows] = {}
    ceiling = []
    for round_ in range(options.rounds + 1):  # the first warms up
        for name, run in runs.items():
            began = time.perf_counter()
            rows[name] = run(files)
            if round_:
                seconds[name].append(time.perf_counter() - began)
                ceiling.append(product_rate())
    report(seconds, rows, cost(files, options.layer, options.scales), statistics.median(ceiling), options)


def report(
    seconds: dict[str, list[float]], rows: dict[str, Rows], work: float, ceiling: float, options: argparse.Namespace
) -> None:
    reference = np.array(rows[FIRST])
    table: dict[str, Any] = {}
    for name, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds[FIRST], times, strict=True)]
        difference = np.abs(np.array(rows[name]) - reference).max() / reference.max()
        table[name] = {
            "images_per_s": round(options.images / statistics.median(times), 3),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
            "of_product_rate": round(work / statistics.median(times) / ceiling, 2),
            "largest_difference": float(f"{difference:.1e}"),
        }
        one = table[name]
        print(f"{name:32} {one['images_per_s']:6.2f} img/s   x{one['ratio']:.2f}   {one['of_product_rate']:.0%}")
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "torch": torch.__version__}
    machine["product_gflop_s"] = round(ceiling / 1e9, 1)
    settings = {"net": "E", "layer": options.layer, "scales": options.scales}
    settings |= {"images": options.images, "rounds": options.rounds}
    options.out.write_text(json.dumps({"settings": settings, "machine": machine, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
