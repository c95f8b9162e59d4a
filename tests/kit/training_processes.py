"""Training in processes that are really killed, or that really work together.

Run as a script with groups of jobs as JSON on stdin; the jobs of a group run side by side, the groups one after the
other. Each job is a fork of this process, which has imported everything already, so that it costs little. Prints how
each ended: 0, an exit status, or the negative number of the signal.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from vggfeat.errors import VggfeatError


def run(groups: list[list[dict[str, Any]]]) -> list[list[int]]:
    """A job: {"data": ..., "out": ..., "settings": {...}, "env": {...}, "die": [where, count]}; the last two may
    be left out. It dies by a signal at the count-th time that it comes to `where`, a key of DEATHS."""
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


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_step(count: int, how: int = signal.SIGKILL, kill: Any = os.kill) -> None:
    """Before the gradients of a group of images are added."""
    from vggfeat.train.learner import Learner

    plain, calls = Learner._add_gradients, iter(range(1, 10**6))

    def add(self: Any, batch: Any) -> Any:
        if next(calls) == count:
            kill(os.getpid(), how)
        return plain(self, batch)

    Learner._add_gradients = add  # type: ignore[method-assign]


def asked_in_a_step(count: int) -> None:
    """Not by SIGKILL, but by the SIGTERM with which clusters ask a process to end."""
    in_a_step(count, signal.SIGTERM)


def asked_as_a_group(count: int) -> None:
    """The same signal to all processes of the group, the workers that decode too, as schedulers send it."""
    os.setpgid(0, 0)
    in_a_step(count, signal.SIGTERM, lambda _, how: os.killpg(0, how))


def in_a_checkpoint(count: int) -> None:
    """When half of a checkpoint is written."""
    from vggfeat.train import checkpoint

    plain, calls = checkpoint.save_file, iter(range(1, 10**6))

    def save(tensors: Any, path: Path, metadata: Any) -> None:
        plain(tensors, path, metadata)
        if next(calls) == count:
            os.truncate(path, path.stat().st_size // 2)
            die()

    checkpoint.save_file = save


def after_an_epochs_row(count: int) -> None:
    """Between a row of log.csv and the checkpoint that knows of it."""
    from vggfeat.train.folder import Table

    plain, calls = Table.add, iter(range(1, 10**6))

    def add(self: Any, rows: Any) -> None:
        plain(self, rows)
        if self.path.name == "log.csv" and next(calls) == count:
            die()

    Table.add = add  # type: ignore[method-assign]


DEATHS = {
    "step": in_a_step,
    "asked": asked_in_a_step,
    "group": asked_as_a_group,
    "checkpoint": in_a_checkpoint,
    "row": after_an_epochs_row,
}


def child(job: dict[str, Any]) -> int:
    """Fork; the child trains and leaves. Returns its number."""
    number = os.fork()
    if number:
        return number
    status = 1
    try:
        os.environ.update(job.get("env", {}))
        if "die" in job:
            where, count = job["die"]
            DEATHS[where](count)
        from vggfeat.train import train

        train(job["data"], job["out"], **job["settings"])
        status = 0
    except Exception as error:
        print(f"{job['out']}: {error!r}", file=sys.stderr)
        status = 2 if isinstance(error, VggfeatError) else 1
    finally:
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    import matplotlib.figure  # noqa: F401
    import torch
    import torch._dynamo

    import vggfeat.train  # noqa: F401

    torch.set_num_threads(1)
    ends = []
    for group in json.load(sys.stdin):
        numbers = [child(job) for job in group]
        ends.append([os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in numbers])
    print(json.dumps(ends))


if __name__ == "__main__":
    main()
