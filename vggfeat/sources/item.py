"""An image of a source."""

import os
import re
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vggfeat.errors import ImageError
from vggfeat.images import Source


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
    listed : bool
        Whether the source has listed the file, so that it should be there.
    """

    path: str
    image: "Source | Fetched | ImageError"
    label: str | None = None
    listed: bool = False

    def is_unanswered(self, error: ImageError) -> bool:
        """Whether an error means that the source may be down or gone.

        Parameters
        ----------
        error : ImageError
            Why the image cannot be read.

        Returns
        -------
        bool
        """
        return isinstance(error, Unanswered) or (
            self.listed and isinstance(self.image, str | os.PathLike) and is_gone(self.image)
        )


@runtime_checkable
class Fetched(Protocol):
    """An image file in an archive or at an address; its bytes are read by the worker that decodes it.

    If it has the attribute `far` and this is true, many such files are fetched at the same time.
    """

    def fetch(self) -> bytes:
        """The bytes of the image file. Raises ImageError."""


class Unanswered(ImageError):
    """A file that its source listed but does not send. Many in a row mean that the source is down."""


def is_gone(file: str | os.PathLike[str]) -> bool:
    """Whether a file or folder is not there any more, or its disk does not answer."""
    try:
        os.stat(file)  # noqa: PTH116  (Path.exists takes some errors for an answer)
    except PermissionError:
        return False
    except (OSError, ValueError):
        return True
    return False


def utf8(name: str) -> str:
    r"""A file's name as text. Bytes that are not UTF-8 become \xe9; different names stay different."""
    raw = os.fsencode(name)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw.replace(b"\\", rb"\\").decode(errors="backslashreplace")
    return text.replace("\\", "\\\\") if re.search(r"\\x[89a-f][0-9a-f]", text) else text
