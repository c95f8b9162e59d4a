"""Boxes of objects: their code relative to a window, their way through rescale and crop, and how they overlap.

A box is x0, y0, x1, y1: the places of its edges in pixels, from 0. The right and the lower edge lie outside the last
pixel, so that a box of the whole image is 0, 0, width, height.
"""

import torch
from torch import Tensor
from torchvision import ops

__all__ = ["SIDE", "clipped", "decode", "encode", "inside", "iou", "rescaled"]

SIDE = 224  # of a window: a crop in training, a place of the dense application in the test


def encode(boxes: Tensor, windows: Tensor, side: float = SIDE) -> Tensor:
    """Compute the codes of boxes, which a net learns to predict.

    Parameters
    ----------
    boxes : Tensor, float, shape (N, 4)
        x0, y0, x1, y1 in pixels.
    windows : Tensor, float, shape (N, 2)
        x, y of the upper left corner of each window, in pixels of the same image.
    side : float
        The side of the windows, in pixels.

    Returns
    -------
    Tensor, float, shape (N, 4)
        cx, cy, w, h: from the centre of the window to the centre of the box, and the size of the box. The unit is the
        side of the window. A box that is the window has the code 0, 0, 1, 1.

    References
    ----------
    Appendix A.1.

    Examples
    --------
    >>> encode(torch.tensor([[0.0, 56.0, 112.0, 168.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([[-0.2500,  0.0000,  0.5000,  0.5000]])
    """
    first, last = boxes[:, :2], boxes[:, 2:]
    centres = (first + last) / 2 - (windows + side / 2)
    return torch.cat([centres, last - first], dim=1) / side


def decode(codes: Tensor, windows: Tensor, side: float = SIDE) -> Tensor:
    """Compute the boxes of codes, the inverse of `encode`.

    Parameters
    ----------
    codes : Tensor, float, shape (N, 4)
        cx, cy, w, h, as `encode` gives them. A net may predict a negative width or height; it counts as 0.
    windows, side
        As for `encode`.

    Returns
    -------
    Tensor, float, shape (N, 4)
        x0, y0, x1, y1 in pixels, not clipped to the image.
    """
    centres = codes[:, :2] * side + (windows + side / 2)
    halves = codes[:, 2:].clamp(min=0) * (side / 2)
    return torch.cat([centres - halves, centres + halves], dim=1)


def rescaled(boxes: Tensor, size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Move boxes from an image to the same image of another size.

    Parameters
    ----------
    boxes : Tensor, float, shape (N, 4)
        x0, y0, x1, y1 in pixels.
    size, new_size : tuple of int
        Height and width of the image, before and after. `images.rescaled_size` rounds the longer side, so each axis has
        its own factor.

    Returns
    -------
    Tensor, float, shape (N, 4)
    """
    (height, width), (new_height, new_width) = size, new_size
    return boxes * boxes.new_tensor([new_width / width, new_height / height] * 2)


def inside(boxes: Tensor, windows: Tensor, side: float = SIDE) -> Tensor:
    """Compute how much of each box lies inside its window.

    Parameters
    ----------
    boxes, windows, side
        As for `encode`.

    Returns
    -------
    Tensor, float, shape (N,)
        The share of the area of the box, in 0..1; 0 for an empty box.
    """
    first = torch.maximum(boxes[:, :2], windows)
    last = torch.minimum(boxes[:, 2:], windows + side)
    common = (last - first).clamp(min=0).prod(dim=1)
    return torch.nan_to_num(common / ops.box_area(boxes))


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union of each box of one set with each of another.

    Parameters
    ----------
    a : Tensor, float, shape (N, 4)
    b : Tensor, float, shape (M, 4)
        x0, y0, x1, y1 in pixels.

    Returns
    -------
    Tensor, float, shape (N, M)
        In 0..1; 0 for two empty boxes.

    Examples
    --------
    >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
    tensor([[0.3333]])
    """
    return torch.nan_to_num(ops.box_iou(a, b))


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut boxes at the edges of the image.

    Parameters
    ----------
    boxes : Tensor, float, shape (N, 4)
        x0, y0, x1, y1 in pixels.
    size : tuple of int
        Height and width of the image.

    Returns
    -------
    Tensor, float, shape (N, 4)
        A box that lies outside the image becomes empty.
    """
    return ops.clip_boxes_to_image(boxes, size)
