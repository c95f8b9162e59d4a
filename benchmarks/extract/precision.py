"""What each precision costs in accuracy: the cosine to float64, and the score of a benchmark.

    python benchmarks/extract/precision.py --photos FOLDER --weights vgg19.safetensors --out results/precision-cpu.json

Cosine: descriptors of the photos at one Q, averaged with those of their mirror images, compared with the same net in
float64 with torch's convolutions. Score: `vggfeat bench folder` on DATA (one folder per class) with the same settings
and splits in each precision.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vggfeat import bench, weights
from vggfeat.descriptors import Describer
from vggfeat.engine.dense import dense
from vggfeat.engine.net import DTYPES
from vggfeat.images import rescale


def reference(found: weights.Weights, describer: Describer, files: list[Path], q: int) -> np.ndarray:
    """float64 (N, C): each step in float64, except the rescaling."""
    layer, device = describer.spec.top, describer.engine.device
    net = dense(weights.load(found, layer), layer).double().to(device)
    prep = found.preprocessing
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1).to(device) for v in (prep.mean, prep.std))
    rows = []
    with torch.inference_mode():
        for file in files:
            pixels = rescale(describer.prepare(file).to(device), q).double()
            pixels = pixels.flip(0) if prep.colour == "BGR" else pixels
            x = (pixels * prep.range / 255 - mean) / std
            maps = net(torch.stack([x, x.flip(2)]))
            rows.append(maps.mean(dim=(0, 2, 3)).cpu().numpy())
    return np.stack(rows)


def cosine_gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest 1 - cosine over the rows, computed as |a - b|^2 / 2 of unit vectors, which is exact near 0."""
    a, b = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (a, b))
    return float(((a - b) ** 2).sum(axis=1).max() / 2)


def score(data: Path, options: argparse.Namespace, precision: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as stores:
        result = bench.run(
            bench.BENCHMARKS["folder"],
            root=data,
            weights=options.score_weights,
            layer=options.layer,
            scales=(options.q,),
            seeds=3,
            train_per_class=options.train_per_class,
            test_per_class=options.test_per_class,
            stores=stores,
            device=options.device,
            precision=precision,
        )
    return {"metric": result.metric, "value": round(result.value, 2), "std": round(result.std or 0, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", required=True, help="a file or a name, such as slim")
    parser.add_argument("--layer", choices=("pool5", "fc6", "fc7"), default="pool5")
    parser.add_argument("--data", type=Path, help="folder of class folders for the score; default: cosines only")
    parser.add_argument("--score-weights", default="slim")
    parser.add_argument("--train-per-class", type=int, default=20)
    parser.add_argument("--test-per-class", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--q", type=int, default=256)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    files = sorted(options.photos.rglob("*.jpg"))
    files = files[:: max(1, len(files) // options.images)][: options.images]
    found = weights.resolve(options.weights, None, options.layer)
    exact, table = None, {}
    for precision in DTYPES:
        if precision == "tf32" and options.device == "cpu":
            continue
        describer = Describer(
            weights=found.path, layer=options.layer, scales=(options.q,), device=options.device, precision=precision
        )
        exact = reference(found, describer, files, options.q) if exact is None else exact
        table[precision] = {"one_minus_cosine": float(f"{cosine_gap(describer.describe(files), exact):.1e}")}
        if options.data:
            table[precision] |= score(options.data, options, precision)
        print(precision, table[precision])
    where = torch.cuda.get_device_name(options.device) if options.device != "cpu" else "CPU"
    machine = {"device": where, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    settings = {"net": found.net, "width": found.width, "layer": options.layer, "q": options.q, "images": len(files)}
    settings |= {"score_weights": options.score_weights, "data": options.data.name if options.data else None}
    machine["torch"] = torch.__version__
    options.out.write_text(json.dumps({"settings": settings, "machine": machine, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
