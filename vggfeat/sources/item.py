"""An image of a source."""

import os
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vggfeat.errors import ImageError
from vggfeat.images import Source

MAX_BYTES = 2**28  # of a file in an archive or at an address, which is read into memory before it is decoded


@dataclass(frozen=True, slots=True)
class Item:
    """An image to describe: its name in the store (relative, POSIX), what to read, and its label if any.

    image : anything `vggfeat.images.read` takes, something to be fetched first, or the ImageError that says why
        there is nothing to read.
    """

    path: str
    image: "Source | Fetched | ImageError"
    label: str | None = None


@runtime_checkable
class Fetched(Protocol):
    """The bytes of an image that lie in an archive or far away; read when, and where, the image is decoded.

    One that has the attribute `far`, and it is true, may be fetched beside many others.
    """

    def fetch(self) -> bytes:
        """Raises ImageError."""


class Unanswered(ImageError):
    """A file that its source listed, and doesn't give. One is a failure; many on end mean that the source is down."""


def utf8(name: str) -> str:
    r"""A file's name as text; bytes that aren't UTF-8 are escaped as \xe9, and never two names as the same text."""
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.replace(b"\\", rb"\\").decode(errors="backslashreplace")
    return text.replace("\\", "\\\\") if re.search(r"\\x[89a-f][0-9a-f]", text) else text
