"""One finding of the doctor."""

import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "warning", "missing"]

AGAIN = "vggfeat doctor --seconds 60"  # where the time ran out

# Without one of these, `vggfeat extract` with its default options cannot work.
NEEDED = {"python", "torch", "numpy", "pyarrow", "packages", "codecs", "weights-package", "weights-given"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
        Its name, which never changes.
    state : {"ok", "warning", "missing"}
        warning: it may work, or works in part. missing: it cannot be used.
    found : str
        What was found.
    without : str
        What cannot be done without it.
    remedy : str
        One command that helps, or where there is none, what to do; empty if nothing is to be done.
    """

    name: str
    state: State
    found: str
    without: str
    remedy: str = ""


def unusable(found: Iterable[Check]) -> list[Check]:
    """Find what is missing although `vggfeat extract` needs it.

    Parameters
    ----------
    found : iterable of Check
        What `checks` returned.

    Returns
    -------
    list of Check
        Those that are missing and needed; empty if `extract` can work.
    """
    return [check for check in found if check.state == "missing" and check.name in NEEDED]


def quoted(place: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(place))


def pip(*words: str) -> str:
    """A command that runs pip for this Python, whatever is first in $PATH."""
    return shlex.join([sys.executable, "-m", "pip", *words])
