"""An image of a source."""

import os
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vggfeat.errors import ImageError
from vggfeat.images import Source

MAX_BYTES = 2**28  # of a file in an archive or at an address: it is read into memory before it is decoded


@dataclass(frozen=True, slots=True)
class Item:
    """One image to describe.

    Parameters
    ----------
    path : str
        Name of the image in the store: a relative POSIX path.
    image : Source, Fetched or ImageError
        What to read: anything that `vggfeat.images.read` takes, or an object with a method `fetch` that returns the
        bytes of the image file, or the ImageError that says why the image cannot be read.
    label : str, optional
        The label of the image.
    """

    path: str
    image: "Source | Fetched | ImageError"
    label: str | None = None


@runtime_checkable
class Fetched(Protocol):
    """An image file in an archive or at an address; its bytes are read by the worker that decodes it.

    If it has the attribute `far` and this is true, many such files are fetched at the same time.
    """

    def fetch(self) -> bytes:
        """The bytes of the image file. Raises ImageError."""


class Unanswered(ImageError):
    """A file that its source listed but does not send. Many in a row mean that the source is down."""


def utf8(name: str) -> str:
    r"""A file's name as text. Bytes that are not UTF-8 become \xe9; different names stay different."""
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.replace(b"\\", rb"\\").decode(errors="backslashreplace")
    return text.replace("\\", "\\\\") if re.search(r"\\x[89a-f][0-9a-f]", text) else text
