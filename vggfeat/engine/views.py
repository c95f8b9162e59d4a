"""What of an image goes through the nets: the whole, a grid of crops, or a box."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from vggfeat.errors import ImageError, UsageError
from vggfeat.images import Source
from vggfeat.nets import CROP


class View(Protocol):
    """How an image is cut. Views are frozen, so that equal ones give equal values."""

    def source(self, image: Any) -> Source:
        """What to read for an image."""

    def cut(self, pixels: np.ndarray, image: Any) -> np.ndarray:
        """The part of the pixels that counts, uint8 (h, w, 3) RGB. Raises ImageError, naming the image."""

    def pieces(self, rescaled: Tensor) -> list[Tensor]:
        """The parts of an image (3, h, w) rescaled to one scale; their values are averaged."""

    def facts(self) -> dict[str, Any]:
        """What the view adds to the fingerprint of its values."""


@dataclass(frozen=True)
class Whole:
    """The whole uncropped image: dense evaluation (Sect. 3.2)."""

    def source(self, image: Source) -> Source:
        """The image itself."""
        return image

    def cut(self, pixels: np.ndarray, _: Source) -> np.ndarray:
        """All pixels."""
        return pixels

    def pieces(self, rescaled: Tensor) -> list[Tensor]:
        """The image as its only piece."""
        return [rescaled]

    def facts(self) -> dict[str, Any]:
        """What the view adds to a fingerprint."""
        return {}


@dataclass(frozen=True)
class Grid:
    """A regular grid of 224x224 crops (Sect. 3.2, multi-crop).

    Parameters
    ----------
    side : int
        Crops per side. The outer ones touch the borders of the rescaled image, the others are at equal distances, so
        that for an odd number the middle one is the centre crop.

    Raises
    ------
    UsageError
        If `side` is below 1.
    """

    side: int = 5

    def __post_init__(self) -> None:
        if self.side < 1:
            raise UsageError(f"a grid has at least 1 crop per side, not {self.side}")

    def source(self, image: Source) -> Source:
        """The image itself."""
        return image

    def cut(self, pixels: np.ndarray, _: Source) -> np.ndarray:
        """All pixels."""
        return pixels

    def pieces(self, rescaled: Tensor) -> list[Tensor]:
        """The crops, row by row."""
        corners = grid_corners(rescaled.shape[1], rescaled.shape[2], self.side)
        return [rescaled[:, y : y + CROP, x : x + CROP] for y, x in corners]

    def facts(self) -> dict[str, Any]:
        """What the view adds to a fingerprint."""
        return {"grid": self.side, "crop": CROP}


class Region(NamedTuple):
    """A part of an image.

    Attributes
    ----------
    image : path, bytes, file object, PIL image, array or tensor
    box : (int, int, int, int)
        x0, y0, x1, y1 in pixels from 0, of the image as it is read; the part is image[y0:y1, x0:x1].
    """

    image: Source
    box: tuple[int, int, int, int]

    def __str__(self) -> str:
        return f"{self.image}, box {','.join(map(str, self.box))}"


@dataclass(frozen=True)
class Box:
    """A box in the image, clipped to it, as an image of its own; the images are Regions (Appendix B, actions)."""

    def source(self, image: Region) -> Source:
        """The whole image."""
        return image.image

    def cut(self, pixels: np.ndarray, image: Region) -> np.ndarray:
        """The pixels in the box. Raises ImageError if it lies outside the image."""
        x0, y0, x1, y1 = image.box
        part = pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
        if not part.size:
            height, width = pixels.shape[:2]
            raise ImageError(f"{image}: lies outside the image of {width}x{height}; correct the annotation")
        return np.ascontiguousarray(part)

    def pieces(self, rescaled: Tensor) -> list[Tensor]:
        """The image as its only piece."""
        return [rescaled]

    def facts(self) -> dict[str, Any]:
        """What the view adds to a fingerprint."""
        return {"part": "box, clipped to the image"}


def grid_corners(height: int, width: int, side: int = 5) -> list[tuple[int, int]]:
    """(y, x) of the upper left corners of side x side crops, row by row; both sides are CROP pixels at least.

    >>> grid_corners(224, 233, 2)
    [(0, 0), (0, 9), (0, 0), (0, 9)]
    >>> grid_corners(256, 341, 1)  # the centre crop
    [(16, 58)]
    """
    return [(y, x) for y in _starts(height - CROP, side) for x in _starts(width - CROP, side)]


def _starts(room: int, side: int) -> list[int]:
    """`side` whole numbers from 0 to `room` at equal distances, rounded half down; the middle for one."""
    if side == 1:
        return [room // 2]
    steps = side - 1
    return [(2 * i * room + steps - 1) // (2 * steps) for i in range(side)]
