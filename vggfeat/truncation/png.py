"""PNG files that lack rows. Pillow does not notice it if their data end after a whole row."""

import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from vggfeat.truncation.jpeg import rows_text

__all__ = ["lacking"]

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by the type of colour
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7
_BLOCK = 2**20  # bytes that are unpacked at once


def lacking(image: Image.Image, file: BinaryIO) -> str | None:
    """What the file lacks of the image that was decoded from it; None if nothing."""
    file.seek(16)
    head = file.read(13)
    width, height, interlaced = int.from_bytes(head[:4]), int.from_bytes(head[4:8]), head[12] == 1
    last = image.crop((0, height - 1, width, height))
    if not interlaced and np.asarray(last).any():  # Pillow leaves 0 where it has no data
        return None
    bits = head[8] * _SAMPLES[head[9]]
    there = sum(len(data) for data in _unpacked(file))
    sizes = [_size(-(-(width - x) // dx), -(-(height - y) // dy), bits) for x, y, dx, dy in _PASSES]
    needed = sum(sizes) if interlaced else _size(width, height, bits)
    if there >= needed:
        return None
    return rows_text(0 if interlaced else there // _size(width, 1, bits), height, height)


def _size(width: int, height: int, bits: int) -> int:
    """Bytes of the rows of a picture, each with its filter. A pass of a small picture may have none."""
    return height * (1 + -(-width * bits // 8)) if width > 0 and height > 0 else 0


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    for packed in _packed(file):
        waiting = packed
        while waiting:
            yield unpacker.decompress(waiting, _BLOCK)
            waiting = unpacker.unconsumed_tail
    yield unpacker.flush()


def _packed(file: BinaryIO) -> Iterator[bytes]:
    """The contents of the chunks of pixels."""
    file.seek(8)
    while len(start := file.read(8)) == 8:
        size, kind = int.from_bytes(start[:4]), start[4:]
        if kind == b"IDAT":
            yield file.read(size)
        else:
            file.seek(size, io.SEEK_CUR)
        file.seek(4, io.SEEK_CUR)  # its checksum
        if kind == b"IEND":
            return
