"""Read image files: paths, bytes, binary files and PIL images. Without torch, which takes a second to import."""

import io
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from vggfeat import formats, netpbm
from vggfeat._util import regular_files
from vggfeat._util.printable import reason_of
from vggfeat.errors import ImageError
from vggfeat.formats import FORMATS
from vggfeat.pixels import black_is_zero, rgb
from vggfeat.spec import MAX_PIXELS
from vggfeat.truncation import lacking, loaded

__all__ = ["NO_MEMORY", "Opened", "check_size", "open_regular", "opened", "read_file"]

NO_MEMORY = "not enough memory to decode it; reduce it first, or decode fewer at once"
_IS_CUT = re.compile("truncated|missing")  # in Pillow's words and ours
_REMEDY = "; copy it again, or give --allow-truncated to take what is there"

# Bytes of memory for each pixel: in Pillow's modes (others take 4), and in the decoders beside the pixels (measured).
_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_DECODERS = {"PNG": 1, "BMP": 3, "GIF": 3, "PPM": 2, "JPEG": 6, "MPO": 6, "TIFF": 9, "WEBP": 14, "JPEG2000": 18}
_DECODER = 20  # of the others
_RGB = 3
_SLACK = 2**24  # bytes for the rows that are converted at once, tags, tables


@dataclass(frozen=True)
class Opened:
    """An image whose header was read, but not its pixels.

    name : with which each message begins. file : it has `size` bytes; None for a PIL image.
    """

    image: Image.Image
    name: str
    max_pixels: int
    file: BinaryIO | None = None
    size: int = 0

    @property
    def memory(self) -> int:
        """An upper estimate of the bytes of memory that `pixels` takes, the result included."""
        image = self.image
        stored, beside = _MODES.get(image.mode, 4), _DECODERS.get(image.format or "", _DECODER)
        each = 2 * stored + _RGB + beside  # twice: stored and turned, or decoded again to compare
        return each * image.width * image.height + 2 * self.size + _SLACK

    def pixels(self, *, exif: bool = True, allow_truncated: bool = False) -> np.ndarray:
        """uint8 (H, W, 3) RGB. Raises ImageError, also if rows or details are missing and that is not allowed."""
        with _decoding(self.name, self.max_pixels):
            return rgb(self.image, self.name, exif, partial(self._load, allow_truncated=allow_truncated))

    def _load(self, image: Image.Image, allow_truncated: bool) -> Image.Image:
        """The image with its pixels. Raises OSError, and ImageError if some are missing."""
        if self.file is None:
            image.load()
            return image
        try:
            if image.format == "PPM" and (made := netpbm.decoded(image, self.file, rest=allow_truncated)):
                return made
            image = loaded(image, self.file, rest=allow_truncated)
        except OSError as error:
            if allow_truncated or not _IS_CUT.search(str(error)):
                raise
            raise ImageError(f"{self.name}: cannot be decoded ({reason_of(error)}){_REMEDY}") from error
        if not allow_truncated and (lack := lacking(image, self.file)):
            raise ImageError(f"{self.name}: {lack}{_REMEDY}")
        return image


def read_file(
    source: Any, max_pixels: int = MAX_PIXELS, *, exif: bool = True, allow_truncated: bool = False
) -> np.ndarray:
    """uint8 (H, W, 3) RGB of a path, bytes, a binary file or a PIL image, as `vggfeat.images.read` describes it.

    Raises ImageError that names the file.
    """
    with opened(source, max_pixels) as image:
        return image.pixels(exif=exif, allow_truncated=allow_truncated)


@contextmanager
def opened(source: Any, max_pixels: int = MAX_PIXELS) -> Iterator[Opened]:
    """Read the header of an image. Raises ImageError, also for too many pixels."""
    with ExitStack() as stack:
        if isinstance(source, Image.Image):
            name = str(getattr(source, "filename", "") or "image")
            found = Opened(source, name, max_pixels)
        else:
            file, name = _binary(source)
            if isinstance(source, str | os.PathLike):
                stack.enter_context(file)
            with _decoding(name, max_pixels):
                file = _seekable(file)
                size = file.seek(0, os.SEEK_END)
                image = stack.enter_context(_open(file, name, max_pixels))
            found = Opened(image, name, max_pixels, file, size)
        check_size(*found.image.size, max_pixels, name)
        yield found


def _binary(source: Any) -> tuple[BinaryIO, str]:
    """A binary file, and its name for messages."""
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        return open_regular(Path(name)), str(name)
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(source), f"image of {len(source)} bytes"
    if hasattr(source, "read"):
        return source, str(getattr(source, "name", "image file"))
    raise ImageError(f"an image cannot be a {type(source).__name__}; give a path, bytes, PIL image or array")


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file. Raises ImageError that names it."""
    try:
        return regular_files.open_regular(path)
    except OSError as error:
        raise ImageError(f"{path}: {reason_of(error)}") from error


def _seekable(file: BinaryIO) -> BinaryIO:
    try:
        file.seek(0)
    except (AttributeError, OSError):  # a stream
        return io.BytesIO(file.read())
    return file


def _open(file: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    """Open an image. Raises ImageError for other files, also for camera raw: Pillow would read its preview."""
    file.seek(0)
    head = file.read(formats.HEAD)
    kind = formats.kind(head)
    if not head:
        raise ImageError(f"{name}: is empty")
    if canvas := formats.webp_size(head):  # Pillow makes the memory for two of them as it opens the file
        check_size(*canvas, max_pixels, name)
    try:
        if kind != formats.CAMERA_RAW:
            return Image.open(file, formats=_readable(FORMATS))
    except UnidentifiedImageError:
        if kind == "TIFF" and (image := black_is_zero(file)):
            return image
        if kind == formats.HEIC and (reader := _readable(["HEIF"])):
            return Image.open(file, formats=reader)
        if kind in FORMATS and not _readable([kind]):
            raise ImageError(f"{name}: is {kind}, which this Pillow lacks; pip install --upgrade pillow") from None
    raise ImageError(f"{name}: {formats.refusal(kind)}")


def _readable(wanted: Iterable[str]) -> list[str]:
    """The wanted formats that Pillow can read on this machine; HEIF needs pillow-heif."""
    if "HEIF" in wanted:
        with suppress(ImportError):
            import_module("pillow_heif").register_heif_opener()
    Image.init()
    return [name for name in wanted if name in Image.OPEN]


@contextmanager
def _decoding(name: str, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: more than {min(max_pixels, MAX_PIXELS):,} pixels; reduce it first") from error
    except MemoryError as error:
        raise ImageError(f"{name}: {NO_MEMORY}") from error
    except Exception as error:  # on damaged files, decoders raise OSError, SyntaxError, struct.error, ...
        raise ImageError(f"{name}: cannot be decoded ({reason_of(error)})") from error


def check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    """Raise ImageError that begins with `name` for an image without pixels, or with too many."""
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width}x{height} is more than {max_pixels:,} pixels; reduce it first")
