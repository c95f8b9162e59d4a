"""Several training processes as one: those that torchrun starts, or a single process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from vggfeat._util.printable import reason_of
from vggfeat._util.processes import torchrun_number
from vggfeat._util.torch_settings import find_device
from vggfeat.errors import UsageError, VggfeatError

PATIENCE = timedelta(hours=4)  # for which process 0 may decode, or evaluate densely, while the others wait


@dataclass(frozen=True)
class Ranks:
    """This process among the `world` processes that train one net; process 0 writes the files of the run."""

    device: torch.device
    rank: int = 0
    world: int = 1
    on_machine: int = 1  # processes on this machine
    local: int = 0  # this process's number there

    @property
    def main(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in each of them."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Whether each flag is set in at least one process, in each of them."""
        if self.world == 1:
            return flags
        found = self.sum(torch.tensor(flags, dtype=torch.float32, device=self.device))
        return tuple(bool(flag) for flag in found.tolist())

    def broadcast(self, value: Any) -> Any:
        """The value of process 0, in each of them."""
        if self.world == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    def gather(self, values: list[Any]) -> list[Any]:
        """The lists of all processes, one after the other, in each of them."""
        if self.world == 1:
            return values
        boxes: list[Any] = [None] * self.world
        distributed.all_gather_object(boxes, values)
        return [value for box in boxes for value in box]


def placed(device: str) -> Ranks:
    """This process's place as torchrun's environment variables give it; without them it is alone.

    With "auto" or "cuda" each process of a machine takes the GPU of its local number. Raises UsageError if there are
    fewer GPUs than processes.
    """
    world = torchrun_number("WORLD_SIZE", 1) if "WORLD_SIZE" in os.environ else 1
    found = find_device(device)
    if world == 1:
        return Ranks(found)
    rank, local = torchrun_number("RANK", 0), torchrun_number("LOCAL_RANK", 0)
    on_machine = torchrun_number("LOCAL_WORLD_SIZE", 1)
    if found.type == "cuda":
        if on_machine > torch.cuda.device_count():
            count = torch.cuda.device_count()
            raise UsageError(f"{on_machine} processes on a machine with {count} GPUs: start one process per GPU")
        found = torch.device("cuda", local)
        torch.cuda.set_device(found)
    return Ranks(found, rank, world, on_machine, local)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process's place, connected with the other processes.

    Raises UsageError as `placed` does, and VggfeatError if another process is lost.
    """
    ranks = placed(device)
    if ranks.world == 1 or distributed.is_initialized():  # a chain of runs connects them once
        yield ranks
        return
    distributed.init_process_group("nccl" if ranks.device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield ranks
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):  # gloo's errors have no own class
            raise
        reason = reason_of(error)
        raise VggfeatError(
            f"process {ranks.rank} of {ranks.world}: another process has ended ({reason}); see its message"
        ) from error
    finally:
        distributed.destroy_process_group()
