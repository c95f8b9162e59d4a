"""What a photo costs by net and scale: seconds of CPU beside the FLOPs of Table 1.

    python benchmarks/extract/costs.py --scales 256 --out benchmarks/extract/results/costs.json

Photos of 4:3 (500x375, generated), each with its mirror image, to fc7, with random weights: time does not depend on
the values. The nets take turns. Times are those of the process on its cores (user and system), the least of the turns,
so that what else runs on the machine counts little. Reading and decoding are left out; they take milliseconds.
"of_E" is the ratio to net E at the same scale, of the seconds and of the FLOPs.
"""

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vggfeat import nets, weights
from vggfeat.descriptors import Describer
from vggfeat.images import rescaled_size

SIZE = (375, 500)
IMAGES = 2
NETS = ("E", "D", "A")
LAYER = "fc7"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=lambda text: [int(q) for q in text.split(",")], default=[256])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    describers = {net: describer(net, options.scales) for net in NETS}
    photos = [torch.from_numpy(photo(seed)).permute(2, 0, 1) for seed in range(IMAGES)]
    rows = [row for q in options.scales for row in measure(describers, q, photos, options.turns)]
    made = {"layer": LAYER, "turns": options.turns, "torch": torch.__version__, "machine": platform.machine()}
    options.out.write_text(json.dumps(made | {"rows": rows}, indent=1) + "\n")


def describer(net: str, scales: list[int]) -> Describer:
    """With random weights, loaded."""
    vgg = nets.initialise(nets.VGG(net, top=LAYER), "glorot", torch.Generator().manual_seed(0))
    facts: dict[str, Any] = {"lineage": "random", "source": "random", "licence": "Apache-2.0"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{net}.safetensors")
        weights.save(file, vgg.state_dict(), net=net, preprocessing=weights.OXFORD, **facts)
        made = Describer(scales=scales, layer=LAYER, weights=str(file), device="cpu")
        made.engine.nets[0].load()
    return made


def measure(describers: dict[str, Describer], q: int, photos: list[torch.Tensor], turns: int) -> list[dict[str, Any]]:
    singles = {net: one.variant(scales=(q,)) for net, one in describers.items()}
    times = [{net: spend(one, photos) / len(photos) for net, one in singles.items()} for _ in range(turns)]
    least = {net: min(turn[net] for turn in times) for net in singles}
    gflop = {net: 2 * nets.flops(net, *rescaled_size(*SIZE, q), top=LAYER) / 1e9 for net in singles}  # with the mirror
    rows = []
    for net in singles:
        of_e = {"cpu_s": round(least[net] / least["E"], 2), "gflop": round(gflop[net] / gflop["E"], 2)}
        rows.append({"net": net, "q": q, "cpu_s": round(least[net], 2), "gflop": round(gflop[net]), "of_E": of_e})
        print(rows[-1], flush=True)
    return rows


def spend(describer: Describer, photos: list[torch.Tensor]) -> float:
    began = time.process_time()
    for _ in describer.stream(enumerate(photos)):
        pass
    return time.process_time() - began


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


if __name__ == "__main__":
    main()
