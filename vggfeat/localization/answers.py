"""What a localiser says of photos, for people, for a table and for JSON."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from vggfeat._util.answers import answers_into
from vggfeat._util.printable import printable
from vggfeat.localization.guesses import Located
from vggfeat.localization.localizer import LocatedPhoto

HEADER = ["path", "rank", "label", "probability", "x0", "y0", "x1", "y1", "error"]


def writers(csv_file: Path | None, json_file: Path | None) -> AbstractContextManager[Callable[[LocatedPhoto], None]]:
    """A function that writes what is said of each photo into the files, which are written whole or not at all."""
    return answers_into(csv_file, json_file, HEADER, _rows, _value)


def lines(photo: LocatedPhoto) -> Iterator[str]:
    """For people: a line for each class, with its box."""
    for one in photo.located or []:
        box = " ".join(f"{edge:7.1f}" for edge in one.box)
        yield f"{100 * one.probability:8.2f} %  {box}  {printable(one.label)}"


def _rows(photo: LocatedPhoto) -> Iterator[list[Any]]:
    """A row for each class; of a photo that cannot be read one with its error."""
    if photo.located is None:
        yield [photo.path, *[""] * 7, photo.reason]
    for rank, one in enumerate(photo.located or [], 1):
        yield [photo.path, rank, one.label, f"{one.probability:.6g}", *(f"{edge:.1f}" for edge in one.box)]


def _value(photo: LocatedPhoto) -> dict[str, Any]:
    """{path, error} or {path, sha256, exif, width, height, objects: [{label, probability, box, ...}]}."""
    if photo.located is None or photo.pixels is None:
        return {"path": photo.path, "error": photo.reason}
    height, width = photo.pixels.shape[:2]
    file = {"path": photo.path, "sha256": photo.sha256, "exif": photo.exif}
    return {**file, "width": width, "height": height, "objects": [*map(_object, photo.located)]}


def _object(one: Located) -> dict[str, Any]:
    return {**one._asdict(), "box": list(one.box)}
