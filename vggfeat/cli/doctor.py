"""What works on this machine: doctor."""

import json as json_module
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vggfeat import __version__
from vggfeat._util.printable import printable
from vggfeat.cli.output import show
from vggfeat.errors import VggfeatError

if TYPE_CHECKING:
    from vggfeat.doctor import Check

WIDTH = 80  # columns


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    seconds: Annotated[
        float, typer.Option(help="Time limit, after which imports that are not finished are ended.")
    ] = 1.2,
) -> None:
    """Check what works on this machine.

    For what does not work, one command is printed. Nothing is written, and the network is not used. The exit status is
    1 if something is missing that extract needs.
    """
    from vggfeat.doctor import checks, unusable

    found = checks(seconds)
    if json:
        report = {"version": __version__, "checks": [asdict(check) for check in found]}
        show(*json_module.dumps(report, indent=1).split("\n"))
    else:
        show(*_table(found))
    if broken := unusable(found):
        names = ", ".join(check.name for check in broken)
        raise VggfeatError(f"{names}: missing or broken, and vggfeat extract needs it; do what its remedy says")


def _table(checks: "list[Check]") -> list[str]:
    """Name, state and finding of each check; below those that are not ok what needs it, and the remedy."""
    widest = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines += _wrapped(f"{check.name:<{widest}}  {check.state:<7}  ", check.found)
        if check.state != "ok":
            lines += _wrapped("    needed for: ", check.without)
            lines += [f"    remedy: {check.remedy}"] * bool(check.remedy)  # on one line, to be copied
    return lines


def _wrapped(start: str, text: str) -> list[str]:
    """A text in lines of WIDTH, the following ones indented; a long path stays whole."""
    indent = " " * len(start)
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(start + printable(text))
