"""Train "slim", the small net A that ships with vggfeat; see README.md beside this file."""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from vggfeat import nets
from vggfeat.weights import TORCHVISION, native

PHASES = "64x40,96x32,128x12,224x4"  # side of the crops x epochs
WIDTH, LR, BATCH = 0.1875, 0.02, 32
SMALLEST_SIDE = 256  # Q at validation
CLASSES = (  # in the order of their wnids
    *("tench", "English springer", "cassette player", "chain saw", "church"),
    *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
)
ABOUT = {"lineage": "slim", "licence": "Apache-2.0", "source": "benchmarks/slim, 2,000 photos of Imagenette"}
Data = tuple[Tensor, Tensor]


def load(folder: Path) -> Data:
    """uint8 (N, 3, 128, 128) and class numbers (N,) in the order of the sorted wnids."""
    wnids = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(path, number) for number, wnid in enumerate(wnids) for path in sorted(wnid.glob("*.JPEG"))]
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor([n for _, n in files])


def uniform(count: int, low: float, high: float) -> Tensor:
    return torch.empty(count, 1, 1, 1).uniform_(low, high)


def augment(photos: Tensor, size: int) -> Tensor:
    """Random crops of uint8 photos, brought to (N, 3, size, size) in 0..1, mirrored and recoloured at random.

    At 224 a crop holds about 0.7 of each side or more, as from S in [224, 320]; at smaller sizes 0.5.
    """
    n, x = len(photos), photos.float() / 255
    side = uniform(n, 0.7 if size == nets.CROP else 0.5, 1).flatten()
    stretch = uniform(n, -0.5, 0.5).flatten() * math.log(4 / 3)
    side = torch.stack([side * stretch.exp(), side / stretch.exp()], 1).clamp(max=1)
    mirror = torch.stack([torch.randint(2, (n,)) * 2 - 1, torch.ones(n)], 1)
    centre = (1 - side) * (torch.rand(n, 2) * 2 - 1)
    theta = torch.cat([torch.diag_embed(side * mirror), centre[..., None]], 2)
    grid = F.affine_grid(theta, [n, 3, size, size], align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False) * uniform(n, 0.7, 1.3)
    x = torch.lerp(x.mean((1, 2, 3), keepdim=True), x, uniform(n, 0.7, 1.3))
    return torch.lerp(x.mean(1, keepdim=True), x, uniform(n, 0.7, 1.3)).clamp(0, 1)


def normalise(x: Tensor) -> Tensor:
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (TORCHVISION.mean, TORCHVISION.std))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def for_any_size(net: nets.VGG) -> nn.Sequential:
    """The net with pool5 brought to 7x7 before fc6 (nothing changes at 224); parameters are shared."""
    names, layers = zip(*net.named_children(), strict=True)
    at = names.index("flatten")
    return nn.Sequential(*layers[:at], nn.AdaptiveAvgPool2d(nets.FC_WINDOW), *layers[at:])


def epoch(net: nn.Module, sgd: torch.optim.SGD, data: Data, size: int, mixup: np.random.RandomState) -> float:
    """One pass over the data; returns the mean loss."""
    (photos, labels), losses = data, []
    for rows in torch.randperm(len(photos)).split(BATCH):
        x, y = normalise(augment(photos[rows], size)), F.one_hot(labels[rows], len(CLASSES)).float()
        mix = mixup.beta(0.2, 0.2)
        x, y = torch.lerp(x.flip(0), x, mix), torch.lerp(y.flip(0), y, mix)
        loss = F.cross_entropy(net(x), y, label_smoothing=0.1)
        sgd.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        sgd.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def train(net: nets.VGG, data: Data, sizes: list[int], mixup: np.random.RandomState, log: Path) -> None:
    """An epoch at each of the sizes in turn; the learning rate falls as a cosine of the pixels seen."""
    flexible = for_any_size(net).train()
    sgd = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4, nesterov=True)
    pixels, start = np.square(sizes), time.perf_counter()
    progress = (pixels.cumsum() - pixels / 2) / pixels.sum()
    with log.open("w") as rows:
        print("epoch,size,lr,loss,seconds", file=rows)
        for number, (size, done) in enumerate(zip(sizes, progress.tolist(), strict=True)):
            rate = sgd.param_groups[0]["lr"] = LR * min(1.0, (number + 1) / 4) * (1 + math.cos(math.pi * done)) / 2
            loss = epoch(flexible, sgd, data, size, mixup)
            seconds = time.perf_counter() - start
            print(f"{number},{size},{rate:.5f},{loss:.4f},{seconds:.0f}", file=rows, flush=True)


@torch.inference_mode()
def class_accuracies(net: nets.VGG, data: Data) -> list[float]:
    """Per cent right of each class: the 224x224 centre crop of the photo at 256x256."""
    photos, labels = data
    edge, guesses = (SMALLEST_SIDE - nets.CROP) // 2, []
    for x in photos.split(50):
        x = F.interpolate(x.float() / 255, size=SMALLEST_SIDE, mode="bilinear")
        guesses.append(net.eval()(normalise(x[:, :, edge:-edge, edge:-edge])).argmax(1))
    right = (torch.cat(guesses) == labels).double()
    return [round(100 * right[labels == c].mean().item(), 2) for c in range(len(CLASSES))]


def export(net: nets.VGG, data: Data, file: Path) -> dict[str, Any]:
    """Write the weights as float16; the accuracies are those of the file, but where float32 is said."""
    tensors = {name: parameter.half() for name, parameter in net.state_dict().items()}
    style = TORCHVISION
    weights = native.save(file, tensors, net="A", preprocessing=style, width=WIDTH, classes=CLASSES, **ABOUT)
    full, half = class_accuracies(net, data), class_accuracies(native.load(weights), data)
    means = {"val_accuracy": round(np.mean(half), 2), "val_accuracy_float32": round(np.mean(full), 2)}
    return {**means, "per_class": dict(zip(CLASSES, half, strict=True)), "sha256": weights.sha256}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/ and val/")
    parser.add_argument("--out", type=Path, required=True, help="folder for log, weights and result")
    parser.add_argument("--phases", default=PHASES, help="side of the crops x epochs, ...")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    mixup = np.random.RandomState(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    net = nets.VGG("A", width=WIDTH, classes=len(CLASSES)).to(memory_format=torch.channels_last)
    for p in net.parameters():  # He et al. (2015): a variance of 2 / fan in; biases are 0
        nn.init.kaiming_normal_(p, nonlinearity="relu") if p.ndim > 1 else nn.init.zeros_(p)
    phases = [map(int, phase.split("x")) for phase in args.phases.split(",")]
    sizes = [size for size, epochs in phases for _ in range(epochs)]
    train(net, load(args.data / "train"), sizes, mixup, args.out / "log.csv")
    result = export(net, load(args.data / "val"), args.out / "slim.safetensors")
    (args.out / "result.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
