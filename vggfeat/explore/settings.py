"""The settings of the explorer. Imports neither torch nor numpy."""

from dataclasses import dataclass
from pathlib import Path

from vggfeat.errors import UsageError

__all__ = ["ExploreSettings"]


@dataclass(frozen=True)
class ExploreSettings:
    """Settings of the explorer.

    Parameters
    ----------
    photos : Path or None
        The folder of the photos. Default: the source that the store has recorded. Give it if the photos were moved.
    decisions : Path or None
        The table of decisions, read and written. Default: STORE.decisions.csv beside the store.
    boxes : Path or None
        Boxes of objects, as localize predict --json writes them. Default: STORE.boxes.json beside the store, if there
        is one.
    port : int
        The port of the page on 127.0.0.1. 0 takes a free one.
    browser : bool
        Open the page in the default browser. Its address is printed in any case.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    photos: Path | None = None
    decisions: Path | None = None
    boxes: Path | None = None
    port: int = 0
    browser: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise UsageError(f"port must be from 0 to 65,535, not {self.port:,}")
        if self.photos is not None and not self.photos.is_dir():
            raise UsageError(f"{self.photos}: no such folder; name the folder of the photos")
