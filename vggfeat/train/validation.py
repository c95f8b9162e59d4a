"""Validation errors: of one centre crop per image, and of the net applied densely to whole images (Sect. 3.2)."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from torch import Tensor

from vggfeat.descriptors import Describer
from vggfeat.errors import DataError, ImageError
from vggfeat.metrics import top_k_error
from vggfeat.spec import PosteriorSpec
from vggfeat.train.frozen import Maps
from vggfeat.train.health import Finding, Health
from vggfeat.train.learner import Learner
from vggfeat.train.loading import Crops, Failure, centre_keys, micro_batches
from vggfeat.train.objective import TOP
from vggfeat.train.sets import Photos


def centre_crop_tally(
    learner: Learner, crops: Crops | Maps, workers: int, between: Callable[[], None]
) -> tuple[list[float], Finding, list[Failure]]:
    """The tally of all processes' centre crops at Q, what they tell of the net, and this process's unreadable images.

    between : called after each micro-batch. Raises DataError if no image can be read.
    """
    ranks = learner.ranks
    total, health = learner.no_images(), Health()
    failures: list[Failure] = []
    keys = centre_keys(len(crops.photos), learner.recipe.micro, ranks.rank, ranks.world)
    with closing(micro_batches(crops, keys, workers, ranks.device.type == "cuda")) as batches:
        for batch in batches:
            total += learner.judge(batch, health)
            failures += batch.failures
            between()
    values = ranks.sum(total).tolist()
    if not values[-1]:
        raise DataError(f"none of the {len(crops.photos)} validation images could be read; check the folder val/")
    return values, health.found(ranks), failures


def dense_errors(weights: Path, photos: Photos, q: int, device: str) -> tuple[dict[str, float], list[Failure]]:
    """Top-1 and top-5 error in per cent of a native file applied densely at Q, averaged with mirror images (Table 3).

    Also the number of images, and those that were left out: unreadable, or too long to be described whole. Raises
    DataError if none is left.
    """
    describer = Describer(spec=PosteriorSpec(weights=str(weights), scales=(q,), device=device, precision="float32"))
    left_out: list[Failure] = []

    def prepared() -> Iterator[tuple[int, Tensor]]:
        for row in range(len(photos)):
            try:
                image = describer.prepare(photos.pixels(row))
            except ImageError as error:
                left_out.append((photos.paths[row], str(error)))
                continue
            yield row, image

    found = {row: nets[0].mean(axis=0) for row, nets in describer.stream(prepared())}
    if not found:
        raise DataError(f"none of the {len(photos)} validation images can be described whole; leave out --dense")
    rows = sorted(found)
    posteriors = np.stack([found[row] for row in rows])
    errors = {f"top{k}": 100 * top_k_error(posteriors, photos.labels[rows], k) for k in TOP}
    return {**errors, "images": len(rows)}, left_out
