"""Images, tars and lists of them on the disk, and what a source takes them for."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from vggfeat import sources
from vggfeat.errors import ImageError
from vggfeat.sources.item import Fetched


def photo(path: Path, size=(80, 60), seed=0, **options) -> Path:
    """An image file of (width, height) whose neighbouring pixels are alike; options are Pillow's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


def png(seed=0, size=(20, 16)) -> bytes:
    """A PNG of (width, height) with pixels at random."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def put(path: Path, data: bytes) -> Path:
    """A file, in folders that are made if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def tar(path: Path, files, mode="w") -> Path:
    """A tar of (name, bytes) or TarInfo."""
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
    """(name, label) of each item, and the reason if it cannot be read."""
    return [(i.path, i.label, str(i.image) if isinstance(i.image, ImageError) else None) for i in sources.items(source)]


def names(source):
    """The names of all items."""
    return [item.path for item in sources.items(source)]


def content(item) -> bytes:
    """The bytes of an item's image."""
    if isinstance(item.image, bytes):
        return item.image
    return item.image.fetch() if isinstance(item.image, Fetched) else Path(item.image).read_bytes()
