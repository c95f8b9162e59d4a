"""What identifies an image: the file that is listed, and the bytes that are read."""

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from vggfeat._util.files import changed_ns, signature
from vggfeat.engine.views import Region
from vggfeat.errors import ImageError
from vggfeat.sources.item import Fetched
from vggfeat.store.identity import UNKNOWN, Identity


@runtime_checkable
class Stamped(Protocol):
    """A file in an archive or at an address whose size and time of change are known before it is fetched."""

    def stamp(image: Any) -> Identity:
    """What can be known without reading a file: its size and time. Of bytes and arrays in memory also the checksum.

    Nothing is known of a PIL image or an open file: to read it here would change it.
    """
    image = file_of(image)
    if isinstance(image, Path):
        found = signature(image)
        return Identity(found.size, changed_ns(image)) if found else UNKNOWN
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


def read_identity(image: Any, content: Any) -> Identity:
    """The identity of an image that was read. content : what was fetched, or the image itself. Raises ImageError."""
    known = stamp(image)
    if isinstance(content, bytes):
        return Identity(len(content), known.changed_ns, hashlib.sha256(content).hexdigest())
    return known if known.sha256 else known._replace(sha256=checksum(content))


def checksum(image: Any) -> str | None:
    """SHA-256 of the bytes of a file on this machine, or in an archive there; None for other images.

    Of a Region, of the checksum of its file and the box. Raises ImageError if the file cannot be read.
    """
    if isinstance(image, Region):
        whole = stamp(image.image).sha256 or checksum(image.image)
        return hashlib.sha256(f"{whole} {image.box}".encode()).hexdigest() if whole else None
    image = file_of(image)
    if isinstance(image, Path):
        try:
            if not image.is_file():  # opening a FIFO would wait for a writer
                raise ImageError(f"{image}: not a regular file")
            with image.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise ImageError(f"{image}: {getattr(error, 'strerror', None) or error}") from error
    if isinstance(image, Fetched) and not getattr(image, "far", False):
        return hashlib.sha256(image.fetch()).hexdigest()
    return None


def file_of(image: Any) -> Any:
    """A Path for the name of a file, the image of a region; else the image."""
    image = image.image if isinstance(image, Region) else image
    is_name = isinstance(image, str | os.PathLike) and not isinstance(image, Path)
    return Path(image) if is_name else image
