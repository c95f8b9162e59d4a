"""Validation errors: of one centre crop an image, and of the net applied densely to whole images (Sect. 3.2)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vggfeat.classify import Classifier
from vggfeat.errors import DataError, ImageError
from vggfeat.metrics import top_k_error
from vggfeat.train.learner import TOP, Learner
from vggfeat.train.loading import Crops, centre_keys, loader
from vggfeat.train.sets import Photos


def centre_tally(learner: Learner, crops: Crops, workers: int) -> tuple[list[float], list[tuple[str, str]]]:
    """The tally of all processes' centre crops at Q, and this process's images that can't be read.

    Raises DataError where none can.
    """
    ranks = learner.ranks
    total = torch.zeros(2 + len(TOP), dtype=torch.float64, device=ranks.device)
    failures: list[tuple[str, str]] = []
    keys = centre_keys(len(crops.photos), learner.recipe.micro, ranks.rank, ranks.world)
    for batch in loader(crops, keys, workers, ranks.device.type == "cuda"):
        total += learner.judge(batch)
        failures += batch.failures
    values = ranks.sum(total).tolist()
    if not values[-1]:
        raise DataError(f"none of the {len(crops.photos)} validation images could be read")
    return values, failures


def dense_errors(weights: Path, photos: Photos, q: int, device: str) -> dict[str, float]:
    """Top-1 and top-5 error in per cent of a native file applied densely at Q, mirror images averaged (Table 3)."""
    classifier = Classifier(weights=weights, scales=(q,), device=device)

    def prepared() -> Iterator[tuple[int, Tensor]]:
        for row in range(len(photos)):
            try:
                image = classifier.prepare(photos.pixels(row))
            except ImageError:  # listed already, by the centre crops
                continue
            yield row, image

    found = {row: nets[0].mean(axis=0) for row, nets in classifier.stream(prepared())}
    rows = sorted(found)
    posteriors = np.stack([found[row] for row in rows])
    return {f"top{k}": 100 * top_k_error(posteriors, photos.labels[rows], k) for k in TOP}
