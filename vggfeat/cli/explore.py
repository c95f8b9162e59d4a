"""Users' own photos as a map: explore."""

from pathlib import Path
from typing import Annotated

import typer

from vggfeat.explore.settings import ExploreSettings


def explore(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store, as extract makes it.")],
    *,
    settings: ExploreSettings,
) -> None:
    """Show the photos of a store as a map in the browser.

    It also shows neighbours, twins and doubtful labels, and takes decisions about photos.

    The page is served on this machine only, at an address with a secret token, until Ctrl-C.
    """
    from vggfeat.explore.serving import explore

    explore(store, settings=settings)
