"""Images a second of extraction from JPEG files to a store, in each precision, beside timm, and where the time goes."""

import time
from pathlib import Path
from typing import Any

import numpy as np
from contenders import FIRST, Bench, Run
from job import Job
from speed import cost, difference, product_rate, profile

from vggfeat import weights

TUNED = "timm, tuned by hand"
# Of the photos, every so-many-th, so many times: a slow row takes fewer, and in a fast one the processes that decode
# take their time to start. All rows share the photos of the slowest.
ROWS = {
    FIRST: (20, 1), TUNED: (2, 1), "auto": (1, 3), "bfloat16": (1, 2), "float16": (1, 2), "tf32": (2, 1),
    "float32": (10, 1),
}  # fmt: skip
REHEARSED = dict.fromkeys([FIRST, TUNED, "auto", "float16"], (1, 1))


def run_of(bench: Bench, name: str) -> Run:
    """What a row does; a precision is `extract` from files to a store."""
    if name == FIRST:
        return bench.plain()
    return bench.tuned() if name == TUNED else bench.extract(bench.describer(name))


def measure(
    bench: Bench, name: str, photos: list[Path], times: int, side: int
) -> tuple[dict[str, Any], dict[Path, np.ndarray]]:
    """The figures of a row, and its vectors. The first run loads the net and meets each size; the second is timed.

    times : how often the second run takes each photo. side : of the matrices of the product.
    """
    run = run_of(bench, name)
    vectors = dict(zip(photos, run(photos)(), strict=True))
    product = product_rate(bench.device, side)
    photos = photos * times
    began = time.perf_counter()
    run(photos)
    seconds = time.perf_counter() - began
    flops = cost(photos, bench) / seconds
    figures = {"images": len(photos), "images_per_s": round(len(photos) / seconds, 2)}
    figures |= {"product_tflop_s": round(product / 1e12, 3), "of_the_product": round(flops / product, 3)}
    return figures, vectors


def main() -> None:
    job = Job()
    scales = [224, 256] if job.rehearse else [256, 384, 512]
    for net in ("E", "D"):
        folder = job.scratch / f"stores-{net}"
        folder.mkdir()
        bench = Bench(weights.resolve(str(job.weights(net)), net, "fc7"), "fc7", scales, job.device, folder)
        photos, table, first = job.photos(1200), {}, {}
        for name, (every, times) in (REHEARSED if job.rehearse else ROWS).items():
            table[name], vectors = measure(bench, name, photos[::every], times, 128 if job.rehearse else 8192)
            first = first or vectors
            table[name]["largest_difference"] = difference(vectors, first)
            table[name]["ratios"] = {
                to: round(table[name]["images_per_s"] / table[to]["images_per_s"], 2)
                for to in (FIRST, TUNED)
                if to in table
            }
            job.note(**{net: table})
        job.note(**{f"{net}, seconds of each stage": profile(bench, photos, "auto")})


if __name__ == "__main__":
    main()
