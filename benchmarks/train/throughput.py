"""Images a second and model-FLOP utilisation of `vggfeat train`'s step, against torchvision's reference loop.

Both train the same net on the same number of random images of the same size, with the same batch and precision, in
turns, in one process. The loop is that of torchvision's references/classification/train.py as it runs by default
(torch.optim.SGD, gradients set to zero, loss and accuracy read after each step); its input is ready on the device as
float32. Ours starts from uint8 crops on the CPU and pays for the colour shift and the preprocessing, which the
reference has its workers do. Decoding is measured apart, with `--decode FOLDER`.

    python benchmarks/train/throughput.py                                     # narrow A on a CPU
    python benchmarks/train/throughput.py --device cuda --net D --width 1 --batch 256 --micro 256 --peak 989e12
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vggfeat import nets, weights
from vggfeat.train import Recipe
from vggfeat.train.learner import Learner, find_precision
from vggfeat.train.loading import Crops, MicroBatch, micro_batches
from vggfeat.train.objective import Classes
from vggfeat.train.pixel_statistics import ILSVRC
from vggfeat.train.ranks import Ranks
from vggfeat.train.sets import Photos

CLASSES = 1000


def images(batch: int, device: torch.device) -> MicroBatch:
    """Random crops and labels on the CPU, pinned for a GPU, as a loader hands them over."""
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (batch, nets.CROP, nets.CROP, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (batch,), generator=generator)
    shifts = torch.randn(batch, 3, generator=generator) * 0.02
    parts = [part.pin_memory() if device.type == "cuda" else part for part in (crops, labels, shifts)]
    return MicroBatch(parts[0], parts[1], parts[2], [])


def fresh(recipe: Recipe) -> nets.VGG:
    vgg = nets.VGG(recipe.net, width=recipe.width, classes=CLASSES, dropout=recipe.dropout)
    return nets.initialise(vgg, "glorot", torch.Generator().manual_seed(0))


def ours(recipe: Recipe, ranks: Ranks, batch: MicroBatch) -> Callable[[], None]:
    preprocessing = weights.Preprocessing("RGB", 255.0, ILSVRC.mean, (1.0, 1.0, 1.0))
    learner = Learner(fresh(recipe), recipe, Classes(CLASSES), preprocessing, ranks)
    learner.sgd.param_groups[0]["lr"] = 1e-4
    groups = [
        MicroBatch(*(part[at : at + recipe.micro] for part in batch[:3]), [])  # type: ignore[arg-type]
        for at in range(0, recipe.batch, recipe.micro)
    ]

    def step() -> None:
        learner.step(iter(groups), len(groups), seed=0)

    return step


def reference(recipe: Recipe, ranks: Ranks, batch: MicroBatch) -> Callable[[], None]:
    """One turn of train_one_epoch's loop."""
    device = ranks.device
    model = fresh(recipe).to(device).train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    half = find_precision(recipe.precision, device) == "bfloat16"
    floats = (batch.crops.permute(0, 3, 1, 2).float() - 120).contiguous().to(device)

    def accuracy(output: Tensor, target: Tensor) -> list[float]:
        with torch.inference_mode():
            _, best = output.topk(5, 1, True, True)
            right = best.t() == target[None]
            return [right[:k].flatten().sum(dtype=torch.float32).item() * 100 / len(target) for k in (1, 5)]

    def step() -> None:
        image, target = floats.to(device), batch.labels.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output = model(image)
            loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        accuracy(output, target)
        loss.item()

    return step


def seconds(step: Callable[[], None], count: int, device: torch.device) -> float:
    """CPU seconds of this process on a CPU, where other work may run beside it; on a GPU those of a clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    began = clock()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (clock() - began) / count


def measure(recipe: Recipe, device: torch.device, turns: int, steps: int) -> dict[str, Any]:
    """Seconds a step of both, in turns, and what follows."""
    batch, ranks = images(recipe.batch, device), Ranks(device)
    loops = {"ours": ours(recipe, ranks, batch), "reference": reference(recipe, ranks, batch)}
    for step in loops.values():
        seconds(step, 2, device)  # warm: buffers, cuDNN's choice of algorithms
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(turns):
        for name, step in loops.items():
            times[name].append(seconds(step, steps, device))
    speed = {name: recipe.batch / statistics.median(values) for name, values in times.items()}
    ratios = [b / a for a, b in zip(times["ours"], times["reference"], strict=True)]
    return {
        "images_per_s": {name: round(value, 2) for name, value in speed.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def decoding(folder: Path, count: int = 200) -> float:
    """Images a second that one process decodes and crops, S drawn from [256, 512]."""
    files = sorted(folder.rglob("*.JPEG")) or sorted(folder.rglob("*.jpg"))
    photos = Photos([file.name for file in files], files, torch.zeros(len(files), dtype=torch.int64).numpy())
    crops = Crops(photos, Recipe(scale="256-512"), ILSVRC)
    began = time.process_time()
    rows = [tuple(range(at, min(at + 20, len(files)))) for at in range(0, min(count, len(files)), 20)]
    done = sum(len(batch.labels) for batch in micro_batches(crops, iter([(0, some) for some in rows]), 0, False))
    return done / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--net", default="A")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--micro", type=int, default=16)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true", help="ours only")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="in a turn")
    parser.add_argument("--peak", type=float, default=0.0, help="the device's FLOP/s in this precision")
    parser.add_argument("--decode", type=Path, help="a folder of photos")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = {key: getattr(args, key) for key in ("net", "width", "batch", "micro", "precision", "compile")}
    recipe, device = Recipe(**settings), torch.device(args.device)
    result = {**settings, "device": args.device, "threads": torch.get_num_threads(), "torch": torch.__version__}
    result |= measure(recipe, device, args.turns, args.steps)
    # Forward and backward pass: three times the multiply-adds of Table 1's layers, two operations each.
    flops = 3 * nets.flops(args.net, width=args.width, classes=CLASSES)
    result["gflop_per_image"] = round(flops / 1e9, 3)
    result["tflop_per_s"] = {name: round(flops * speed / 1e12, 4) for name, speed in result["images_per_s"].items()}
    if args.peak:
        result["utilisation"] = {name: round(flops * v / args.peak, 4) for name, v in result["images_per_s"].items()}
    if args.decode:
        result["decoded_per_s"] = round(decoding(args.decode), 1)
    text = json.dumps(result, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
