"""Find what an image file lacks. Decoders do not report it: they fill missing rows with grey or other bytes.

jpeg       data that end too early, scans and restart intervals that were lost
tiff       strips and tiles that are empty, short or outside the file
png        data that end after a whole row
jpeg2000   tiles that were lost
"""

import io
import os
from contextlib import suppress
from typing import BinaryIO

from PIL import Image

from vggfeat.truncation import jpeg, jpeg2000, png, tiff

__all__ = ["lacking", "loaded"]

_JPEGS = ("JPEG", "MPO")


def lacking(image: Image.Image, file: BinaryIO) -> str | None:
    """Say what a file lacks of the image that was decoded from it.

    Parameters
    ----------
    image : PIL.Image.Image
        The image, with its pixels.
    file : binary file
        The file from which it was decoded.

    Returns
    -------
    str or None
        Such as "rows 213 to 375 of 375 are missing"; None if nothing is.
    """
    if image.format in _JPEGS:
        return jpeg.lacking(image, file)
    if image.format == "TIFF":
        return tiff.lacking(image, file)
    if image.format == "PNG":
        return png.lacking(image, file)
    return jpeg2000.lacking(file) if image.format == "JPEG2000" else None


def loaded(image: Image.Image, file: BinaryIO, rest: bool) -> Image.Image:
    """Decode the pixels of an image.

    Parameters
    ----------
    image : PIL.Image.Image
        The image, of which the header was read.
    file : binary file
        The file from which it was opened.
    rest : bool
        Take what can be decoded of a file that is cut.

    Returns
    -------
    PIL.Image.Image
        The image with its pixels: the same, or one that was opened again.

    Raises
    ------
    OSError
        If the image cannot be decoded.
    """
    try:
        image.load()
        return image
    except OSError as error:
        if image.format == "TIFF" and not rest and (where := tiff.outside(image, file.seek(0, os.SEEK_END))):
            raise OSError(where) from error
        if not rest:
            raise
        if image.format in _JPEGS:
            return _ended(file)
        image.tile = []  # type: ignore[attr-defined]  # Pillow then takes the pixels as they are
        with suppress(OSError):
            image.load()
            if image.format == "TIFF":
                image.load_end()  # type: ignore[attr-defined]  # turns it, as it does for a whole file
            return image
        raise


def _ended(file: BinaryIO) -> Image.Image:
    """The JPEG of a file that has no end."""
    file.seek(0)
    image = Image.open(io.BytesIO(file.read() + b"\xff\xd9"), formats=["JPEG"])
    image.load()
    return image
