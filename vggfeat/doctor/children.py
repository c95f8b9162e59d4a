"""Processes that answer questions side by side: what crashes or hangs there costs a line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from vggfeat._util.processes import cores
from vggfeat.doctor import probes


class Question(NamedTuple):
    """A function of `probes`, and its arguments."""

    probe: str
    words: tuple[str, ...] = ()


class Answer(NamedTuple):
    """value : what the probe returned. trouble : why there is none. in_time : False if the time ran out."""

    value: Any = None
    trouble: str = ""
    in_time: bool = True


def ask(questions: Mapping[str, Question], deadline: float) -> dict[str, Answer]:
    """The answers. The first questions are asked first; what still runs at the deadline (time.monotonic) is killed."""
    late = Answer(trouble="not finished in time", in_time=False)
    with ThreadPoolExecutor(max(2, cores())) as pool:
        answers = pool.map(lambda question: _asked(question, deadline) or late, questions.values())
        return dict(zip(questions, answers, strict=True))


def _asked(question: Question, deadline: float) -> Answer | None:
    """The answer to one question; None if there is none in time."""
    if time.monotonic() >= deadline:
        return None
    words = json.dumps([list(map(str, sys.path)), question.probe, question.words])
    process = subprocess.Popen(  # -P: no module of the folder of probes.py is imported; -B: no __pycache__ is written
        [sys.executable, "-P", "-B", probes.__file__, words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=max(deadline - time.monotonic(), 0))
        return Answer(**json.loads(said))
    except subprocess.TimeoutExpired:
        return None
    except ValueError:  # it ended before it could answer
        return Answer(trouble=_end_of(process.returncode))
    finally:
        _kill(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process, with what it has started. One that waits for a dead driver or disk cannot be ended: it is left."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1)
    if process.stdout:
        process.stdout.close()


def _end_of(status: int) -> str:
    """How a process ended, in words."""
    try:
        return f"it ends the process by {signal.Signals(-status).name}"
    except ValueError:
        return f"it ends the process with status {status}"
