"""What a photo costs by net, layer and scale: seconds of CPU, and of two cores, which share a run of many photos.

    python benchmarks/extract/costs.py --out benchmarks/extract/results/costs.json

Photos of 4:3 (500x375, generated), each with its mirror image, with random weights: time does not depend on the values.
Times are those of the process on its cores (user and system), the least of the turns, so that what else runs on the
machine counts little. `two_cores_s` is half of that: `extract` keeps both cores busy. Reading and decoding are left
out; they take milliseconds. "of_E" is the ratio to net E at the same layer and scale, beside that of the FLOPs.
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
SCALES = (256, 384, 512)
MEASURED = [("E", "fc7"), ("E", "pool5"), ("D", "fc7"), ("A", "fc7")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for net, layer in MEASURED for row in measure(net, layer, options.turns)]
    of_e = {(row["layer"], row["q"]): row for row in rows if row["net"] == "E"}
    for row in rows:
        e = of_e[row["layer"], row["q"]]
        row["of_E"] = {key: round(row[key] / e[key], 2) for key in ("cpu_s", "gflop")}
    made = {"turns": options.turns, "torch": torch.__version__, "machine": platform.machine(), "rows": rows}
    print(json.dumps(made, indent=1))
    options.out.write_text(json.dumps(made, indent=1) + "\n")


def measure(net: str, layer: str, turns: int) -> list[dict[str, Any]]:
    photos = [torch.from_numpy(photo(seed)).permute(2, 0, 1) for seed in range(IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        file = str(random_weights(net, layer, Path(folder)))
        describer = Describer(scales=SCALES, layer=layer, weights=file, device="cpu")
        singles = {q: describer.variant(scales=(q,)) for q in SCALES}
        spend(singles[256], photos[:1])  # loads the net
    times = [{q: spend(one, photos) / IMAGES for q, one in singles.items()} for _ in range(turns)]
    rows = []
    for q in SCALES:
        least, size = min(turn[q] for turn in times), rescaled_size(*SIZE, q)
        gflop = 2 * nets.flops(net, *size, top=layer) / 1e9  # with the mirror image
        row = {"net": net, "layer": layer, "q": q, "cpu_s": round(least, 2), "two_cores_s": round(least / 2, 2)}
        rows.append(row | {"gflop": round(gflop, 1)})
        print(rows[-1], flush=True)
    return rows


def random_weights(net: str, layer: str, folder: Path) -> Path:
    vgg = nets.initialise(nets.VGG(net, top=layer), "glorot", torch.Generator().manual_seed(0))
    facts: dict[str, Any] = {"lineage": "random", "source": "random", "licence": "Apache-2.0"}
    file = folder / f"{net}.safetensors"
    return weights.save(file, vgg.state_dict(), net=net, preprocessing=weights.OXFORD, **facts).path


def spend(describer: Describer, photos: list[torch.Tensor]) -> float:
    began = time.process_time()
    for _ in describer.stream(enumerate(photos)):
        pass
    return time.process_time() - began


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


if __name__ == "__main__":
    main()
