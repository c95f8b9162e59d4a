"""Files of a source that are not given as images. They are counted, so that a user is told."""

from collections.abc import Iterator

from vggfeat._util.left_out import LeftOut
from vggfeat.errors import ImageError
from vggfeat.formats import other_kind, suffix_of
from vggfeat.images import Source
from vggfeat.sources import labels
from vggfeat.sources.item import Fetched, Item

NOT_IMAGES = "files that are not images, by their suffix"
VIDEOS = "videos, which are not read"

_REMEDIES = {
    "table": "convert it to .csv with the columns path and label",
    "archive": "unpack it and name its folder, or pack its images into a .tar",
}


def add_file(left_out: LeftOut, name: str) -> None:
    """Count a file that is not an image, under its kind."""
    left_out.add_file(VIDEOS if other_kind(name) == "video" else NOT_IMAGES, name)


def is_left_out(name: str) -> bool:
    """Whether a file is not an image, by its suffix. An archive is not left out, but fails: it may hold images."""
    return other_kind(name) not in (None, "archive")


def file_items(
    name: str, image: Source | Fetched | ImageError, left_out: LeftOut, listed: bool = False
) -> Iterator[Item]:
    """The item of a file in a folder or of a pattern, unless it is left out; its label is its first folder."""
    if is_left_out(name):
        add_file(left_out, name)
        return
    if other_kind(name) == "archive":
        image = ImageError("is an archive that cannot be read; unpack it, or pack its images into a .tar")
    yield Item(name, image, labels.of_folder(name), listed)


def refusal(name: str) -> str | None:
    """Why a file cannot be a source, by its suffix, and what to do; None if it may be one."""
    if (kind := other_kind(name)) is None:
        return None
    remedy = _REMEDIES.get(kind, "name an image, a folder, a list (.txt, .csv, .parquet) or a .tar")
    return f"{suffix_of(name)} cannot be read as a source of images; {remedy}"
