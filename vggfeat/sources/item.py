"""One image of a source."""

import os
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vggfeat.errors import ImageError
from vggfeat.images import Source

MAX_BYTES = 2**28  # of a file in an archive or at an address; it is read into memory before it is decoded


@dataclass(frozen=True, slots=True)
class Item:
    """An image to describe.

    Parameters
    ----------
    path : str
        Its name in the store, such as cats/1.jpg.
    image : path, bytes, file object, PIL image, array or tensor
        What to read; see `vggfeat.describe`. It may also be an object with a method `fetch() -> bytes`, which is called
        when the image is decoded, or an ImageError, which is the reason why the image cannot be read.
    label : str, optional
        Its class.
    """

    path: str
    image: "Source | Fetched | ImageError"
    label: str | None = None


@runtime_checkable
class Fetched(Protocol):
    """The bytes of an image in an archive or at an address, read by the process that decodes it, when it does.

    If it has an attribute `far` that is true, it is fetched while many others are.
    """

    def fetch(self) -> bytes:
        """Raises ImageError."""


class Unanswered(ImageError):
    """A file that its source listed but does not deliver: one is a failure, many in a row mean that it is down."""


def utf8(name: str) -> str:
    r"""A file's name as text. Bytes that are not UTF-8 are escaped as \xe9, and different names stay different."""
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.replace(b"\\", rb"\\").decode(errors="backslashreplace")
    return text.replace("\\", "\\\\") if re.search(r"\\x[89a-f][0-9a-f]", text) else text


def first_folder(name: str) -> str | None:
    """The label of an image that has no other: cats for cats/1.jpg, None for 1.jpg."""
    return name.split("/")[0] if "/" in name else None
