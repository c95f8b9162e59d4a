"""From an image to the net's input: a 224x224 crop of the isotropically rescaled image (Sect. 3.1)."""

import numpy as np
from PIL import Image

from vggfeat.images import rescaled_size
from vggfeat.nets.table import CROP
from vggfeat.train.draws import Augmentation


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


def random_crop(pixels: np.ndarray, scales: tuple[int, int], drawn: Augmentation, flip: bool = True) -> np.ndarray:
    """The crop that was drawn, mirrored in half of the cases; S is from scales[0] to scales[1], both included."""
    low, high = scales
    s = low + int(drawn.scale * (high - low + 1))
    h, w = rescaled_size(pixels.shape[0], pixels.shape[1], s)
    crop = cut(pixels, s, int(drawn.top * (h - CROP + 1)), int(drawn.left * (w - CROP + 1)))
    return crop[:, ::-1] if flip and drawn.mirror < 0.5 else crop


def centre_crop(pixels: np.ndarray, q: int) -> np.ndarray:
    """The middle of the image rescaled to smallest side `q`."""
    h, w = rescaled_size(pixels.shape[0], pixels.shape[1], q)
    return cut(pixels, q, (h - CROP) // 2, (w - CROP) // 2)
