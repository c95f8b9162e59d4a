"""How a process takes part in an extraction: its share, its device, its algorithms."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from vggfeat.errors import UsageError

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


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


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Only algorithms that give the same bits each time; what was set before is set again at the end."""
    if not wanted:
        yield
        return
    import torch

    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_CUBLAS)
    os.environ.setdefault(_CUBLAS, ":4096:8")  # cuBLAS promises equal bits with this only
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if workspace is None:
            del os.environ[_CUBLAS]
