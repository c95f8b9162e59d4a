"""What the command prints on stdout."""

import typer

from vggfeat._util.printable import hidden, printable


def show(*lines: str) -> None:
    """Print lines on stdout. Tabs between columns are kept; a name before a tab must be `printable` already."""
    for line in lines:
        typer.echo("\t".join(map(printable, hidden(line).split("\t"))))
