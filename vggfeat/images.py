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
    check_array(array)
    if isinstance(array, Tensor):
        array = array.permute(1, 2, 0).cpu().numpy()
    check_size(array.shape[1], array.shape[0], max_pixels, "array image")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.require(array, requirements=["C", "W"])  # torch warns of read-only arrays


def check_array(array: np.ndarray | Tensor, batch: bool = False) -> None:
    """Raise ImageError for an array or tensor that is no image, or no batch of images."""
    tensor = isinstance(array, Tensor)
    layout = array.ndim == 3 + batch and array.shape[-3 if tensor else -1] == 3
    grey = array.ndim == 2 and not (tensor or batch)
    if array.dtype in (torch.uint8, np.uint8) and (layout or grey):
        return
    name, shape = ("a tensor", "3, H, W") if tensor else ("an array", "H, W, 3")
    if batch:
        wanted = f"a batch of images as {name} must be uint8 of shape (N, {shape})"
    else:
        wanted = f"{name} image must be uint8 of shape ({shape}){'' if tensor else ' or (H, W)'}"
    raise ImageError(f"{wanted}, not {array.dtype} {tuple(array.shape)}{_remedy(array, batch)}")


def _remedy(array: np.ndarray | Tensor, batch: bool) -> str:
    """How to make images of an array, as the end of an error line; empty if that is not known."""
    values = ".to(torch.uint8)" if isinstance(array, Tensor) else ".astype('uint8')"
    kind, code = str(array.dtype).removeprefix("torch."), _in_layout(array, batch)
    if not code or kind == "uint8":
        return f"; give {code}" if code else ""
    if kind.startswith(("float", "bfloat")):
        high = float((array.detach() if isinstance(array, Tensor) else array).max()) if 0 not in array.shape else 0.0
        if high > 2:  # not in 0..1, rounding aside
            return f"; if its values are 0..255, give {code}.round(){values}"
        maps = ", or give the batch to vggfeat.backbone(...), which takes 0..1" if batch else ""
        return f"; if its values are 0..1, give ({code} * 255).round(){values}{maps}"
    if kind == "bool":
        return f"; give {code}{values} * 255"
    if kind.startswith(("int", "uint")):
        return f"; bring its values to 0..255 and give {code}{values}"
    return ""


def _in_layout(array: np.ndarray | Tensor, batch: bool) -> str:
    """The code that brings the axes of an array into the order of images; empty if that is not known."""
    if array.ndim == 2 and not batch:
        return "tensor.expand(3, -1, -1)" if isinstance(array, Tensor) else "array"
    if array.ndim != 3 + batch:
        return ""
    first, last = array.shape[-3], array.shape[-1]
    if isinstance(array, Tensor):
        if last == 3 and first != 3:
            return f"tensor.permute({'0, 3, 1, 2' if batch else '2, 0, 1'})"
        return {3: "tensor", 1: f"tensor.expand({'-1, ' * batch}3, -1, -1)"}.get(first, "")
    if first == 3 and last != 3:
        return f"array.transpose({'0, 2, 3, 1' if batch else '1, 2, 0'})"
    if batch:
        return {3: "array", 1: "list(array[..., 0])"}.get(last, "")
    transparent = "Image.fromarray(array), and transparent pixels become white"
    return {3: "array", 1: "array[:, :, 0]", 4: transparent}.get(last, "list(array)")


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
    image : Tensor, uint8 or float32, shape (3, H, W), or (N, 3, H, W) for N images of one size
        The pixels, in 0..255.
    q : int
        The smallest side after rescaling, in pixels.

    Returns
    -------
    Tensor, float32, shape (3, h, w) or (N, 3, h, w)
        The pixels in 0..255, not rounded. If the image has that size already, its values are unchanged.

    Raises
    ------
    ImageError
        As `check_rescaled`.
    """
    size = check_rescaled(image.shape[-2], image.shape[-1], q)
    pixels = image.to(torch.float32)
    if size == tuple(image.shape[-2:]):
        return pixels
    if image.ndim == 3:
        return rescale(image[None], q)[0]
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
