"""Training in processes that are really killed, or that really work together.

Run as a script with groups of jobs as JSON on stdin; the jobs of a group run side by side, the groups one after the
other. Each job is a fork of this process, which has already imported everything, so that it starts quickly. Prints how
each job ended: 0, an exit status, or the negative number of the signal.

A job is killed at an event of the world around the package: a backward pass of torch, or the sync of a file.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch

from vggfeat.errors import VggfeatError


def run(groups: list[list[dict[str, Any]]]) -> list[list[int]]:
    """Run groups of jobs; returns how they ended.

    A job: {"data": ..., "out": ..., "settings": {...}, "env": {...}, "die": [event, number], "boxes": true}; the last
    three may be left out. With boxes it is `localization.fit`. It dies by a signal when the event, a key of DEATHS,
    happens for this number of times.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(groups),
        text=True,
        capture_output=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ask() -> None:
    """The SIGTERM with which clusters ask a process to end."""
    os.kill(os.getpid(), signal.SIGTERM)


def ask_the_group() -> None:
    """The same signal to all processes of the group, the decoding workers too, as schedulers send it."""
    os.killpg(0, signal.SIGTERM)


def in_a_step(number: int, act: Callable[[], None] = kill) -> None:
    """Before the gradients of a micro-batch are added."""
    plain, calls = torch.Tensor.backward, count(1)

    def backward(self: Any, *args: Any, **options: Any) -> Any:
        if next(calls) == number:
            act()
        return plain(self, *args, **options)

    torch.Tensor.backward = backward  # type: ignore[method-assign]


def asked_in_a_step(number: int) -> None:
    in_a_step(number, ask)


def asked_as_a_group(number: int) -> None:
    os.setpgid(0, 0)
    in_a_step(number, ask_the_group)


def at_a_sync(name: str, number: int, act: Callable[[str], None]) -> None:
    """When a file whose name contains `name` is written and about to be synced, before it is renamed."""
    plain, calls = os.fsync, count(1)

    def fsync(descriptor: int) -> None:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if name in Path(path).name and next(calls) == number:
            act(path)
        plain(descriptor)

    os.fsync = fsync


def in_a_checkpoint(number: int) -> None:
    """When half of a checkpoint is written."""

    def halve(path: str) -> None:
        os.truncate(path, Path(path).stat().st_size // 2)
        kill()

    at_a_sync("checkpoint.safetensors", number, halve)


def in_a_file_of_maps(number: int) -> None:
    """When the maps of a draw are computed and about to be kept."""
    at_a_sync("pool5-", number, lambda _: kill())


def after_an_epochs_row(number: int) -> None:
    """Between a row of log.csv, which is followed by the curves, and the checkpoint that knows of it."""
    at_a_sync("curves.png", number, lambda _: kill())


DEATHS = {
    "step": in_a_step,
    "asked": asked_in_a_step,
    "group": asked_as_a_group,
    "checkpoint": in_a_checkpoint,
    "row": after_an_epochs_row,
    "maps": in_a_file_of_maps,
}


def child(job: dict[str, Any]) -> int:
    """Fork; the child trains and ends. Returns its process number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        os.environ.update(job.get("env", {}))
        if "die" in job:
            event, at = job["die"]
            DEATHS[event](at)
        from vggfeat.localization import fit
        from vggfeat.train import train

        (fit if job.get("boxes") else train)(job["data"], job["out"], **job["settings"])
        status = 0
    except Exception as error:
        print(f"{job['out']}: {error!r}", file=sys.stderr)
        status = 2 if isinstance(error, VggfeatError) else 1
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    import matplotlib.figure  # noqa: F401
    import torch._dynamo

    import vggfeat.localization.training
    import vggfeat.train.run  # noqa: F401

    torch.set_num_threads(1)
    ends = []
    for group in json.load(sys.stdin):
        numbers = [child(job) for job in group]
        ends.append([os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers])
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
