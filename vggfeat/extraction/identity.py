"""What identifies an image: the file that is listed, and the bytes that are read."""

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from vggfeat._util.files import size_and_change
from vggfeat._util.printable import reason_of
from vggfeat.engine.views import Region
from vggfeat.errors import ImageError
from vggfeat.reading import open_regular
from vggfeat.sources.item import Fetched
from vggfeat.store.identity import UNKNOWN, Identity


@runtime_checkable
class Stamped(Protocol):
    """A file in an archive or at an address whose size and time of change are known before it is fetched."""

    def stamp(self) -> tuple[int | None, int | None]:
        """Size in bytes, and time of the last change in nanoseconds since 1970."""


def stamp(image: Any) -> Identity:
    """What can be known without reading a file: its size and time. Of bytes and arrays in memory also the checksum.

    Nothing is known of a PIL image or an open file: to read it here would change it.
    """
    if isinstance(image, Region):
        whole = stamp(image.image)
        return whole._replace(sha256=_of_box(whole.sha256, image)) if whole.sha256 else whole
    image = file_of(image)
    if isinstance(image, Path):
        return Identity(*size_and_change(image))
    if isinstance(image, Stamped):
        return Identity(*image.stamp())
    if isinstance(image, bytes | bytearray | memoryview):
        return Identity(len(image), None, hashlib.sha256(image).hexdigest())
    if isinstance(image, np.ndarray | Tensor):
        pixels = np.ascontiguousarray(image.cpu() if isinstance(image, Tensor) else image)
        digest = hashlib.sha256(f"{type(image).__name__} {pixels.dtype} {pixels.shape}".encode())
        digest.update(pixels.data)
        return Identity(pixels.nbytes, None, digest.hexdigest())
    return UNKNOWN


def size_of(image: Any) -> int | None:
    """The bytes of an image file, as far as they are known before it is read; None for pixels in memory."""
    image = file_of(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return len(image)
    return stamp(image).size if isinstance(image, Path | Stamped) else None


def read_identity(image: Any, size: int, sha256: str) -> Identity:
    """The identity of an image of whose file so many bytes, with this checksum, were read."""
    sha256 = _of_box(sha256, image) if isinstance(image, Region) else sha256
    return Identity(size, stamp(image).changed_ns, sha256)


def checksum(image: Any) -> str | None:
    """SHA-256 of the bytes of a file on this machine, or in an archive there; None for other images.

    Of a Region, of the checksum of its file and the box. Raises ImageError if the file cannot be read.
    """
    if isinstance(image, Region):
        whole = checksum(image.image)
        return _of_box(whole, image) if whole else None
    image = file_of(image)
    if isinstance(image, Path):
        with open_regular(image) as file:
            try:
                return hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ImageError(f"{image}: {reason_of(error)}") from error
    if isinstance(image, Fetched) and not getattr(image, "far", False):
        return hashlib.sha256(image.fetch()).hexdigest()
    return None


def _of_box(whole: str, region: Region) -> str:
    return hashlib.sha256(f"{whole} {tuple(region.box)}".encode()).hexdigest()


def file_of(image: Any) -> Any:
    """The Path of a file, also if it is given as text or as a Region; any other image as it is."""
    image = image.image if isinstance(image, Region) else image
    is_name = isinstance(image, str | os.PathLike) and not isinstance(image, Path)
    return Path(image) if is_name else image
