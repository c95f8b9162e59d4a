"""The demonstration: demo."""

from pathlib import Path
from typing import Annotated

import typer

from vggfeat.cli.output import show


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the descriptors and the page.")] = Path("vggfeat-demo"),
) -> None:
    """Show what vggfeat does, on photos inside the package.

    The net is inside the package, too: nothing is downloaded. It takes about a minute on two cores.

    It describes the photos, measures how well an SVM tells their classes apart, and finds neighbours, twins, broken
    files and labels that may be wrong. The page with all of it is demo.html in the folder. The descriptors are kept
    there: a second run takes seconds.
    """
    from vggfeat.demo import demonstrate

    show(*demonstrate(out).text().split("\n"))
