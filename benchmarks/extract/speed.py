"""Images per second: a plain loop with timm, timm tuned by hand, and vggfeat, on the same files in one run.

    python benchmarks/extract/speed.py --photos FOLDER --weights vgg19.safetensors --out results/cpu.json
    python benchmarks/extract/speed.py --photos FOLDER --device cuda --scales 256,384,512 --images 1000 --out F

Each image and its mirror image at each scale. Without --weights, or for fc6 and fc7 if the file has none, the weights
are random: for timing only. The rows, on any device: timm's VGG, one image at a time in float32 with torch's defaults;
timm tuned by hand (channels_last, batches of one size, decoding in threads; bfloat16 on a GPU). On a CPU then vggfeat
step by step: torch's convolutions, one pass at a time; with Winograd's; with fc6 and fc7 as products of windows; with
passes side by side. On a GPU vggfeat in each precision, on photos that are decoded before. Last `extract`, from files
to a store; on a CPU with instructions for bfloat16, in bfloat16 too.

The rows take turns in each round, so that changes of the machine's speed affect all alike. So does a matrix product
(float32 on a CPU, bfloat16 on a GPU); the FLOP/s of a row, counted from Table 1, are compared with the product's. A row
that is too slow for all photos in --seconds takes fewer of them.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import FIRST, Bench, Run, complete
from PIL import Image
from stages import Stages

from vggfeat import nets
from vggfeat.images import rescaled_size

SIDE = {"cpu": 3072, "cuda": 8192}  # of the matrices that are multiplied


def product_rate(device: str, side: int | None = None) -> float:
    """FLOP/s of a product of matrices of this side, now: float32 on a CPU, bfloat16 on a GPU."""
    side, repeats = side or SIDE[device], 30 if device == "cuda" else 1
    a = torch.rand(side, side, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    if device == "cuda":
        a @ a
    wait()
    began = time.perf_counter()
    for _ in range(repeats):
        a @ a
    wait()
    return repeats * 2 * side**3 / (time.perf_counter() - began)


def spread(files: list[Path], number: int) -> list[Path]:
    """Some of the files, at equal distances."""
    return [files[i * len(files) // number] for i in range(number)]


def cost(files: list[Path], bench: Bench) -> float:
    """FLOPs of all images, scales and mirror images, counted from Table 1 as direct convolutions."""
    sizes = [Image.open(file).size for file in files]
    rescaled = [rescaled_size(height, width, q) for width, height in sizes for q in bench.scales]
    found = bench.weights
    return 2.0 * sum(nets.flops(found.net, h, w, width=found.width, top=bench.layer) for h, w in rescaled)


def measure(runs: dict[str, Run], files: list[Path], bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Images per second of each row, and what follows from them."""
    shares: dict[str, list[Path]] = {}
    vectors: dict[str, dict[Path, np.ndarray]] = {}
    for name, run in runs.items():
        few = spread(files, min(4, len(files)))
        run(few)  # warms up
        began = time.perf_counter()
        run(few)
        most = int(options.seconds * len(few) / (time.perf_counter() - began))
        shares[name] = spread(files, min(max(most, len(few)), len(files)))
        vectors[name] = dict(zip(shares[name], run(shares[name])(), strict=True))  # warms up its sizes
    speeds, products = defaultdict(list), []
    for _ in range(options.rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run(shares[name])
            speeds[name].append(len(shares[name]) / (time.perf_counter() - began))
            products.append(product_rate(bench.device))
    table = {}
    for name, images_per_s in speeds.items():
        ratios = [a / b for a, b in zip(images_per_s, speeds[FIRST], strict=True)]
        flops = statistics.median(images_per_s) * cost(shares[name], bench) / len(shares[name])
        table[name] = {
            "images": len(shares[name]),
            "images_per_s": round(statistics.median(images_per_s), 3),
            "ratio": round(statistics.median(ratios), 2),
            "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
            "gflop_s": round(flops / 1e9, 1),
            "of_product_rate": round(flops / statistics.median(products), 2),
            "largest_difference": difference(vectors[name], vectors[FIRST]),
        }
        print("{:34} {images_per_s:9.3f} img/s   x{ratio:.2f}   {of_product_rate:.0%}".format(name, **table[name]))
    return {"product_gflop_s": round(statistics.median(products) / 1e9, 1), "rows": table}


def difference(found: dict[Path, np.ndarray], reference: dict[Path, np.ndarray]) -> float:
    """The largest difference, over the photos of both, as a share of the largest value."""
    both = [file for file in found if file in reference]
    largest = max(reference[file].max() for file in both)
    return float(f"{max(np.abs(found[file] - reference[file]).max() for file in both) / largest:.1e}")


def profile(bench: Bench, files: list[Path], precision: str | None = None) -> dict[str, float]:
    """Seconds of each stage of `extract`, for all photos, after a first run."""
    describer, stages = bench.describer(precision or ("bfloat16" if bench.device == "cuda" else "float32")), Stages()
    run = bench.extract(describer)
    run(files)
    with stages.watching(describer) as watched:
        bench.extract(watched)(files)
    for stage, seconds in stages.table().items():
        print(f"{seconds:10.3f} s  {stage}")
    return stages.table()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", help="a file or a name, such as slim; default: random")
    parser.add_argument("--net", help="default: the net of the weights; E if they are random")
    parser.add_argument("--width", type=float, default=1.0, help="width of random nets; narrow ones are for trials")
    parser.add_argument("--layer", choices=("pool5", "fc7"), default="fc7")
    parser.add_argument("--scales", type=lambda text: [int(q) for q in text.split(",")], default=[256])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=30, help="the most for a row in a round (but 4 photos at least)"
    )
    parser.add_argument("--tuned", action="store_true", help="also timm tuned by hand, on a CPU")
    parser.add_argument("--profile", action="store_true", help="also the seconds of each stage of `extract`")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    files = sorted(options.photos.rglob("*.jpg")) or sorted(options.photos.rglob("*.JPEG"))
    files = spread(files, min(options.images, len(files)))
    with tempfile.TemporaryDirectory() as folder:
        found = complete(options, Path(folder))
        bench = Bench(found, options.layer, options.scales, options.device, Path(folder))
        result = measure(bench.rows(options.tuned), files, bench, options)
        stages = {"profile_s": profile(bench, files)} if options.profile else {}
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    machine = {"device": name, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    machine |= {"torch": torch.__version__, "product_gflop_s": result.pop("product_gflop_s")}
    settings = {"net": found.net, "width": found.width, "layer": options.layer, "scales": options.scales}
    settings |= {"images": len(files), "rounds": options.rounds}
    report = {"settings": settings, "machine": machine, **result, **stages}
    options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
