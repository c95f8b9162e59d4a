"""Several training processes as one: what torchrun starts, or a single process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from vggfeat.devices import find_device
from vggfeat.errors import UsageError


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
    processes than GPUs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(find_device(device))
        return
    ranks = _started_by_torchrun(device, world)
    if distributed.is_initialized():  # by a chain of runs, once for all
        yield ranks
        return
    distributed.init_process_group("nccl" if ranks.device.type == "cuda" else "gloo")
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()


def _started_by_torchrun(device: str, world: int) -> Ranks:
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    found = find_device(device)
    if found.type == "cuda":
        if here > torch.cuda.device_count():
            raise UsageError(f"{here} processes on a machine with {torch.cuda.device_count()} GPUs: start one for each")
        found = torch.device("cuda", local)
        torch.cuda.set_device(found)
    return Ranks(found, rank, world, here, local)
