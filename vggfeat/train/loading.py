"""Batches: which images make a step, and their way from the disk to the net."""

import signal
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vggfeat.errors import ImageError
from vggfeat.nets import CROP
from vggfeat.train.colour import Colour
from vggfeat.train.crops import centre_crop, random_crop
from vggfeat.train.draws import look, order
from vggfeat.train.recipe import Recipe
from vggfeat.train.sets import Photos

Key = tuple[int, tuple[int, ...]]  # an epoch and rows


class Batch(NamedTuple):
    """uint8 (N, 224, 224, 3) RGB crops, int64 (N,) labels, float32 (N, 3) colour shifts, RGB in 0..1.

    Images that can't be read are left out, and listed in `failures` as (path, reason).
    """

    crops: Tensor
    labels: Tensor
    shifts: Tensor
    failures: list[tuple[str, str]]


class Crops(Dataset[Batch]):
    """Photos as Batches: random crops for an epoch (0, 1, ...), centre crops for the epoch -1."""

    def __init__(self, photos: Photos, recipe: Recipe, colour: Colour) -> None:
        self.photos, self.recipe, self.colour = photos, recipe, colour

    def __getitem__(self, key: Key) -> Batch:
        epoch, rows = key
        crops, shifts, kept, failures = [], [], [], []
        for row in rows:
            try:
                crop, shift = self._shown(self.photos.pixels(row), epoch, row)
            except ImageError as error:
                failures.append((self.photos.paths[row], str(error)))
                continue
            crops.append(crop)
            shifts.append(shift)
            kept.append(row)
        return Batch(
            torch.from_numpy(np.array(crops, np.uint8).reshape(-1, CROP, CROP, 3)),
            torch.from_numpy(self.photos.labels[kept]),
            torch.from_numpy(np.array(shifts, np.float32).reshape(-1, 3)),
            failures,
        )

    def _shown(self, pixels: np.ndarray, epoch: int, row: int) -> tuple[np.ndarray, np.ndarray]:
        if epoch < 0:
            return centre_crop(pixels, self.recipe.test_scale), np.zeros(3, np.float32)
        drawn = look(self.recipe.seed, epoch, row)
        crop = random_crop(pixels, self.recipe.scales, drawn, self.recipe.flip)
        return crop, self.colour.shift(drawn.colour, self.recipe.colour)


class Plan:
    """Which rows make which step, in each of `world` processes.

    A step takes the next `batch` rows of the epoch's order, whatever `world` and `micro` are; process `rank`
    takes its share of them, in groups of `micro` at most. As a sequence: the groups from a step on, to the end.
    """

    def __init__(self, n: int, recipe: Recipe, rank: int = 0, world: int = 1) -> None:
        self.n, self.recipe, self.rank, self.world = n, recipe, rank, world
        self.steps = n // recipe.batch  # in an epoch

    def share(self, rows: np.ndarray) -> list[np.ndarray]:
        """This process's part of a step's rows, in groups."""
        mine = np.array_split(rows, self.world)[self.rank]
        return [mine[at : at + self.recipe.micro] for at in range(0, len(mine), self.recipe.micro)]

    @property
    def groups(self) -> int:
        """Groups of a step."""
        return len(self.share(np.arange(self.recipe.batch)))

    def keys(self, epoch: int, step: int) -> Iterator[Key]:
        """The groups of all steps from this one on."""
        for e in range(epoch, self.recipe.epochs):
            rows = order(self.recipe.seed, e, self.n)
            for s in range(step if e == epoch else 0, self.steps):
                for group in self.share(rows[s * self.recipe.batch : (s + 1) * self.recipe.batch]):
                    yield e, tuple(group.tolist())


class _Keys:
    """Keys as a sampler: iterated over once, by the loader."""

    def __init__(self, keys: Iterator[Key]) -> None:
        self.keys = keys

    def __iter__(self) -> Iterator[Key]:
        return self.keys


def loader(crops: Crops, keys: Iterator[Key], workers: int, pin: bool) -> Iterator[Batch]:
    """The Batches of some keys, in their order, prepared by `workers` processes; 0: by this one."""
    sampler: Any = _Keys(keys)
    return iter(
        DataLoader(
            crops,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=_unasked if workers else None,
        )
    )


def _unasked(_: int) -> None:
    """A signal to the whole group of processes asks the training process alone to stop; it ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def centre_keys(n: int, micro: int, rank: int, world: int) -> Iterator[Key]:
    """A process's part of the validation images, in groups."""
    mine: Sequence[int] = range(rank, n, world)
    for at in range(0, len(mine), micro):
        yield -1, tuple(mine[at : at + micro])
