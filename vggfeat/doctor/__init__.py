"""What works on this machine, and one command to fix what does not. Needs nothing but Python; uses no network.

check      Check, and which of them `extract` needs
children   processes that try what may crash or hang, side by side, with a time limit
probes     what runs in these processes: imports, codecs, GPUs
packages   Python, torch and the other packages, codecs
cuda       NVIDIA's GPUs, their driver, and what torch was built for
files      weights and data sets
machine    disk, memory, processors, write access
"""

import time

from vggfeat.doctor import cuda, files, machine, packages
from vggfeat.doctor.check import Check, unusable
from vggfeat.doctor.children import Question, ask
from vggfeat.errors import UsageError

__all__ = ["Check", "checks", "unusable"]

MOST_SECONDS = 3600


def checks(seconds: float = 1.2) -> list[Check]:
    """Look at this machine, without a download and without writing a file.

    Imports are tried in other processes, so that a broken package does not break the check.

    Parameters
    ----------
    seconds : float
        Time limit, after which imports that are not finished are ended.

    Returns
    -------
    list of Check
        One per thing that was looked at; their names and their order are always the same.

    Raises
    ------
    UsageError
        If there is no such time limit.
    """
    if not 0 <= seconds <= MOST_SECONDS:
        raise UsageError(f"seconds must be between 0 and {MOST_SECONDS}, not {seconds}")
    deadline = time.monotonic() + seconds
    here = [*files.checks(), *machine.checks()]
    answers = ask({"cuda": Question("gpus"), **packages.questions()}, deadline)
    return [*packages.checks(answers), cuda.check(answers["cuda"]), *here]
