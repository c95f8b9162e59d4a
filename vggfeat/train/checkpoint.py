"""Checkpoints: all that is needed to continue a run, in one safetensors file that is written whole or not at all.

Tensors: `net/<parameter>` (the float32 weights) and `momentum/<parameter>`. Metadata, as JSON: `recipe`, `progress`
(the TrainState), `colour` (the pixel statistics), `start` (with the preprocessing), `data` (sha256 of all names and
labels), `sha256` (of all the others and of the tensors; earlier versions wrote none) and, as text, `random`, which
describes how all random numbers follow from the seed. Nothing in it is unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vggfeat._util.files import replacing
from vggfeat._util.json_files import Setting, parse_json
from vggfeat._util.printable import say
from vggfeat.errors import WeightsError
from vggfeat.train.folder import writing
from vggfeat.train.pixel_statistics import PixelStatistics
from vggfeat.train.state import Start, TrainState
from vggfeat.weights.native import reading
from vggfeat.weights.tensorfile import TensorFile

FORMAT = "vggfeat-train/1"
RANDOM = (
    "Philox, key (seed, what for), counter (epoch, image) for an image's scale, place, mirror and colour, "
    "(epoch) for the order, (epoch, step, process) for the seed of a step's dropout"
)
TEXTS = ("format", "random")
CHECKSUM = "sha256"


@dataclass(frozen=True)
class About:
    """What a checkpoint says of its run.

    recipe : the settings that decide what is trained. colour : the statistics of the pixels. data : sha256 of all names
    and labels.
    """

    recipe: dict[str, Setting]
    colour: PixelStatistics
    start: Start
    data: str


KINDS: dict[str, Any] = {
    "progress": TrainState,
    "recipe": dict[str, Setting],
    "colour": PixelStatistics,
    "start": Start,
    "data": str,
}


def save(path: Path, tensors: Mapping[str, Tensor], state: TrainState, about: About) -> None:
    """Replace the last checkpoint. Raises VggfeatError if it cannot be written; the last one is kept then."""
    metadata = {key: json.dumps(value) for key, value in {**asdict(about), "progress": asdict(state)}.items()}
    metadata |= {"format": FORMAT, "random": RANDOM}
    metadata[CHECKSUM] = json.dumps(_checksum(metadata, tensors))
    with writing(path), replacing(path) as temporary:
        try:
            save_file(dict(tensors), temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load(path: Path) -> tuple[dict[str, Tensor], TrainState, About]:
    """What `save` wrote, verified. Raises WeightsError that names the file."""
    try:
        with reading(path) as raw:
            file = TensorFile(path, raw)
            metadata, tensors = file.metadata, dict(file.tensors())
    except WeightsError as error:
        raise _refused(path, "is damaged") from error
    if metadata.get("format") != FORMAT:
        raise _refused(path, f"is not a checkpoint in the format {FORMAT}")
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise _refused(path, "holds tensors that are not float32")
    _verify(path, metadata, tensors)
    try:
        found = {key: parse_json(metadata[key], kind) for key, kind in KINDS.items()}
    except (KeyError, ValueError) as error:
        raise _refused(path, f"its metadata are invalid ({error})") from None
    return tensors, found.pop("progress"), About(**found)


def _verify(path: Path, metadata: dict[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Raise WeightsError if the checksum does not fit or is lost. Prints a line if an earlier version wrote none."""
    written = metadata.pop(CHECKSUM, None)
    if written is None and metadata.keys() <= {*TEXTS, *KINDS}:  # else the key of the checksum may be damaged
        say(f"{path}: has no checksum, because an earlier version wrote it; the next checkpoint has one")
    elif written != json.dumps(_checksum(metadata, tensors)):
        raise _refused(path, "is damaged (its content does not fit its checksum)")


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the metadata and of the name, shape and values of each tensor."""
    sums = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        sums.update(json.dumps([name, list(tensor.shape)]).encode())
        sums.update(tensor.reshape(-1).numpy().data)
    return sums.hexdigest()


def _refused(path: Path, what: str) -> WeightsError:
    """The error for a checkpoint, with what can be done: the weights of the last epoch are in another file."""
    last = path.with_name("last.safetensors")
    other = f", or train from {last} in another folder with --init from:FILE" if last.is_file() else ""
    return WeightsError(f"{path}: {what}; remove it to start again{other}")
