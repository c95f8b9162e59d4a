"""The processors of this process, and what torchrun puts into the environment of its processes."""

import os

from vggfeat.errors import UsageError


def cores() -> int:
    """Processors that this process may use; a cluster's scheduler often gives it a part of the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torchrun_number(name: str, least: int, default: int | None = None) -> int:
    """A number that torchrun sets, such as $LOCAL_RANK.

    Raises UsageError if it is invalid, or if it is missing and there is no default.
    """
    word = os.environ.get(name, "" if default is None else str(default))
    if not word.isdecimal() or int(word) < least:
        raise UsageError(
            f"${name} is {word!r} in the environment: start the processes with torchrun, or unset $WORLD_SIZE"
        )
    return int(word)
