"""What dense and multi-crop evaluation cost (Sect. 3.2), on the CPU, in one run, turn by turn.

    python benchmarks/ilsvrc2012/cost.py --net slim --images 8 --out results/slim.json
    python benchmarks/ilsvrc2012/cost.py --net E --scales 256 --images 2 --out results/E.json

Photos of 4:3 (500x375, generated) are evaluated densely and over 5x5 crops, both with mirror images. Times are those of
the process on its cores (user and system), so that what else runs on the machine counts little; decoding is left out.
Net E has random weights: time does not depend on them.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vggfeat import nets, weights
from vggfeat.descriptors import Describer
from vggfeat.evaluate.methods import posterior_describers
from vggfeat.images import rescaled_size
from vggfeat.nets import CROP, flops
from vggfeat.spec import PosteriorSpec

SIZE = (375, 500)
CROPS = 25


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        file = "slim" if options.net == "slim" else random_weights(options.net, Path(folder))
        rows = [measure(file, q, options.images, options.turns) for q in options.scales]
    made = {
        "net": options.net,
        "threads": options.threads,
        "images": options.images,
        "turns": options.turns,
        "image": f"{SIZE[1]}x{SIZE[0]}",
        "rows": rows,
        "together": together(rows),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    print(json.dumps(made, indent=1))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(made, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="slim", help="slim, or a net of Table 1 with random weights")
    parser.add_argument("--scales", type=lambda text: [int(q) for q in text.split(",")], default=[256, 384, 512])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def random_weights(net: str, folder: Path) -> Path:
    vgg = nets.initialise(nets.VGG(net), "glorot", torch.Generator().manual_seed(0))
    facts: dict[str, Any] = {"lineage": "random", "source": "random", "licence": "Apache-2.0"}
    saved = weights.save(
        folder / f"{net}.safetensors", vgg.state_dict(), net=net, preprocessing=weights.OXFORD, **facts
    )
    return saved.path


def measure(file: str | Path, q: int, images: int, turns: int) -> dict[str, Any]:
    """Seconds of CPU an image of each method at one scale, the best of the turns, and their ratio, the median."""
    methods = posterior_describers("both", PosteriorSpec(scales=(q,), weights=str(file), device="cpu"))
    photos = [torch.from_numpy(photo(seed)).permute(2, 0, 1) for seed in range(images)]
    for method in methods:
        spend(method, photos[:1])  # loads the net
    times = [[spend(method, photos) / images for method in methods] for _ in range(turns)]
    net = methods[0].engine.nets[0].weights
    sides = rescaled_size(*SIZE, q), (CROP, CROP)
    floating = [flops(net.net, *side, width=net.width, classes=net.outputs) for side in sides]
    return {
        "q": q,
        "dense_s": min(dense for dense, _ in times),
        "multi_crop_s": min(crops for _, crops in times),
        "ratio": statistics.median(crops / dense for dense, crops in times),
        "ratio_of_flops": CROPS * floating[1] / floating[0],
    }


def spend(method: Describer, photos: list[torch.Tensor]) -> float:
    began = time.process_time()
    for _ in method.stream(enumerate(photos)):
        pass
    return time.process_time() - began


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def together(rows: list[dict[str, Any]]) -> dict[str, float]:
    dense, crops = (sum(row[key] for row in rows) for key in ("dense_s", "multi_crop_s"))
    return {"dense_s": dense, "multi_crop_s": crops, "ratio": crops / dense}


if __name__ == "__main__":
    main()
