"""Pictures of rows. A photo is found by the number of its row, in the folder of its source, and never outside it.

This is not the reader of the index (`index/photos.py`), which gives the pixels that were described, from any source:
with torch, of full size, one after the other. A page wants small pictures soon, in several threads, from a folder that
may have been moved, and must not follow links out of it.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from threading import BoundedSemaphore, Lock
from typing import TypeVar

import numpy as np
from PIL import Image

from vggfeat._util.files import size_and_change
from vggfeat._util.printable import reason_of
from vggfeat.errors import ImageError
from vggfeat.explore.collection import Collection
from vggfeat.pixels import orientation
from vggfeat.reading import Opened, open_regular, opened
from vggfeat.spec import MAX_PIXELS
from vggfeat.store.identity import Identity

T = TypeVar("T")

NO_FOLDER = "whose folder is not known (name it with --photos)"
GONE = "that are not found (name their folder with --photos)"
OUTSIDE = "that links lead out of the folder"
CHANGED = "that have changed since they were described"
UNREADABLE = "that cannot be read"

GREY = 128
_AT_ONCE = 2  # photos that are decoded at the same time: a large one takes a GB
_QUALITY = 85


class Photos:
    """Reads the photos of a collection. Those that cannot be shown are counted.

    folder : default: that of the store's source. Memory is bounded: `max_pixels` of a photo, two photos at a time.
    """

    def __init__(self, collection: Collection, folder: Path | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self._collection, self._max_pixels = collection, max_pixels
        self._folder = _folder(folder or collection.store.meta.get("source"))
        self._reasons: dict[int, str] = {}
        self._lock, self._free = Lock(), BoundedSemaphore(_AT_ONCE)

    def missing(self) -> Counter[str]:
        """How many of the photos that were asked for cannot be shown, by reason."""
        with self._lock:
            return Counter(self._reasons.values())

    def reason(self, row: int) -> str | None:
        """Why a photo cannot be shown; None if it can, or was not asked for."""
        return self._reasons.get(row)

    def square(self, row: int, side: int) -> np.ndarray | None:
        """uint8 (side, side, 3) RGB of the middle of a photo; None if it cannot be shown."""
        image = self._image(row, side)
        if image is None:
            return None
        width, height = image.size
        edge = min(width, height)
        left, top = (width - edge) / 2, (height - edge) / 2
        box = (left, top, left + edge, top + edge)
        return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box, reducing_gap=2))

    def whole(self, row: int, longest: int) -> np.ndarray | None:
        """uint8 (H, W, 3) RGB, reduced to a longer side of at most `longest`; None if it cannot be shown."""
        image = self._image(row, longest)
        if image is None:
            return None
        image.thumbnail((longest, longest), reducing_gap=2)
        return np.asarray(image)

    def orientation(self, row: int) -> int | None:
        """What EXIF says about how a photo lies, 1 to 8; None if the photo cannot be shown."""
        return self._of(row, lambda photo: orientation(photo.image))

    def _image(self, row: int, side: int) -> Image.Image | None:
        """A photo, decoded at a size of at least `side` if that is faster."""

        def decoded(photo: Opened) -> Image.Image:
            photo.image.draft("RGB", (side, side))
            # truncated ones are shown as far as they go: this is no descriptor
            return Image.fromarray(photo.pixels(exif=self._collection.exif, allow_truncated=True))

        image = self._of(row, decoded)
        if image is not None:
            with self._lock:
                self._reasons.pop(row, None)
        return image

    def _of(self, row: int, make: Callable[[Opened], T]) -> T | None:
        """What is made of a photo; None if it cannot be shown, whose reason is then known."""
        with self._free:
            try:
                file = self._file(self._collection.names[row])
                if _has_changed(file, self._collection.identities[row]):
                    raise _NotShown(CHANGED)
                with opened(file, self._max_pixels) as photo:
                    return make(photo)
            except _NotShown as error:
                self._refuse(row, str(error))
            except ImageError:
                self._refuse(row, UNREADABLE)
        return None

    def _refuse(self, row: int, reason: str) -> None:
        with self._lock:
            self._reasons[row] = reason

    def _file(self, name: str) -> Path:
        """The file of a name, without links. Raises _NotShown."""
        if self._folder is None:
            raise _NotShown(NO_FOLDER)
        parts = PurePosixPath(name).parts
        if ".." in parts or PurePosixPath(name).is_absolute():
            raise _NotShown(OUTSIDE)
        try:
            file = self._folder.joinpath(*parts).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            raise _NotShown(GONE) from None
        if not file.is_relative_to(self._folder):
            raise _NotShown(OUTSIDE)
        return file


class _NotShown(Exception):
    """A photo is not shown, for the reason that the text says."""


def jpeg(pixels: np.ndarray, quality: int = _QUALITY) -> bytes:
    """uint8 (H, W, 3) RGB as the bytes of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _folder(source: str | Path | None) -> Path | None:
    """The folder of a source: its own, or that of a list; None if it is none on this machine."""
    if source is None:
        return None
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    return folder.resolve() if path.is_dir() or path.is_file() else None


def _has_changed(file: Path, known: Identity) -> bool:
    """Whether a file is known to hold another image than the one that was described."""
    if known.sha256 is None or size_and_change(file) == (known.size, known.changed_ns):
        return False
    with open_regular(file) as photo:
        try:
            return hashlib.file_digest(photo, "sha256").hexdigest() != known.sha256
        except OSError as error:
            raise ImageError(f"{file}: {reason_of(error)}") from error
