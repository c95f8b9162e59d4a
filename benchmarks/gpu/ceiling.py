"""What a photo costs on its way from a file to a store: counted, or measured on one core.

    python benchmarks/gpu/ceiling.py --photos FOLDER [FOLDER ...] --out benchmarks/gpu/results/ceiling.json

Counted: sizes of the photos; FLOPs, bytes of maps and kernel launches of nets D and E to fc7 with mirror images;
passes and uploads by the gatherers of the engine. Measured, in seconds of CPU: decoding in a process and taking its
pixels, rescaling, and Python's own time in the engine, with a net that computes nothing. ceiling.md draws conclusions.
"""

import argparse
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vggfeat import images, nets
from vggfeat.descriptors import Describer
from vggfeat.engine import Engine, Whole
from vggfeat.engine.batching import Gatherer, Photo
from vggfeat.engine.devices import CPU_TUNING, GPU_TUNING, Cpu
from vggfeat.engine.engine import WAITING_UPLOADS
from vggfeat.extraction.decoding import Decoder
from vggfeat.extraction.settings import ExtractionSettings
from vggfeat.images import rescaled_size
from vggfeat.sources import Item

SCALES = (256, 384, 512)
BYTES = 2  # of a value in half precision
PREPARED, OF_CONV, OF_POOL, OF_FC, AT_THE_END = 8, 1, 1, 3, 6  # launches: layers with ReLU fused; fc as windows
Sizes = list[tuple[int, int]]  # (height, width)


def counted(sizes: Sizes) -> dict[str, Any]:
    """Per photo of these sizes, over the three scales, mirror images included."""
    rescaled = [rescaled_size(h, w, q) for h, w in sizes for q in SCALES]
    found: dict[str, Any] = {"photos": len(sizes), "sizes": len(set(sizes))}
    common = Counter(sizes).most_common()
    found["share of the 5 commonest sizes"] = round(sum(count for _, count in common[:5]) / len(sizes), 3)
    found["median size, height x width"] = [int(np.median(side)) for side in zip(*sizes, strict=True)]
    found["pixels after rescaling"] = round(sum(h * w for h, w in rescaled) / len(sizes))
    passes, uploads = gathered(sizes)
    found["passes"], found["uploads"] = round(passes / len(sizes), 3), round(uploads / len(sizes), 3)
    for net in "DE":
        flops = 2 * sum(nets.flops(net, h, w, top="fc7") for h, w in rescaled) / len(sizes)
        layers = nets.layers(net, top="fc7")
        kinds = Counter(layer.kind for layer in layers)
        launches = PREPARED + OF_CONV * kinds["conv"] + OF_POOL * kinds["maxpool"] + OF_FC * kinds["FC"] + AT_THE_END
        found[net] = {
            "TFLOP": round(flops / 1e12, 3),
            "GB of maps": round(2 * BYTES * sum(values(layers, h, w) for h, w in rescaled) / len(sizes) / 1e9, 2),
            "GB of weights": round(passes / len(sizes) * BYTES * parameters(layers) / 1e9, 3),
            "launches of passes": round(passes / len(sizes) * launches, 1),
        }
    return found


def values(layers: Iterable[nets.Layer], height: int, width: int) -> float:
    """Values that the layers read and write for an image: each map is written once and read once."""
    total, area = 0.0, float(height * width)
    for layer in layers:
        after = area / 4 if layer.kind == "maxpool" else area
        total += area * layer.inputs + after * layer.outputs if layer.kind != "FC" else 0.0
        area = after
    return total


def parameters(layers: Iterable[nets.Layer]) -> int:
    """Weights of the layers; fc6 sees windows of 7x7."""
    return sum(
        layer.inputs * layer.outputs * (9 if layer.kind == "conv" else 1) for layer in layers if layer.kind != "maxpool"
    )


