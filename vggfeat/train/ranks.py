"""Several training processes as one: what torchrun starts, or a single process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from vggfeat._util.torch_settings import find_device
from vggfeat.errors import UsageError, VggfeatError

PATIENCE = timedelta(hours=4)  # in which process 0 may decode, or evaluate densely, while the others wait


@dataclass(frozen=True)
class Ranks:
    """This process among `world` of them, and its device. Number 0 writes the run's files. `local` is its number among
    the `on_machine` ones of its machine."""

    device: torch.device
    rank: int = 0
    world: int = 1
    on_machine: int = 1
    local: int = 0

    @property
    def main(self) -> bool:
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in each of them."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def any(self, *asked: bool) -> tuple[bool, ...]:
        """For each question whether the answer is yes in one of the processes, in each of them."""
        if self.world == 1:
            return asked
        answers = self.sum(torch.tensor(asked, dtype=torch.float32, device=self.device))
        return tuple(bool(answer) for answer in answers.tolist())

    def told(self, values: Any) -> Any:
        """What process 0 has, in each of them."""
        if self.world == 1:
            return values
        box = [values]
        distributed.broadcast_object_list(box)
        return box[0]

    def all(self, values: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other, in each of them."""
        if self.world == 1:
            return values
        boxes: list[Any] = [None] * self.world
        distributed.all_gather_object(boxes, values)
        return [value for box in boxes for value in box]


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process's place: among torchrun's processes where it was started by that, else on its own.

    With "auto" or "cuda" each process of a machine takes the GPU of its local number. Raises UsageError for more
    processes than GPUs, and VggfeatError where one of the others is lost.
    """
    world = _number("WORLD_SIZE", 1) if "WORLD_SIZE" in os.environ else 1
    if world == 1:
        yield Ranks(find_device(device))
        return
    ranks = _started_by_torchrun(device, world)
    if distributed.is_initialized():  # by a chain of runs, once for all
        yield ranks
        return
    distributed.init_process_group("nccl" if ranks.device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ranks
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):  # gloo's have no class of their own
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise VggfeatError(
            f"process {ranks.rank} of {ranks.world}: another one has ended ({reason}); see what that said"
        ) from error
    finally:
        distributed.destroy_process_group()


def _number(name: str, least: int) -> int:
    """A number that torchrun puts into the environment. Raises UsageError where there is none."""
    word = os.environ.get(name, "")
    if not word.isdecimal() or int(word) < least:
        raise UsageError(
            f"${name} is {word!r} in the environment: start the processes by torchrun, or unset $WORLD_SIZE"
        )
    return int(word)


def _started_by_torchrun(device: str, world: int) -> Ranks:
    rank, local = _number("RANK", 0), _number("LOCAL_RANK", 0)
    here = _number("LOCAL_WORLD_SIZE", 1)
    found = find_device(device)
    if found.type == "cuda":
        if here > torch.cuda.device_count():
            raise UsageError(f"{here} processes on a machine with {torch.cuda.device_count()} GPUs: start one for each")
        found = torch.device("cuda", local)
        torch.cuda.set_device(found)
    return Ranks(found, rank, world, here, local)
