"""Which images make a step, and the processes that decode them."""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from vggfeat._util.processes import cores
from vggfeat.errors import ImageError, VggfeatError
from vggfeat.nets.table import CROP
from vggfeat.reading import NO_MEMORY
from vggfeat.train.crops import Size, Window, boxes_in, centre_window, crop_of, jittered, random_window
from vggfeat.train.draws import Augmentation, augmentation, larger_share, order
from vggfeat.train.pixel_statistics import PixelStatistics
from vggfeat.train.ranks import Ranks
from vggfeat.train.sets import Photos
from vggfeat.train.settings import TrainingSettings

MAX_WORKERS = 16

CENTRE = -1  # in place of the number of an epoch: the centre crops of the validation
Key = tuple[int, tuple[int, ...]]  # an epoch, or CENTRE, and rows
Failure = tuple[str, str]  # path and reason


class MicroBatch(NamedTuple):
    """Images that go through the net at once. Unreadable images are left out, and listed in `failures`.

    crops : uint8 (N, 224, 224, 3) RGB, or smaller; or float32 (N, C, 7, 7), what frozen convolutions make of them at
    pool5.
    labels : int64 (N,).
    shifts : float32 (N, 3), of the colours, RGB in 0..1; empty for maps.
    boxes : float32 (N, B, 4) in pixels of the crops, the largest box of an image first, empty ones after its last one.
    frames : float32 (N, 4), the images themselves in pixels of their crops. Both are empty for images without boxes.
    partners, shares : int64 (N,) labels of the images that were mixed into these, and float32 (N,) the shares of these
    in the mixtures, at least 1/2. Both are empty without mixing.
    """

    crops: Tensor
    labels: Tensor
    shifts: Tensor
    failures: list[Failure]
    boxes: Tensor = torch.zeros(0, 0, 4)
    frames: Tensor = torch.zeros(0, 4)
    partners: Tensor = torch.zeros(0, dtype=torch.int64)
    shares: Tensor = torch.zeros(0)

    def to(self, device: torch.device) -> "MicroBatch":
        """The same on a device."""
        tensors = {name: value for name, value in self._asdict().items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device, non_blocking=True) for name, value in tensors.items()}
        return self._replace(**moved)


class Mixed(NamedTuple):
    """A crop, uint8 (side, side, 3), its shift, the row that was mixed into it, and its own share."""

    crop: np.ndarray
    shift: np.ndarray
    partner: int
    share: float = 1.0