def gathered(sizes: Sizes) -> tuple[int, int]:
    """(passes, uploads) on a GPU with room for its usual tuning."""
    passes = uploads = 0
    tuning = GPU_TUNING
    for start in range(0, len(sizes), tuning.group):
        group = sizes[start : start + tuning.group]
        waiting: Gatherer[Photo[int]] = Gatherer()
        pieces: Gatherer[Photo[int]] = Gatherer()
        for size in group:
            uploads += len(waiting.put(Photo(0, empty(size)), tuning.upload_pixels))
            uploads += len(waiting.flush(WAITING_UPLOADS * tuning.upload_pixels))
            for q in SCALES:
                passes += len(pieces.put(Photo(0, empty(rescaled_size(*size, q))), tuning.batch_pixels // 2))
            passes += len(pieces.flush(tuning.waiting * tuning.batch_pixels // 2))
        uploads, passes = uploads + len(waiting.flush()), passes + len(pieces.flush())
    return passes, uploads


def empty(size: tuple[int, int]) -> Tensor:
    return torch.empty(3, *size, dtype=torch.uint8, device="meta")


def decoding(files: list[Path]) -> dict[str, float]:
    """Milliseconds of CPU a photo: in the process that decodes, and in the one that takes the pixels."""
    describer = Describer(weights="slim", device="cpu")
    own, others = time.process_time(), of_children()
    with Decoder(describer, ExtractionSettings(workers=1)) as decoder:
        taken = decoder.decode(enumerate(Item(str(i), file) for i, file in enumerate(files)))
        next(taken)  # the process has started
        own = time.process_time()
        for one in taken:
            assert isinstance(one.image, Tensor)
        own = time.process_time() - own
    began = time.process_time()
    for file in files:
        images.read(file)
    read = time.process_time() - began
    found = {"decoding": read, "taking the pixels": own, "the process, with its start": of_children() - others}
    return {name: round(1000 * seconds / len(files), 2) for name, seconds in found.items()}


def of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rescaling(files: list[Path]) -> float:
    """Milliseconds of CPU a photo, on one core, all scales. On a GPU it is a part of the GPU's time."""
    pixels = [torch.from_numpy(images.read(file)).permute(2, 0, 1) for file in files]
    began = time.process_time()
    for one in pixels:
        for q in SCALES:
            images.rescale(one, q)
    return round(1000 * (time.process_time() - began) / len(files), 2)


class NullNet:
    """Takes pixels and gives zeros, so that what is left is Python's own time."""

    device, mirror, bytes_per_pixel = torch.device("cpu"), True, 1.0

    def load(self) -> None:
        """Nothing."""

    def dim(self, _: str) -> int:
        return 4096

    def __call__(self, pixels: Tensor, _: Any) -> list[Tensor]:
        return [torch.zeros(len(pixels), 4096)]


def engine_ms(upload_pixels: int, number: int = 2000) -> float:
    """Milliseconds of CPU a photo in the engine: photos of 20 small sizes, so that tensors cost next to nothing."""
    tuning = replace(CPU_TUNING, batch_pixels=2**15, upload_pixels=upload_pixels, at_once=1)
    engine = Engine([NullNet()], machine=Cpu(tuning, threads=1))  # type: ignore[list-item]
    photos = [torch.zeros(16, 18 + i % 20, 3, dtype=torch.uint8).permute(2, 0, 1) for i in range(number)]

    def prepared() -> Iterator[tuple[int, Tensor]]:
        yield from enumerate(photos)

    began = time.process_time()
    assert len(list(engine.stream(prepared(), (8, 12, 15), Whole(), ["fc7"]))) == number
    return round(1000 * (time.process_time() - began) / number, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--measured", type=int, default=100, help="photos of each folder that are decoded")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"load before": round(os.getloadavg()[0], 1)}
    for folder in options.photos:
        files = sorted(folder.rglob("*.jpg"))
        sizes = [Image.open(file).size[::-1] for file in files]
        some = files[:: max(1, len(files) // options.measured)][: options.measured]
        report[folder.name] = counted(sizes) | {"ms of CPU": decoding(some) | {"rescaling": rescaling(some)}}
    report["ms of CPU in the engine"] = {
        name: min(engine_ms(pixels) for _ in range(3)) for name, pixels in (("photos alone", 0), ("together", 2**13))
    }
    report["load after"] = round(os.getloadavg()[0], 1)
    text = json.dumps(report, indent=1)
    print(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
