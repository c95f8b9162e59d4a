"""Users' own photos as a map: explore."""

from pathlib import Path
from typing import Annotated

import typer

from vggfeat.explore.settings import ExploreSettings


def explore(
    source: Annotated[
        Path, typer.Argument(metavar="STORE|MODEL", help="A store, as extract makes it; or a model, as fit makes it.")
    ],
    *,
    settings: ExploreSettings,
) -> None:
    """Show the photos of a store, or of a model, as a map in the browser.

    It also shows neighbours, twins and doubtful labels, and takes decisions about photos. Of a model it shows which
    classes it confuses, and which labels it doubts.

    The page is served on this machine only, at an address with a secret token, until Ctrl-C.
    """
    from vggfeat.explore.serving import explore

    explore(source, settings=settings)
