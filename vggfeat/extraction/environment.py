"""What the environment says about the processes of torchrun: share, launch, device, and how many there are."""

import os

from vggfeat._util.processes import torchrun_number
from vggfeat.errors import UsageError


def share_of_environment() -> tuple[int, int]:
    """(i, n) of $RANK and $WORLD_SIZE, which torchrun sets; (0, 1) without them. Raises UsageError."""
    words = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        share = int(words[0]), int(words[1])
    except ValueError:
        share = (-1, 0)
    if not 0 <= share[0] < share[1]:
        raise UsageError(f"RANK={words[0]} WORLD_SIZE={words[1]} in the environment is not the i-th of n processes")
    return share


def launch_of_environment() -> str:
    """Tells the runs of torchrun apart; empty without it."""
    return os.environ.get("TORCHELASTIC_RUN_ID", "")


def processes_here() -> int:
    """How many processes of torchrun run on this machine."""
    return torchrun_number("LOCAL_WORLD_SIZE", 1, default=1)


def local_device(device: str, share: tuple[int, int]) -> str:
    """The device of one of several processes: for "auto" the GPU of its $LOCAL_RANK, if there are GPUs."""
    if device != "auto" or share[1] == 1:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{torchrun_number('LOCAL_RANK', 0, default=share[0]) % count}" if count else device
