"""Read images from many kinds of sources, and rescale them to a smallest side Q (Sect. 3.2)."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vggfeat.errors import ImageError
from vggfeat.reading import check_size, read_file
from vggfeat.spec import MAX_PIXELS

__all__ = [
    "MAX_PIXELS",
    "MAX_RESCALED_PIXELS",
    "RESCALING",
    "Source",
    "check_rescaled",
    "read",
    "rescale",
    "rescaled_size",
]

# str | os.PathLike | bytes | binary file | PIL.Image.Image | np.ndarray | torch.Tensor
Source: TypeAlias = Any

MAX_RESCALED_PIXELS = 2**23  # of an image after rescaling; with the mirrored image, each map of conv1 then takes 4 GiB
RESCALING = "bilinear, antialiased, longer side rounded half up"  # changes the descriptors, so every store records it


def read(
    source: Source, max_pixels: int = MAX_PIXELS, *, exif: bool = True, allow_truncated: bool = False
) -> np.ndarray:
    """Read any image as an RGB array, upright.

    Transparent pixels are laid over white. Of an animation the first frame is taken. Grey of more than 8 bits is scaled
    from its full range to 8 bits; of signed pixels 0 is black, and what lies below it too. CMYK, palette and grey
    become RGB. Colour profiles are ignored.

    Parameters
    ----------
    source : path, bytes, binary file, PIL image, ndarray or Tensor
        The image. An array is uint8 (H, W, 3) in RGB order or grey (H, W), a tensor uint8 (3, H, W) in RGB order.
    max_pixels : int
        The largest number of pixels. Files with more than twice MAX_PIXELS are always refused.
    exif : bool
        Turn the image upright as its EXIF orientation says, or take the pixels as they are stored. HEIC, and a TIFF
        that Pillow has loaded already, are always upright.
    allow_truncated : bool
        Also take an image file that is cut: missing rows or details become grey or black. Of a PIL image it is not
        known whether rows are missing.

    Returns
    -------
    ndarray, uint8, shape (H, W, 3)
        The pixels in RGB order.

    Raises
    ------
    ImageError
        If the image is unreadable, not whole, not a regular file or too large. The message names the file.
    """
    if isinstance(source, np.ndarray | Tensor):
        return _array(source, max_pixels)
    return read_file(source, max_pixels, exif=exif, allow_truncated=allow_truncated)


def _array(array: np.ndarray | Tensor, max_pixels: int) -> np.ndarray:
    tensor = isinstance(array, Tensor)
    shapes = "(3, H, W)" if tensor else "(H, W, 3) or (H, W)"
    layout = array.ndim == 3 and array.shape[0 if tensor else 2] == 3
    if array.dtype not in (torch.uint8, np.uint8) or not (layout or (array.ndim == 2 and not tensor)):
        what, found = "a tensor" if tensor else "an array", f"{array.dtype} {tuple(array.shape)}"
        raise ImageError(f"{what} image must be uint8 of shape {shapes}, not {found}{_remedy(array)}")
    if isinstance(array, Tensor):
        array = array.permute(1, 2, 0).cpu().numpy()
    check_size(array.shape[1], array.shape[0], max_pixels, "array image")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.require(array, requirements=["C", "W"])  # torch warns of read-only arrays


def _remedy(array: np.ndarray | Tensor) -> str:
    """How to make an image of an array, as the end of an error line; empty if that is not known."""
    name, values = ("tensor", ".to(torch.uint8)") if isinstance(array, Tensor) else ("array", ".astype('uint8')")
    kind = str(array.dtype).removeprefix("torch.")
    if kind.startswith(("float", "bfloat")):
        return f"; if its values are 0..1, give ({name} * 255).round(){values}"
    if kind == "bool":
        return f"; give {name}{values} * 255"
    if kind.startswith(("int", "uint")) and kind != "uint8":
        return f"; bring its values to 0..255 and give {name}{values}"
    if array.ndim == 3 and isinstance(array, Tensor) and array.shape[2] == 3:
        return "; give tensor.permute(2, 0, 1)"
    if array.ndim == 3 and not isinstance(array, Tensor):
        last = {1: "array[:, :, 0]", 4: "Image.fromarray(array), and transparent pixels become white"}
        found = last.get(array.shape[2], "array.transpose(1, 2, 0)" if array.shape[0] == 3 else "list(array)")
        return f"; give {found}"
    return ""


def rescaled_size(height: int, width: int, q: int) -> tuple[int, int]:
    """Compute the size after isotropic rescaling.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels.
    q : int
        The smallest side after rescaling, in pixels.

    Returns
    -------
    tuple of int
        Height and width. The longer side is q * longer / shorter, with halves rounded up.

    Examples
    --------
    >>> rescaled_size(375, 500, 256)
    (256, 341)
    """
    short, long = sorted((height, width))
    longer = (2 * q * long + short) // (2 * short)
    return (longer, q) if height > width else (q, longer)


def check_rescaled(height: int, width: int, q: int) -> tuple[int, int]:
    """Compute `rescaled_size`, and refuse images that would become too large.

    Parameters
    ----------
    height, width, q
        As for `rescaled_size`.

    Returns
    -------
    tuple of int
        Height and width.

    Raises
    ------
    ImageError
        If the rescaled image would have more than MAX_RESCALED_PIXELS pixels.
    """
    h, w = rescaled_size(height, width, q)
    if h * w > MAX_RESCALED_PIXELS:
        raise ImageError(
            f"{width}x{height} would become {w}x{h} at Q={q}, more than {MAX_RESCALED_PIXELS:,} pixels; "
            "crop it or leave that scale out"
        )
    return h, w


def rescale(image: Tensor, q: int) -> Tensor:
    """Rescale an image to a smallest side, on the device of the tensor.

    The method is bilinear with antialiasing: the filter widens with the reduction, as in Pillow and torchvision.

    Parameters
    ----------
    image : Tensor, uint8 or float32, shape (3, H, W)
        The pixels, in 0..255.
    q : int
        The smallest side after rescaling, in pixels.

    Returns
    -------
    Tensor, float32, shape (3, h, w)
        The pixels in 0..255, not rounded. If the image has that size already, its values are unchanged.

    Raises
    ------
    ImageError
        As `check_rescaled`.
    """
    size = check_rescaled(image.shape[1], image.shape[2], q)
    pixels = image.to(torch.float32)
    if size == tuple(image.shape[1:]):
        return pixels
    return functional.interpolate(pixels[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
