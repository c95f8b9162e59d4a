"""Checkpoints: all that a run needs to go on, in one safetensors file, written whole or not at all.

Tensors: `net/<parameter>` (the float32 weights) and `momentum/<parameter>`. Metadata, as JSON: `recipe`, `progress`
(epoch, step within it, sums so far, schedule), `colour`, `preprocessing`, `start`, `data` (sha256 of all names and
labels) and `random`, which says how all that is drawn follows from the seed. Nothing in it is ever unpickled.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vggfeat.errors import VggfeatError, WeightsError
from vggfeat.train.schedule import Plateau
from vggfeat.weights.native import check_finite, opened

FORMAT = "vggfeat-train/1"
RANDOM = (
    "Philox, key (seed, what for), counter (epoch, image) for an image's scale, place, mirror and colour, "
    "(epoch) for the order, (epoch, step, process) for the seed of a step's dropout"
)


@dataclass(frozen=True)
class Progress:
    """epoch, step : the next ones to do, counted from 0. sums : the tally of the epoch's steps so far. seconds : of
    training, in all. best_top5 : the top-5 error (per cent) of the epoch whose top-1 error, plateau.best, is the best.
    finished : why the run is over; empty while it isn't.
    """

    epoch: int = 0
    step: int = 0
    sums: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    seconds: float = 0.0
    plateau: Plateau = field(default_factory=Plateau)
    best_top5: float = math.nan
    finished: str = ""


def save(path: Path, tensors: Mapping[str, Tensor], progress: Progress, about: Mapping[str, Any]) -> None:
    """Write a checkpoint in place of the last one. Raises WeightsError for values that are not finite, VggfeatError
    where it can't be written; the last one is kept then."""
    check_finite(path, tensors)
    metadata = {key: json.dumps(value) for key, value in {**about, "progress": asdict(progress)}.items()}
    write_whole(path, lambda part: save_file(dict(tensors), part, {"format": FORMAT, "random": RANDOM, **metadata}))


def load(path: Path) -> tuple[dict[str, Tensor], Progress, dict[str, Any]]:
    """What `save` wrote: tensors, progress, and the rest of the metadata. Raises WeightsError, naming the file."""
    try:
        with opened(path) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except WeightsError as error:
        raise WeightsError(f"{path}: is damaged; remove it to start again") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: is no checkpoint of the format {FORMAT} that this version reads")
    try:
        about = {key: json.loads(value) for key, value in metadata.items() if key not in ("format", "random")}
        said = about.pop("progress")
        plateau = Plateau(**said.pop("plateau"))
        progress = Progress(**{**said, "sums": tuple(said["sums"]), "plateau": plateau})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: its metadata can't be meant ({error!r}): remove it to start again") from None
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise WeightsError(f"{path}: holds tensors that are not float32: remove it to start again")
    return tensors, progress, about


def part_of(path: Path) -> Path:
    """Where a file is written before it is renamed."""
    return path.with_name(f".{path.name}.part")


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under another name, sync it, and rename it. Raises VggfeatError, naming the file."""
    part = part_of(path)
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except (OSError, SafetensorError) as error:
        raise VggfeatError(
            f"{path}: can't be written ({getattr(error, 'strerror', None) or error}); what was written before is kept"
        ) from error
    finally:  # also where Ctrl-C comes between
        with suppress(OSError):
            part.unlink(missing_ok=True)
