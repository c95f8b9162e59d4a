"""From an image to the net's input: a 224x224 crop of the isotropically rescaled image (Sect. 3.1)."""

from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from vggfeat.boxes import rescaled
from vggfeat.images import rescaled_size
from vggfeat.nets.table import CROP
from vggfeat.train.draws import Augmentation

Size = tuple[int, int]  # height and width in pixels


def cut(pixels: np.ndarray, s: int, top: int, left: int) -> np.ndarray:
    """The crop at (top, left) of uint8 (H, W, 3) pixels rescaled to smallest side `s`: uint8 (224, 224, 3).

    Only the crop is computed. It differs by at most one level (of 255) from the same crop of `images.rescale`, which
    does not round.
    """
    height, width = pixels.shape[:2]
    h, w = rescaled_size(height, width, s)
    if (h, w) == (height, width):
        return pixels[top : top + CROP, left : left + CROP]
    y, x = height / h, width / w
    box = (left * x, top * y, min((left + CROP) * x, width), min((top + CROP) * y, height))
    return np.asarray(Image.fromarray(pixels).resize((CROP, CROP), Image.Resampling.BILINEAR, box=box))


class Window(NamedTuple):
    """The place of a crop in an image that is rescaled to smallest side `s`, and whether it is mirrored then."""

    s: int
    top: int
    left: int
    mirrored: bool = False


def random_window(size: Size, scales: tuple[int, int], drawn: Augmentation, flip: bool = True) -> Window:
    """The crop that was drawn, mirrored in half of the cases; S is from scales[0] to scales[1], both included."""
    low, high = scales
    s = low + int(drawn.scale * (high - low + 1))
    h, w = rescaled_size(*size, s)
    return Window(s, int(drawn.top * (h - CROP + 1)), int(drawn.left * (w - CROP + 1)), flip and drawn.mirror < 0.5)


def centre_window(size: Size, q: int) -> Window:
    """The middle of the image rescaled to smallest side `q`."""
    h, w = rescaled_size(*size, q)
    return Window(q, (h - CROP) // 2, (w - CROP) // 2)


def crop_of(pixels: np.ndarray, window: Window) -> np.ndarray:
    """The crop of uint8 (H, W, 3) pixels: uint8 (224, 224, 3)."""
    crop = cut(pixels, window.s, window.top, window.left)
    return crop[:, ::-1] if window.mirrored else crop


def boxes_in(window: Window, boxes: Tensor, size: Size) -> Tensor:
    """Boxes (N, 4) of an image of that size, in pixels of the crop, which they may leave."""
    moved = rescaled(boxes, size, rescaled_size(*size, window.s)) - boxes.new_tensor([window.left, window.top] * 2)
    if window.mirrored:
        moved[:, [0, 2]] = CROP - moved[:, [2, 0]]
    return moved
