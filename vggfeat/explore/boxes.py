"""The boxes that a localiser has found in the photos, as `vggfeat localize predict --json` writes them.

A box belongs to the file in which it was found, so photos are matched by the SHA-256 of their files, and not by name.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypedDict

from msgspec import Meta as Limits

from vggfeat._util.json_files import read_json
from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import printable, reason_of, say
from vggfeat.errors import DataError
from vggfeat.explore.collection import Collection

FAILED = "photos that could not be localised"
NO_SHA256 = "photos without a sha256 (write the file again with vggfeat localize predict --json)"
NOT_HERE = "photos that are not on the page, or have changed"
OTHER_SIZE = "photos of another size than the file says"
_MOST_BYTES = 2**27  # of a file: some hundred thousand photos

Edge = Annotated[float, Limits(ge=0, le=2**31)]  # no NaN
Box = tuple[Edge, Edge, Edge, Edge]


class Object(TypedDict):
    """A class of a photo, its probability, and its box x0, y0, x1, y1, which is empty if none was found."""

    label: str
    probability: Annotated[float, Limits(ge=0, le=1.001)]  # rounded in float32
    box: Box


@dataclass(frozen=True)
class Localised:
    """A photo as it was localised.

    sha256 : of its file. exif : whether it was turned upright. width, height : in pixels. objects : None for a photo
    that could not be localised.
    """

    path: str
    sha256: str | None = None
    exif: bool = False
    width: int = 0
    height: int = 0
    objects: list[Object] | None = None

    def shown(self, exif: bool, orientation: int) -> list[Object]:
        """The objects, with boxes in pixels of the photo as the page shows it.

        exif : whether the page turns it upright. orientation : what EXIF says.
        """
        back = {6: 8, 8: 6}.get(orientation, orientation)  # the others undo themselves
        turn = 1 if self.exif == exif else orientation if exif else back
        return [
            Object(
                label=printable(one["label"]),
                probability=one["probability"],
                box=turned(one["box"], self.width, self.height, turn),
            )
            for one in self.objects or []
        ]


def read_boxes(file: Path, collection: Collection) -> dict[int, Localised]:
    """The rows that have boxes. Says how many these are, and what is left out. Raises DataError."""
    try:
        photos: list[Localised] = read_json(file, list[Localised], _MOST_BYTES)
    except (OSError, ValueError) as error:
        remedy = "name a file that vggfeat localize predict --json has written"
        raise DataError(f"{file}: cannot be read ({reason_of(error)}); {remedy}") from error
    rows = defaultdict(list)  # equal files have several rows
    for row, identity in enumerate(collection.identities):
        rows[identity.sha256].append(row)
    found: dict[int, Localised] = {}
    left_out = LeftOut()
    for photo in photos:
        if reason := _reason(photo, of := rows.get(photo.sha256, []), collection):
            left_out.add(reason, photo.path)
        else:
            found |= dict.fromkeys(of, photo)
    say(f"{file}: has boxes for {len(found):,} of {len(collection):,} photos")
    for line in left_out.lines():
        say(f"{file}: {line}")
    return found


def _reason(photo: Localised, rows: list[int], collection: Collection) -> str | None:
    """Why the boxes of a photo are left out; None if they are not. rows : of the photo, which have the same size."""
    if photo.objects is None:
        return FAILED
    if not photo.sha256:
        return NO_SHA256
    if not rows:
        return NOT_HERE
    size, known = (photo.width, photo.height), tuple(collection.sizes[rows[0]].tolist())
    on_its_side = photo.exif != collection.exif and size[::-1] == known
    return None if size == known or on_its_side else OTHER_SIZE


def turned(box: Box, width: int, height: int, orientation: int) -> Box:
    """A box of a photo of this size, in pixels of the photo after it was turned as an EXIF orientation says."""
    x0, y0, x1, y1 = box
    if orientation in (2, 3, 7, 8):
        x0, x1 = width - x1, width - x0
    if orientation in (3, 4, 6, 7):
        y0, y1 = height - y1, height - y0
    return (y0, x0, y1, x1) if orientation in (5, 6, 7, 8) else (x0, y0, x1, y1)
