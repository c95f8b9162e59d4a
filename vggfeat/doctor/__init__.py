"""What works on this machine, and one command to fix what does not. Needs nothing but Python; uses no network.

check      Check, and which of them `extract` needs
children   processes that try what may crash or hang, side by side, with a time limit
probes     what runs in these processes: imports, codecs, GPUs
packages   Python, torch and the other packages, codecs
cuda       NVIDIA's GPUs, their driver, and what torch was built for
files      weights and data sets
machine    disk, memory, processors, write access
"""

from vggfeat.doctor import cuda, files, machine, packages
from vggfeat.doctor.check import Check, unusable
from vggfeat.doctor.children import Question, ask

__all__ = ["Check", "checks", "unusable"]


def checks(seconds: float = 1.3) -> list[Check]:
    """Look at this machine, without a download and without writing a file.

    Imports are tried in other processes, so that a broken package does not break the check.

    Parameters
    ----------
    seconds : float
        Time limit for the imports, all of them together.

    Returns
    -------
    list of Check
        One per thing that was looked at; their names and their order are always the same.
    """
    answers = ask({"cuda": Question("gpus"), **packages.questions()}, seconds)
    return [
        *packages.checks(answers),
        cuda.check(answers["cuda"]),
        *files.checks(),
        *machine.checks(),
    ]
