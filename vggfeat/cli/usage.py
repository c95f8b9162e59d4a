"""Errors of usage in plain words: what typer says of an argument, with a remedy if typer gives none."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from vggfeat._util.printable import LINE, hidden, printable
from vggfeat.errors import DataError

WRONG_USAGE: Any = typer.BadParameter.__base__  # click's UsageError, of which newer versions of typer have their own
CHOICE = "Value error, "  # which newer versions put before "'x' is not one of 'a', 'b'"


class Group(TyperGroup):
    """Commands whose errors of usage are in plain words."""

    def make_context(self, *arguments: Any, **extra: Any) -> Any:
        """Read the options before the name of the command."""
        with _in_plain_words():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name."""
        with _in_plain_words():
            return super().invoke(ctx)


class Command(TyperCommand):
    """A command whose line of usage has the names of its arguments as they are written."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """STORE and IMAGE..., of which newer versions of typer make {STORE} and {IMAGE...}... in the line of usage."""
        return [re.sub(r"[{}]", "", piece).replace("......", "...") for piece in super().collect_usage_pieces(ctx)]


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except WRONG_USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help, in many lines
            raise
        message = _unquoted_pattern(error) or error.message.removeprefix(CHOICE)
        error.message = printable(hidden(message), LINE)
        raise


def _unquoted_pattern(error: Any) -> str:
    """A remedy for `vggfeat extract *.jpg`, whose names the shell has filled in; empty for other errors."""
    source = error.ctx.params.get("source") if error.ctx else None
    if source is None or "unexpected extra argument" not in error.message:
        return ""
    pattern = Path(source).with_name(f"*{Path(source).suffix}") if Path(source).is_file() else "photos/*.jpg"
    remedy = f"quote a pattern, '{pattern}', or name the folder"
    return f"{source}: other names follow it, but extract takes one source; {remedy}"


def check_source(source: str) -> None:
    """Raise DataError at once for a source that does not exist: `sources`, which says the same, takes seconds to load.

    Addresses and patterns are left to `sources`.
    """
    if "://" in source or set(source) & set("*?[{"):
        return
    try:
        Path(source).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{source}: no such folder, list or image") from error
    except (OSError, ValueError):
        return
