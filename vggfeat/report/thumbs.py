"""Thumbnails as small JPEGs inside the page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDE = 160  # the longer side, in pixels
_QUALITY = 80
_FRAME = (230, 110, 20)  # visible on light and dark photos


def thumbnail(pixels: np.ndarray, side: int = SIDE, box: Sequence[int] | None = None) -> str:
    """Make a thumbnail as a data URI.

    Parameters
    ----------
    pixels : ndarray, uint8, shape (H, W, 3), RGB
    side : int
        Longer side of the thumbnail in pixels. An image of at most half that size is enlarged by a whole number.
    box : sequence of int, optional
        x0, y0, x1, y1 as in `vggfeat.data.ImageSet`; the box gets a frame, and the rest of the image is dimmed.

    Returns
    -------
    str
        A JPEG as "data:image/jpeg;base64,...".
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = side / max(image.size)
    if scale >= 2:
        scale = float(int(scale))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)
    if box is not None:
        image = _framed(image, [round(corner * scale) for corner in box])
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _framed(image: Image.Image, box: list[int]) -> Image.Image:
    x0, x1 = sorted(min(max(x, 0), image.width - 1) for x in (box[0], box[2] - 1))
    y0, y1 = sorted(min(max(y, 0), image.height - 1) for y in (box[1], box[3] - 1))
    mask = Image.new("L", image.size, 115)
    ImageDraw.Draw(mask).rectangle((x0, y0, x1, y1), fill=255)
    framed = Image.composite(image, Image.new("RGB", image.size, "white"), mask)
    ImageDraw.Draw(framed).rectangle((x0, y0, x1, y1), outline=_FRAME, width=2)
    return framed
