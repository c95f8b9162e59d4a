"""From an image to the net's input: a 224x224 crop of the isotropically rescaled image (Sect. 3.1)."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance
from torch import Tensor

from vggfeat.boxes import rescaled
from vggfeat.images import rescaled_size
from vggfeat.nets.table import CROP
from vggfeat.train.draws import Augmentation

Size = tuple[int, int]  # height and width in pixels


def cut(pixels: np.ndarray, s: int, top: int, left: int, region: Size = (CROP, CROP), side: int = CROP) -> np.ndarray:
    """The crop at (top, left) of uint8 (H, W, 3) pixels rescaled to smallest side `s`: uint8 (side, side, 3).

    region : its height and width there, in pixels.
    Only the crop is computed. It differs by at most one level (of 255) from the same crop of `images.rescale`, which
    does not round.
    """
    height, width = pixels.shape[:2]
    h, w = rescaled_size(height, width, s)
    if (h, w) == (height, width) and region == (side, side):
        return pixels[top : top + side, left : left + side]
    y, x = height / h, width / w
    box = (left * x, top * y, min((left + region[1]) * x, width), min((top + region[0]) * y, height))
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, box=box))


class Window(NamedTuple):
    """The place of a crop in an image that is rescaled to smallest side `s`, and whether it is mirrored then.

    region : its height and width.
    """

    s: int
    top: int
    left: int
    mirrored: bool = False
    region: Size = (CROP, CROP)


def random_window(
    size: Size, scales: tuple[int, int], drawn: Augmentation, flip: bool = True, aspect: float = 1.0
) -> Window:
    """The crop that was drawn, mirrored in half of the cases; S is from scales[0] to scales[1], both included.

    Width to height is from 1 / aspect to aspect, if the image is large enough.
    """
    low, high = scales
    s = low + int(drawn.scale * (high - low + 1))
    h, w = rescaled_size(*size, s)
    root = math.sqrt(aspect) ** (2 * drawn.aspect - 1)
    region = min(round(CROP / root), h), min(round(CROP * root), w)
    top, left = int(drawn.top * (h - region[0] + 1)), int(drawn.left * (w - region[1] + 1))
    return Window(s, top, left, flip and drawn.mirror < 0.5, region)


def centre_window(size: Size, q: int) -> Window:
    """The middle of the image rescaled to smallest side `q`."""
    h, w = rescaled_size(*size, q)
    return Window(q, (h - CROP) // 2, (w - CROP) // 2)


def crop_of(pixels: np.ndarray, window: Window, side: int = CROP) -> np.ndarray:
    """The crop of uint8 (H, W, 3) pixels: uint8 (side, side, 3)."""
    crop = cut(pixels, window.s, window.top, window.left, window.region, side)
    return crop[:, ::-1] if window.mirrored else crop


def jittered(crop: np.ndarray, drawn: Augmentation, strength: float) -> np.ndarray:
    """A uint8 crop with brightness, contrast and saturation multiplied by what was drawn, in this order."""
    if not strength:
        return crop
    image = Image.fromarray(crop)
    changes = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    for change, fraction in zip(changes, drawn.jitter, strict=True):
        image = change(image).enhance(1 + strength * (2 * fraction - 1))
    return np.asarray(image)


def boxes_in(window: Window, boxes: Tensor, size: Size) -> Tensor:
    """Boxes (N, 4) of an image of that size, in pixels of the crop, which they may leave."""
    moved = rescaled(boxes, size, rescaled_size(*size, window.s)) - boxes.new_tensor([window.left, window.top] * 2)
    if window.mirrored:
        moved[:, [0, 2]] = CROP - moved[:, [2, 0]]
    return moved
