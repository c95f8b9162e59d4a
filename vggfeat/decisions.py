"""decisions.csv: what a user has decided about photos. A table `path,decision,label,reason`, one row per photo."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from vggfeat._util.csv_files import read_table
from vggfeat._util.files import replacing
from vggfeat._util.printable import reason_of
from vggfeat.errors import DataError

__all__ = ["MOST_CHARACTERS", "Choice", "Decision", "read_decisions", "write_decisions"]

Choice = Literal["keep", "remove", "relabel"]
MOST_CHARACTERS = 1000  # of a label, and of a reason
_HEADER = ("path", "decision", "label", "reason")
_MOST_PATH = 4100  # characters: of the longest name in a store


class Decision(NamedTuple):
    """What is decided about a photo.

    Parameters
    ----------
    decision : {"keep", "remove", "relabel"}
    label : str
        The new label if the decision is "relabel"; empty otherwise.
    reason : str
        In the user's words; may be empty.
    """

    decision: Choice
    label: str = ""
    reason: str = ""


def read_decisions(file: str | Path) -> dict[str, Decision]:
    """Read a table of decisions.

    Parameters
    ----------
    file : str or path

    Returns
    -------
    dict
        The name of a photo in its source, or its store -> Decision.

    Raises
    ------
    DataError
        If the file cannot be read, is too large, or has an invalid row. The message names the file and the row.
    """
    columns = {"path": _path, "decision": _choice, "label": _text, "reason": _text}
    found: dict[str, Decision] = {}
    try:
        for number, row in enumerate(read_table(Path(file), columns), start=1):
            path = row.pop("path")
            decision = Decision(**row)
            if path in found:
                raise ValueError(f"row {number}: {path} has a decision already")
            if (decision.decision == "relabel") != bool(decision.label):
                raise ValueError(f"row {number}: a label belongs to the decision relabel, and only to that one")
            found[path] = decision
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({reason_of(error)}); correct it or name another file") from error
    return found


def write_decisions(file: str | Path, decisions: Mapping[str, Decision]) -> None:
    """Write a table of decisions, whole or not at all.

    Parameters
    ----------
    file : str or path
    decisions : mapping
        The name of a photo -> Decision.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with replacing(Path(file)) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(_HEADER)
        table.writerows([path, *decision] for path, decision in decisions.items())


def _path(text: str) -> str:
    if not 1 <= len(text) <= _MOST_PATH:
        raise ValueError(f"a path has 1 to {_MOST_PATH:,} characters, not {len(text):,}")
    return text


def _choice(text: str) -> str:
    if text not in get_args(Choice):
        raise ValueError(f"{text[:50]!r} is no decision; take one of {', '.join(get_args(Choice))}")
    return text


def _text(text: str) -> str:
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"a text of {len(text):,} characters; at most {MOST_CHARACTERS:,} are allowed")
    return text
