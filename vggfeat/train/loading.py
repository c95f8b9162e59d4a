"""Which images make a step, and the processes that decode them."""

import signal
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vggfeat._util.processes import cores
from vggfeat.errors import ImageError, VggfeatError
from vggfeat.nets.table import CROP
from vggfeat.reading import NO_MEMORY
from vggfeat.train.crops import centre_crop, random_crop
from vggfeat.train.draws import augmentation, order
from vggfeat.train.pixel_statistics import PixelStatistics
from vggfeat.train.ranks import Ranks
from vggfeat.train.recipe import Recipe
from vggfeat.train.sets import Photos

MAX_WORKERS = 16

Key = tuple[int, tuple[int, ...]]  # an epoch (-1 for validation) and rows
Failure = tuple[str, str]  # path and reason


class MicroBatch(NamedTuple):
    """Images that go through the net at once.

    uint8 (N, 224, 224, 3) RGB crops, int64 (N,) labels, float32 (N, 3) colour shifts, RGB in 0..1. Unreadable images
    are left out, and listed in `failures`.
    """

    crops: Tensor
    labels: Tensor
    shifts: Tensor
    failures: list[Failure]


class Crops(Dataset[MicroBatch]):
    """Photos as micro-batches: random crops for the epochs 0, 1, ...; centre crops for the epoch -1."""

    def __init__(self, photos: Photos, recipe: Recipe, statistics: PixelStatistics) -> None:
        self.photos, self.recipe, self.statistics = photos, recipe, statistics

    def __getitem__(self, key: Key) -> MicroBatch:
        epoch, rows = key
        crops, shifts, kept, failures = [], [], [], []
        for row in rows:
            try:
                crop, shift = self._augmented(self.photos.pixels(row), epoch, row)
            except (ImageError, MemoryError) as error:
                failures.append((self.photos.paths[row], str(error) or NO_MEMORY))
                continue
            crops.append(crop)
            shifts.append(shift)
            kept.append(row)
        return MicroBatch(
            torch.from_numpy(np.array(crops, np.uint8).reshape(-1, CROP, CROP, 3)),
            torch.from_numpy(self.photos.labels[kept]),
            torch.from_numpy(np.array(shifts, np.float32).reshape(-1, 3)),
            failures,
        )

    def _augmented(self, pixels: np.ndarray, epoch: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        if epoch < 0:
            return centre_crop(pixels, self.recipe.test_scale), np.zeros(3, np.float32)
        drawn = augmentation(self.recipe.seed, epoch, row)
        crop = random_crop(pixels, self.recipe.scales, drawn, self.recipe.flip)
        return crop, self.statistics.shift(drawn.colour, self.recipe.colour)


class StepPlan:
    """Which rows of `n` make which step, in process `rank` of `world`.

    A step takes the next `batch` rows of the epoch's order, whatever `world` and `micro` are. Each process takes its
    share of them, in micro-batches.
    """

    def __init__(self, n: int, recipe: Recipe, rank: int = 0, world: int = 1) -> None:
        self.n, self.recipe, self.rank, self.world = n, recipe, rank, world
        self.steps = n // recipe.batch  # per epoch; the rows that are left differ from epoch to epoch
        self.micro_batches = len(self._share(np.arange(recipe.batch)))  # per step

    def keys(self, epoch: int, step: int) -> Iterator[Key]:
        """This process's micro-batches of all steps from this one to the end of the run."""
        for e in range(epoch, self.recipe.epochs):
            rows = order(self.recipe.seed, e, self.n)
            for s in range(step if e == epoch else 0, self.steps):
                for some in self._share(rows[s * self.recipe.batch : (s + 1) * self.recipe.batch]):
                    yield e, tuple(some.tolist())

    def _share(self, rows: np.ndarray) -> list[np.ndarray]:
        mine = np.array_split(rows, self.world)[self.rank]
        return [mine[at : at + self.recipe.micro] for at in range(0, len(mine), self.recipe.micro)]


def centre_keys(n: int, micro: int, rank: int, world: int) -> Iterator[Key]:
    """A process's share of the n validation images, in micro-batches."""
    mine: Sequence[int] = range(rank, n, world)
    for at in range(0, len(mine), micro):
        yield -1, tuple(mine[at : at + micro])


class _Sampler:
    """Keys as the sampler of a DataLoader, which iterates over them once."""

    def __init__(self, keys: Iterator[Key]) -> None:
        self.keys = keys

    def __iter__(self) -> Iterator[Key]:
        return self.keys


def micro_batches(crops: Crops, keys: Iterator[Key], workers: int, pin: bool) -> Generator[MicroBatch, None, None]:
    """The micro-batches of the keys, in their order, made by `workers` processes; 0: by this one.

    Closing the generator ends the processes. Raises VggfeatError if one of them is killed.
    """
    sampler: Any = _Sampler(keys)
    try:
        yield from DataLoader(
            crops,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=_ignore_signals if workers else None,
            generator=torch.Generator(),  # else it would draw from the generator of dropout
        )
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):  # torch has no class of its own for it
            raise
        raise VggfeatError(
            "a process that decodes images was killed: the memory may be too small, or an image may break its decoder; "
            "run the same command again with fewer --workers to continue, or find the image with `vggfeat extract`"
        ) from None


def _ignore_signals(_: int) -> None:
    """A signal to the whole process group must stop only the training process, which ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def decoding_workers(recipe: Recipe, ranks: Ranks) -> int:
    """Processes that decode, beside this one."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if ranks.device.type == "cpu" else max(1, min(MAX_WORKERS, cores() // ranks.on_machine - 1))
