"""Training of net D at batch 256 in bfloat16, beside the loop of torchvision's reference script."""

import torch
from job import Job
from speed import product_rate
from throughput import CLASSES, measure

from vggfeat import nets
from vggfeat.train.recipe import Recipe


def main() -> None:
    job = Job()
    size = (
        {"net": "A", "width": 1 / 16, "batch": 2, "micro": 2}
        if job.rehearse
        else {"net": "D", "batch": 256, "micro": 256}
    )
    recipe = Recipe(**size)
    found = measure(recipe, torch.device(job.device), *((1, 1) if job.rehearse else (5, 3)))
    # forward and backward pass: three times the multiply-adds of Table 1's layers, two operations each
    flops = 3 * nets.flops(recipe.net, width=recipe.width, classes=CLASSES)
    product = product_rate(job.device, 128 if job.rehearse else 8192)
    job.note(**found, product_tflop_s=round(product / 1e12, 3))
    rates = found["images_per_s"].items()
    job.note(of_the_product={name: round(flops * value / product, 3) for name, value in rates})


if __name__ == "__main__":
    main()
