"""How a process takes part in an extraction: its share and its device."""

import os

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


def local_device(device: str, share: tuple[int, int]) -> str:
    """ "auto" for one of several processes: the CUDA device of its $LOCAL_RANK, where there are any."""
    if device != "auto" or share[1] == 1:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(os.environ.get('LOCAL_RANK', share[0])) % count}" if count else device
