"""What identifies an image: the file that is listed, and the bytes that are read."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image
from torch import Tensor

from vggfeat._util.files import signature
from vggfeat.engine.views import Region
from vggfeat.errors import ImageError
from vggfeat.images import open_regular
from vggfeat.sources.item import Fetched
from vggfeat.store.identity import UNKNOWN, Identity


@runtime_checkable
class Stamped(Protocol):
    """A file in an archive or at an address whose size and time of change are known before it is fetched."""

    def stamp(self) -> tuple[int | None, int | None]:
        """Size in bytes, and time of the last change in nanoseconds since 1970."""


def stamp(image: Any) -> Identity:
    """What is known without reading a file: its size and time. For an image in memory also the checksum."""
    image = file_of(image)
    if isinstance(image, Path):
        found = signature(image)
        return Identity(found.size, found.mtime_ns) if found else UNKNOWN
    if isinstance(image, Stamped):
        return Identity(*image.stamp())
    return _in_memory(image)


def read_identity(image: Any, content: Any) -> Identity:
    """The identity of an image that was read. content : its bytes if they were fetched, else the image itself.

    Raises ImageError.
    """
    known, content = stamp(image), file_of(content)
    if isinstance(content, Path):
        return known._replace(sha256=checksum(content))
    if isinstance(content, bytes):
        return Identity(len(content), known.mtime_ns, hashlib.sha256(content).hexdigest())
    return known


def checksum(image: Any) -> str | None:
    """SHA-256 of the bytes of a file on this machine, or in an archive there; None for other images.

    Raises ImageError if it cannot be read.
    """
    image = file_of(image)
    if isinstance(image, Path):
        with open_regular(image) as file:
            try:
                return hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise ImageError(f"{image}: {error.strerror or error}") from error
    if isinstance(image, Fetched) and not getattr(image, "far", False):
        return hashlib.sha256(image.fetch()).hexdigest()
    return None


def file_of(image: Any) -> Any:
    """The Path of a file, also if it is given as text or as a Region; any other image as it is."""
    image = image.image if isinstance(image, Region) else image
    is_name = isinstance(image, str | os.PathLike) and not isinstance(image, Path)
    return Path(image) if is_name else image


def _in_memory(image: Any) -> Identity:
    """The checksum of bytes, or of pixels with their dtype and shape; UNKNOWN for an open file."""
    if isinstance(image, bytes | bytearray | memoryview):
        return Identity(len(image), None, hashlib.sha256(image).hexdigest())
    if isinstance(image, Tensor):
        image = image.cpu()
    if isinstance(image, np.ndarray | Tensor | Image.Image):
        with suppress(Exception):  # a damaged PIL image, whose reader says what is wrong
            pixels = np.ascontiguousarray(image)
            digest = hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode())
            digest.update(pixels.data)
            return Identity(pixels.nbytes, None, digest.hexdigest())
    return UNKNOWN
