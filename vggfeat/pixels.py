"""From an image that Pillow has opened to its pixels: tones, transparency, orientation."""

import io
import os
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from vggfeat.errors import ImageError
from vggfeat.formats import CAMERA_RAW, refusal

__all__ = ["black_is_zero", "orientation", "rgb"]

_STRIP = 2**18  # pixels that are converted at once, which bounds the memory
_LARGEST = 2**30  # bytes of a file that is copied
_Tag = ExifTags.Base
_SUBFILE, _SUB_IMAGES, _DNG = 254, 330, 50706  # tags of a TIFF
_REDUCED = 1  # of NewSubfileType: a small version of another image in the file

_TURNS = {  # EXIF orientation -> the turn that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK = {**_TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}  # the others undo themselves


def rgb(image: Image.Image, name: str, exif: bool, load: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """uint8 (H, W, 3) RGB of an image; transparent pixels are white. Raises ImageError that begins with `name`.

    exif : turn it as its EXIF orientation says, or take the pixels as they are stored.
    load : gives the image with its pixels.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})  # of a TIFF; a turned image has none
    if _DNG in tags or (tags.get(_SUBFILE, 0) & _REDUCED and _SUB_IMAGES in tags):  # Pillow would read the preview
        raise ImageError(f"{name}: {refusal(CAMERA_RAW)}")
    transparent = _transparent_tone(image)
    image = _turned(image, exif, load)
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels; convert it to 8 or 16 bits")
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _STRIP // image.width)
    for y in range(0, image.height, rows):
        strip = image.crop((0, y, image.width, min(y + rows, image.height)))
        pixels[y : y + rows] = _strip(strip, tags, transparent, name)
    return pixels


def _strip(image: Image.Image, tags: Mapping[int, Any], transparent: Any, name: str) -> np.ndarray:
    """uint8 (rows, W, 3) RGB of some rows. transparent : the tone or colour that is."""
    if image.mode.startswith("I") or _signed(tags):
        pixels = np.repeat(_to_8_bits(image, tags, name)[:, :, None], 3, axis=2)
    else:
        pixels = _converted(image, keyed=transparent is not None)
    if transparent is not None:
        there = np.asarray(image) == transparent
        pixels[there.all(axis=2) if there.ndim == 3 else there] = 255
    return pixels


def _converted(image: Image.Image, keyed: bool) -> np.ndarray:
    """uint8 (H, W, 3) by Pillow's own conversions. keyed : one tone is transparent, which `rgb` makes white."""
    if image.mode == "La":  # the only mode that Pillow converts in two steps only
        image = image.convert("LA")
    if image.has_transparency_data and not keyed:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"))


def _signed(tags: Mapping[int, Any]) -> bool:
    return 2 in tags.get(_Tag.SampleFormat, ())


def _to_8_bits(image: Image.Image, tags: Mapping[int, Any], name: str) -> np.ndarray:
    """uint8 (H, W) of grey pixels that Pillow leaves as they are stored; its own conversion would clip at 255.

    The range of the stored type becomes 0..255. Of signed pixels 0 is black, and what lies below it too.
    """
    signed, bits = _signed(tags), tags.get(_Tag.BitsPerSample, (16,))[0]
    if signed and bits > 8 and tags.get(_Tag.Compression, 1) != 1 and getattr(tags, "prefix", b"") == b"MM":
        raise ImageError(f"{name}: signed, big-endian and compressed; convert it to unsigned 16 bits")  # bytes swapped
    values = np.asarray(image)
    values = (values.view(np.int8) if image.mode == "L" else values).astype(np.int32, copy=False)
    most = 2 ** (bits - signed) - 1
    if bits > 16 or values.max() > most or (values.min() < 0 and not signed):
        raise ImageError(f"{name}: 32-bit pixels; convert it to 8 or 16 bits")
    values = values.clip(0)
    if tags and tags.get(_Tag.PhotometricInterpretation, 0) == 0:
        values = most - values  # white is zero
    return ((values * 255 + most // 2) // most).astype(np.uint8)


def _transparent_tone(image: Image.Image) -> int | tuple[int, ...] | None:
    """The grey value or colour that a PNG or GIF without alpha says is transparent, as Pillow stores the pixels."""
    tone = image.info.get("transparency")
    if image.mode not in ("1", "L", "RGB", "I;16", "I") or not isinstance(tone, int | tuple):
        return None
    tiles: Any = getattr(image, "tile", None)
    stored = tiles[0][3] if tiles else ""  # Pillow leaves the tone as it is in the file
    if isinstance(tone, tuple):
        return tuple(value >> 8 for value in tone) if stored == "RGB;16B" else tone
    return tone * {"L;2": 85, "L;4": 17}.get(stored, 1)


def _turned(image: Image.Image, exif: bool, load: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """Upright as EXIF says, or as stored. ImageOps.exif_transpose also rewrites the EXIF data, and may fail then."""
    by_pillow = orientation(image) if image.format == "TIFF" else 1  # it turns a TIFF while it loads it
    image = load(image)  # before its EXIF data are read, which may be at the end of a PNG
    turn = _TURNS.get(orientation(image)) if exif else _BACK.get(by_pillow)
    return image if turn is None else image.transpose(turn)


def orientation(image: Image.Image) -> int:
    """How EXIF says that an image lies, 1 to 8; 1 if that is damaged, and of a TIFF that is loaded."""
    try:
        said = image.getexif().get(_Tag.Orientation, 1)
        return said if said in _TURNS else 1
    except Exception:  # the pixels may be right if the EXIF data are damaged
        return 1


def black_is_zero(file: BinaryIO) -> Image.Image | None:
    """Open a TIFF with white as zero of a kind that Pillow reads only with black as zero; None for other files.

    The tags of the image still say that white is zero, so that `rgb` inverts it.
    """
    file.seek(0)
    order = ">" if file.read(8).startswith(b"MM") else "<"
    with suppress(struct.error, UnidentifiedImageError):  # damaged, or of another kind
        file.seek(4)
        (start,) = struct.unpack(f"{order}I", file.read(4))
        file.seek(start)
        (count,) = struct.unpack(f"{order}H", file.read(2))
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack(f"{order}H6xH2x", file.read(12)) == (_Tag.PhotometricInterpretation, 0):
                return _with_black_as_zero(file, f"{order}H", entry + 8)
    return None


def _with_black_as_zero(file: BinaryIO, kind: str, place: int) -> Image.Image | None:
    """place : of the value in the file."""
    if file.seek(0, os.SEEK_END) > _LARGEST:
        return None
    file.seek(0)
    data = bytearray(file.read())
    struct.pack_into(kind, data, place, 1)
    image = Image.open(io.BytesIO(data), formats=["TIFF"])
    image.tag_v2[_Tag.PhotometricInterpretation] = 0  # type: ignore[attr-defined]
    return image
