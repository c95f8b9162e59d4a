"""Images: reading anything a user holds, and the isotropic rescaling to a smallest side Q (Sect. 3.2)."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from vggfeat.errors import ImageError

# str | os.PathLike | bytes | binary file | PIL.Image.Image | np.ndarray | torch.Tensor
Source: TypeAlias = Any

# Only formats that decode without an outside program (EPS would start one) are tried.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")

MAX_PIXELS = 89_478_485  # of an image as it is read; from there on Pillow suspects a decompression bomb
MAX_RESCALED_PIXELS = 2**23  # of an image after rescaling; conv1's maps then take 4 GiB each, with the mirror
RESCALING = "bilinear, antialiased, longer side rounded half up"  # decides numbers: recorded with every store

_TURNS = {  # EXIF orientation -> what makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read(source: Source, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Any image as uint8 (H, W, 3) in RGB order, as a person sees it.

    `source` is a path, bytes, a binary file object, a PIL image, a numpy array uint8 (H, W, 3) RGB or
    (H, W) grey, or a torch tensor uint8 (3, H, W) RGB. The EXIF orientation is applied; transparency is
    laid over white; of an animation the first frame is taken; 16-bit grey is brought to 8 bits over its full
    range; CMYK, palette and grey become RGB. Colour profiles are ignored.

    Raises ImageError, naming the file, for what can't be read, isn't a regular file or has more than
    `max_pixels` pixels (in a file, never more than twice MAX_PIXELS).
    """
    if isinstance(source, np.ndarray | Tensor):
        return _array(source, max_pixels)
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "image")
        with _decoding(name, max_pixels):
            return _pixels(source, max_pixels, name)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        with _open_regular(Path(name)) as file:
            return _decoded(file, name, max_pixels)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(source), f"image of {len(source)} bytes", max_pixels)
    if hasattr(source, "read"):
        return _decoded(source, str(getattr(source, "name", "image file")), max_pixels)
    raise ImageError(f"an image can't be a {type(source).__name__}; give a path, bytes, PIL image or array")


def _array(array: np.ndarray | Tensor, max_pixels: int) -> np.ndarray:
    if isinstance(array, Tensor):
        if array.dtype != torch.uint8 or array.ndim != 3 or array.shape[0] != 3:
            raise ImageError(f"a tensor image must be uint8 of shape (3, H, W), not {array.dtype} {tuple(array.shape)}")
        array = array.permute(1, 2, 0).cpu().numpy()
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ImageError(f"an array image must be uint8 of shape (H, W, 3) or (H, W), not {array.dtype} {array.shape}")
    _check_size(array.shape[1], array.shape[0], max_pixels, "array image")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.require(array, requirements=["C", "W"])  # torch warns of arrays that can't be written to


def _open_regular(path: Path) -> BinaryIO:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for ever
            raise ImageError(f"{path}: not a regular file")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _decoded(file: BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    with _decoding(name, max_pixels):
        try:
            with Image.open(file, formats=FORMATS) as image:
                return _pixels(image, max_pixels, name)
        except UnidentifiedImageError as error:
            empty = getattr(file, "seekable", bool)() and file.seek(0, os.SEEK_END) == 0
            what = "is empty" if empty else f"not an image ({', '.join(FORMATS)})"
            raise ImageError(f"{name}: {what}") from error


@contextmanager
def _decoding(name: str, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: more than {min(max_pixels, MAX_PIXELS):,} pixels; reduce it first") from error
    except Exception as error:  # given hostile bytes, decoders raise OSError, SyntaxError, struct.error, ...
        raise ImageError(f"{name}: can't be decoded ({error or type(error).__name__})") from error


def _pixels(image: Image.Image, max_pixels: int, name: str) -> np.ndarray:
    _check_size(*image.size, max_pixels, name)
    upright = _upright(image)
    if upright.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255
        grey = np.asarray(upright).astype(np.int32, copy=False)
        if grey.min() < 0 or grey.max() > 65535:
            raise ImageError(f"{name}: 32-bit pixels; convert it to 8 or 16 bits")
        return np.repeat(((grey * 255 + 32767) // 65535).astype(np.uint8)[:, :, None], 3, axis=2)
    if upright.mode == "F":
        raise ImageError(f"{name}: floating-point pixels; convert it to 8 or 16 bits")
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        upright = Image.alpha_composite(white, rgba)
    return np.array(upright.convert("RGB"))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says. ImageOps.exif_transpose also rewrites the EXIF data, and fails on odd ones."""
    image.load()  # of a PNG the EXIF data may come last, and a TIFF is turned while it is loaded
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data don't spoil the pixels
        return image
    return image if turn is None else image.transpose(turn)


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width}x{height} is more than {max_pixels:,} pixels; reduce it first")


def rescaled_size(height: int, width: int, q: int) -> tuple[int, int]:
    """(height, width) after isotropic rescaling to smallest side `q`.

    The smaller side becomes q exactly, the longer one q * longer / shorter rounded half up, in integers.

    >>> rescaled_size(375, 500, 256)
    (256, 341)
    """
    short, long = sorted((height, width))
    longer = (2 * q * long + short) // (2 * short)
    return (longer, q) if height > width else (q, longer)


def check_rescaled(height: int, width: int, q: int) -> tuple[int, int]:
    """`rescaled_size`; raises ImageError where that would have more than MAX_RESCALED_PIXELS pixels."""
    h, w = rescaled_size(height, width, q)
    if h * w > MAX_RESCALED_PIXELS:
        raise ImageError(
            f"{width}x{height} would become {w}x{h} at Q={q}, more than {MAX_RESCALED_PIXELS:,} pixels; "
            "crop it or leave that scale out"
        )
    return h, w


def rescale(image: Tensor, q: int) -> Tensor:
    """Rescale uint8, or the same as float32, (3, H, W) to smallest side `q`: float32 (3, h, w) in 0..255, not rounded.

    Bilinear with antialiasing (the filter widens with the reduction, as in Pillow and torchvision), on the
    tensor's own device. An image that has that size already keeps its values. Raises ImageError as
    `check_rescaled` does.
    """
    size = check_rescaled(image.shape[1], image.shape[2], q)
    pixels = image.to(torch.float32)
    if size == tuple(image.shape[1:]):
        return pixels
    return functional.interpolate(pixels[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
