"""Makers of sources of images, and what is read back from them."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from vggfeat import sources
from vggfeat.errors import ImageError
from vggfeat.sources.item import Fetched


def photo(path: Path, size=(80, 60), seed=0, **options) -> Path:
    """Write an image of (width, height) whose neighbouring pixels are alike; the options are Pillow's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def png(seed=0, size=(20, 16)) -> bytes:
    """A PNG file of random pixels."""
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def put(path: Path, data: bytes) -> Path:
    """Write a file, and its folders if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def tar(path: Path, files, mode="w") -> Path:
    """Write a tar of (name, bytes) or TarInfo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for entry in files:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry, io.BytesIO(bytes(entry.size)))
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return path


def listed(source):
    """(name, label, error text or None) of each image of a source."""
    return [(i.path, i.label, str(i.image) if isinstance(i.image, ImageError) else None) for i in sources.items(source)]


def names(source):
    """The name of each image of a source."""
    return [item.path for item in sources.items(source)]


def content(item) -> bytes:
    """The bytes of an image file."""
    return item.image.fetch() if isinstance(item.image, Fetched) else Path(item.image).read_bytes()
