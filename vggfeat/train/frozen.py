"""What frozen convolutions make of crops, kept on disk, so that most epochs need no convolutions (Appendix A).

A file has the maps at pool5 of one draw of the crops, or of the centre crops: float32 (N, C, 7, 7) as NumPy writes it,
with NaN for images that could not be read. Its name says what the maps were made of. One process writes it, whole or
not at all; a run that is killed loses one file at most.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor, nn
from torch.utils.data import Dataset

from vggfeat._util.files import lock, remove_leftovers, replacing
from vggfeat._util.printable import reason_of, say
from vggfeat._util.progress import progress
from vggfeat.engine.dense import dense
from vggfeat.engine.layers import optimise
from vggfeat.errors import ImageError
from vggfeat.nets.table import FC_WINDOW
from vggfeat.train.cache import CacheFile
from vggfeat.train.learner import Input, Learner
from vggfeat.train.loading import CENTRE, Crops, Failure, Key, MicroBatch, micro_batches
from vggfeat.train.state import Start

AT_ONCE = 16  # crops that go through the convolutions together


class Convolutions:
    """The layers up to pool5 of a net in training, which are frozen: float32 (N, C, 7, 7) maps of a micro-batch."""

    def __init__(self, learner: Learner, start: Start) -> None:
        self.device, self._input = learner.ranks.device, Input(start.preprocessing, learner.ranks.device)
        self.dtype = torch.bfloat16 if learner.bfloat16 else torch.float32
        self._layers: nn.Sequential = optimise(dense(learner.vgg, "pool5"), self.device, self.dtype)
        (*_, last) = (module for module in learner.vgg if isinstance(module, nn.Conv2d))
        self.shape = last.out_channels, FC_WINDOW, FC_WINDOW
        self.made_by = start.sha256, str(self.dtype)

    @torch.no_grad()  # in inference mode the maps could not be trained on
    def __call__(self, batch: MicroBatch) -> Tensor:
        x = self._input(batch.to(self.device))
        return self._layers(x.to(self.dtype)).float().cpu().reshape(-1, *self.shape)


class Maps(Dataset[MicroBatch]):
    """The micro-batches of some crops with their maps in place of the crops.

    folder : of the files. workers : processes that decode. Without room for a file a line says so, and the maps are
    computed in each epoch.
    """

    def __init__(self, crops: Crops, convolutions: Convolutions, folder: Path, workers: int) -> None:
        self.crops, self.photos, self.convolutions = crops, crops.photos, convolutions
        self.folder, self.workers = folder, workers
        self._shape = len(crops.photos), *convolutions.shape
        self._name = made_of(crops, convolutions)
        self._maps: np.ndarray | None = None
        self._draw: int | None = None

    def prepare(self, epoch: int, between: Callable[[], None]) -> list[Failure]:
        """Open the maps of an epoch, or compute them; returns the images that cannot be read.

        between : called after each micro-batch. Several processes may call it; one of them computes.
        """
        draw, failures = self.crops.recipe.draw(epoch), list[Failure]()
        if draw == self._draw:
            return failures
        file = self.folder / f"{self._name}-{'centre' if draw == CENTRE else draw}.npy"
        self._draw, self._maps = draw, self._opened(file)
        if self._maps is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with lock(file.with_suffix(".lock"), wait=f"waiting for another process that writes {file}"):
                    if self._opened(file) is None:
                        self._write(file, draw, between, failures)
            except OSError as error:
                say(f"{file}: cannot be written ({reason_of(error)}); the maps are computed in each epoch")
            self._maps = self._opened(file)
        return failures

    def __getitem__(self, key: Key) -> MicroBatch:
        if self._maps is None:
            batch = self.crops[key]
            return batch._replace(crops=self.convolutions(batch))
        epoch, rows = key
        maps = self._maps[list(rows)]
        known = ~np.isnan(maps[:, 0, 0, 0])
        kept = [row for row, good in zip(rows, known, strict=True) if good]
        failures = [self._failure(row) for row in rows if row not in kept]
        labels = torch.from_numpy(self.photos.labels[kept])
        return MicroBatch(
            torch.from_numpy(maps[known]), labels, torch.zeros(0, 3), failures, *self.crops.boxes(epoch, kept)
        )

    def _failure(self, row: int) -> Failure:
        try:
            self.photos.pixels(row)
        except ImageError as error:
            return self.photos.paths[row], str(error)
        return self.photos.paths[row], f"could not be read when its map was made; remove {self.folder} to make it again"

    def _opened(self, file: Path) -> np.ndarray | None:
        """The maps, mapped into memory; None if there is no whole file."""
        if not file.is_file():
            return None
        try:
            found = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        whole = isinstance(found, np.ndarray) and (found.shape, found.dtype) == (self._shape, np.dtype("<f4"))
        return found if whole else None

    def _write(self, file: Path, draw: int, between: Callable[[], None], failures: list[Failure]) -> None:
        """Compute the maps of a draw. Raises OSError."""
        size, free = 4 * int(np.prod(self._shape)), shutil.disk_usage(self.folder).free
        if size > free:
            raise OSError(f"{size / 1e6:,.0f} MB are needed, and {free / 1e6:,.0f} MB are free")
        remove_leftovers(file)
        header = {"descr": "<f4", "fortran_order": False, "shape": self._shape}
        with replacing(file) as temporary, temporary.open("wb") as opened:
            npy.write_array_header_1_0(opened, header)
            for maps, unread in self._computed(draw):
                opened.write(maps.tobytes())
                failures += unread
                between()

    def _computed(self, draw: int) -> Iterator[tuple[np.ndarray, list[Failure]]]:
        """The maps of all images in order, NaN for unreadable ones."""
        chunks = [range(at, min(at + AT_ONCE, len(self.photos))) for at in range(0, len(self.photos), AT_ONCE)]
        keys: Iterator[Key] = ((draw, tuple(chunk)) for chunk in chunks)
        batches = micro_batches(self.crops, keys, self.workers, pin=False)
        with progress(len(self.photos), "convolutions, once for this draw") as bar:
            for chunk, batch in zip(chunks, batches, strict=True):
                unread = {path for path, _ in batch.failures}
                maps = np.full((len(chunk), *self.convolutions.shape), np.nan, "<f4")
                maps[[self.photos.paths[row] not in unread for row in chunk]] = self.convolutions(batch).numpy()
                yield maps, batch.failures
                bar.update(len(chunk))


def made_of(crops: Crops, convolutions: Convolutions) -> str:
    """A name for all that decides the maps but the draw: images, weights, precision, and how crops are drawn."""
    photos, recipe = crops.photos, crops.recipe
    images = CacheFile.of(Path(), photos.files, photos.exif)
    drawn: dict[str, Any] = {name: getattr(recipe, name) for name in ("scale", "seed", "flip", "colour")}
    changed = {name: value for name, value in recipe.options._asdict().items() if name in ("jitter", "aspect")}
    if changed != {"jitter": 0, "aspect": 1}:  # else the files of earlier versions are those of this one
        drawn |= changed
    decides = [images.path.name, images.made_of.hex(), convolutions.made_by, drawn, asdict(crops.statistics)]
    return "pool5-" + hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:32]