class Crops(Dataset[MicroBatch]):
    """Photos as micro-batches: random crops for the epochs 0, 1, ...; or centre crops."""

    def __init__(self, photos: Photos, recipe: TrainingSettings, statistics: PixelStatistics) -> None:
        self.photos, self.recipe, self.statistics = photos, recipe, statistics
        self._options = recipe.options

    def prepare(self, epoch: int, between: Callable[[], None]) -> list[Failure]:  # noqa: ARG002
        """Nothing: crops are made when they are needed."""
        return []

    def __getitem__(self, key: Key) -> MicroBatch:
        epoch, rows = key
        side = CROP if epoch == CENTRE else self._options.sizes(self.recipe.epochs)[epoch]
        found, kept, failures = list[Mixed](), [], []
        for row in rows:
            try:
                found.append(self._mixed(epoch, row, side))
            except (ImageError, MemoryError) as error:
                failures.append((self.photos.paths[row], str(error) or NO_MEMORY))
                continue
            kept.append(row)
        batch = MicroBatch(
            torch.from_numpy(np.array([one.crop for one in found], np.uint8).reshape(-1, side, side, 3)),
            torch.from_numpy(self.photos.labels[kept]),
            torch.from_numpy(np.array([one.shift for one in found], np.float32).reshape(-1, 3)),
            failures,
            *self.boxes(epoch, kept),
        )
        if epoch == CENTRE or not self._options.mixup:
            return batch
        partners = torch.from_numpy(self.photos.labels[[one.partner for one in found]])
        return batch._replace(partners=partners, shares=torch.tensor([one.share for one in found]))

    def _mixed(self, epoch: int, row: int, side: int) -> Mixed:
        """The crop of an image, mixed with another if the recipe says so and that one can be read."""
        own = self._crop(epoch, row, side)
        if epoch == CENTRE or not self._options.mixup:
            return own
        drawn = self._drawn(epoch, row)
        partner, share = int(drawn.partner * len(self.photos)), larger_share(self._options.mixup, drawn.mix)
        try:
            other = self._crop(epoch, partner, side)
        except (ImageError, MemoryError):  # its own turn tells why
            return own
        crop = np.rint(share * own.crop + (1 - share) * other.crop).astype(np.uint8)
        return Mixed(crop, share * own.shift + (1 - share) * other.shift, partner, share)

    def _crop(self, epoch: int, row: int, side: int) -> Mixed:
        pixels = self.photos.pixels(row)
        crop = crop_of(pixels, self._window(epoch, row, pixels.shape[:2]), side)
        if epoch != CENTRE:
            crop = jittered(crop, self._drawn(epoch, row), self._options.jitter)
        return Mixed(crop, self._shift(epoch, row), row)

    def boxes(self, epoch: int, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The boxes and the frames of a micro-batch; empty if the photos have none."""
        if self.photos.boxes is None:
            return torch.zeros(0, 0, 4), torch.zeros(0, 4)
        moved = []
        for row in rows:
            height, width = size = self.photos.size(row)
            found = np.concatenate([[[0, 0, width, height]], self.photos.boxes[row]])
            moved.append(boxes_in(self._window(epoch, row, size), torch.from_numpy(found), size).float())
        padded = pad_sequence(moved, batch_first=True) if moved else torch.zeros(0, 2, 4)
        return padded[:, 1:], padded[:, 0]

    def _window(self, epoch: int, row: int, size: Size) -> Window:
        if epoch == CENTRE:
            return centre_window(size, self.recipe.test_scale)
        drawn, options = self._drawn(epoch, row), self._options
        return random_window(size, self.recipe.scales, drawn, self.recipe.flip, options.aspect)

    def _shift(self, epoch: int, row: int) -> np.ndarray:
        if epoch == CENTRE:
            return np.zeros(3, np.float32)
        return self.statistics.shift(self._drawn(epoch, row).colour, self.recipe.colour)

    def _drawn(self, epoch: int, row: int) -> Augmentation:
        return augmentation(self.recipe.seed, self.recipe.draw(epoch), row)


class StepPlan:
    """Which rows of `n` make which step, in process `rank` of `world`.

    A step takes the next `batch` rows of the epoch's order, whatever `world` and `micro` are. Each process takes its
    share of them, in micro-batches.
    """

    def __init__(self, n: int, recipe: TrainingSettings, rank: int = 0, world: int = 1) -> None:
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
        yield CENTRE, tuple(mine[at : at + micro])


class _Sampler:
    """Keys as the sampler of a DataLoader, which iterates over them once."""

    def __init__(self, keys: Iterator[Key]) -> None:
        self.keys = keys

    def __iter__(self) -> Iterator[Key]:
        return self.keys


def micro_batches(
    crops: Dataset[MicroBatch], keys: Iterator[Key], workers: int, pin: bool
) -> Generator[MicroBatch, None, None]:
    """The micro-batches of the keys, in their order, made by `workers` processes; 0: by this one, as kept maps are.

    Closing the generator ends the processes. Raises VggfeatError if one of them is killed.
    """
    sampler: Any = _Sampler(keys)
    workers = workers if isinstance(crops, Crops) else 0  # other processes would not see the next file of maps
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


def decoding_workers(recipe: TrainingSettings, ranks: Ranks) -> int:
    """Processes that decode, beside this one."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if ranks.device.type == "cpu" else max(1, min(MAX_WORKERS, cores() // ranks.on_machine - 1))
