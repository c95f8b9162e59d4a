"""What several layers in one pass cost: `extract_layers` beside one run of `extract` for each layer. CPU seconds.

python benchmarks/extract/layers.py --photos FOLDER --weights FILE --out benchmarks/extract/results/cpu-layers.json
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import vggfeat
from vggfeat import sources
from vggfeat.extraction import Item

LAYERS = ("conv4_3", "pool5")
SEED = 0


def spent() -> float:
    """CPU seconds of this process and of its decoders, which have ended."""
    return sum(os.times()[:4])


def cost(work: Callable[[], Any]) -> float:
    """CPU seconds of a piece of work."""
    before = spent()
    work()
    return spent() - before


def chosen(photos: Path, count: int) -> list[Item]:
    """Photos of a folder, drawn without replacement."""
    items = list(sources.items(photos))
    drawn = np.random.default_rng(SEED).choice(len(items), count, replace=False)
    return [items[i] for i in sorted(drawn)]


def difference(folder: Path, layers: Sequence[str]) -> float:
    """The largest difference between rows of one pass and of single runs."""
    pairs = [(folder / f"together.{layer}.vggfeat", folder / f"{layer}.vggfeat") for layer in layers]
    values = [[vggfeat.load(store, normalize="none").X for store in pair] for pair in pairs]
    return max(float(np.abs(one - other).max()) for one, other in values)


def main() -> None:
    """Measure, in rounds in which the rows take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--weights", default="oxford-int8")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--q", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    items = chosen(args.photos, args.count)
    options: dict[str, Any] = {"weights": args.weights, "scales": (args.q,), "device": "cpu"}
    costs: dict[str, list[float]] = {name: [] for name in ("loading the net", *LAYERS, "+".join(LAYERS))}
    for _ in range(args.rounds):
        folder = Path(tempfile.mkdtemp())
        describer = vggfeat.Describer(layer=LAYERS[-1], **options)
        costs["loading the net"].append(cost(describer.engine.nets[0].load))
        for layer in LAYERS:

            def alone(layer: Any = layer) -> None:
                vggfeat.extract(items, folder / f"{layer}.vggfeat", layer=layer, **options)  # noqa: B023

            costs[layer].append(cost(alone))
        costs["+".join(LAYERS)].append(
            cost(lambda: vggfeat.extract_layers(items, LAYERS, folder / "together.vggfeat", **options))  # noqa: B023
        )
        largest = difference(folder, LAYERS)
        shutil.rmtree(folder)
    result = {
        "photos": args.count,
        "q": args.q,
        "weights": str(Path(args.weights).name),
        "cpu_seconds": {name: [round(value, 2) for value in values] for name, values in costs.items()},
        "medians": {name: round(median(values), 2) for name, values in costs.items()},
        "largest_difference": largest,
        "torch": torch.__version__,
        "processors": os.cpu_count(),
        "machine": platform.machine(),
    }
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
