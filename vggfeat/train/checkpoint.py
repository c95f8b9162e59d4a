"""Checkpoints: all that is needed to continue a run, in one safetensors file that is written whole or not at all.

Tensors: `net/<parameter>` (the float32 weights) and `momentum/<parameter>`. Metadata, as JSON: `recipe`, `progress`
(the TrainState), `colour` (the pixel statistics), `start` (with the preprocessing), `data` (sha256 of all names and
labels) and `random`, which describes how all random numbers follow from the seed. Nothing in it is unpickled.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vggfeat._util.files import replacing
from vggfeat.errors import WeightsError
from vggfeat.train.folder import writing
from vggfeat.train.state import TrainState
from vggfeat.weights.native import opened

FORMAT = "vggfeat-train/1"
RANDOM = (
    "Philox, key (seed, what for), counter (epoch, image) for an image's scale, place, mirror and colour, "
    "(epoch) for the order, (epoch, step, process) for the seed of a step's dropout"
)


def save(path: Path, tensors: Mapping[str, Tensor], state: TrainState, about: Mapping[str, Any]) -> None:
    """Replace the last checkpoint. Raises VggfeatError if it cannot be written; the last one is kept then."""
    metadata = {key: json.dumps(value) for key, value in {**about, "progress": asdict(state)}.items()}
    with writing(path), replacing(path) as temporary:
        try:
            save_file(dict(tensors), temporary, {"format": FORMAT, "random": RANDOM, **metadata})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load(path: Path) -> tuple[dict[str, Tensor], TrainState, dict[str, Any]]:
    """What `save` wrote: tensors, state, and the rest of the metadata. Raises WeightsError that names the file."""
    try:
        with opened(path) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except WeightsError as error:
        raise WeightsError(f"{path}: is damaged; remove it to start again") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path}: is not a checkpoint in the format {FORMAT}; remove it to start again")
    try:
        about = {key: json.loads(value) for key, value in metadata.items() if key not in ("format", "random")}
        state = TrainState.from_json(about.pop("progress"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: its metadata are invalid ({error!r}); remove it to start again") from None
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise WeightsError(f"{path}: holds tensors that are not float32; remove it to start again")
    return tensors, state, about
