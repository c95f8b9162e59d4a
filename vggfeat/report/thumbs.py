"""Pixels -> a small JPEG inside the page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDE = 160  # of the longer side, in pixels
_QUALITY = 80
_FRAME = (230, 110, 20)  # of the box: seen on light and dark photos alike


def thumbnail(pixels: np.ndarray, side: int = SIDE, box: Sequence[int] | None = None) -> str:
    """A data URI of uint8 (H, W, 3) RGB pixels, the longer side brought to `side` (small images get whole pixels).

    box : x0, y0, x1, y1 as in `data.ImageSet`: framed, the rest dimmed. Files are the caller's to read.
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
