"""TIFFs and PNGs of a few pixels, written by hand: tones that Pillow cannot write."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

CODES = {3: "H", 4: "I"}  # the types of TIFF that are used here: SHORT, LONG


def tiff(
    pixels: np.ndarray | bytes,
    size: tuple[int, int],
    *,
    order: str = "<",
    bits: Sequence[int] = (16,),
    photometric: int | None = 1,
    sample_format: int = 1,
    deflate: bool = False,
    more: dict[int, tuple[int, Sequence[int]]] | None = None,
) -> bytes:
    """One strip. order : < for II, > for MM. size : width, height. more : further tags -> (type, values)."""
    kind = pixels.dtype.newbyteorder(order) if isinstance(pixels, np.ndarray) else None
    strip = pixels if isinstance(pixels, bytes) else pixels.astype(kind).tobytes()
    strip = zlib.compress(strip) if deflate else strip
    tags = {
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        258: (3, bits),
        259: (3, [8 if deflate else 1]),
        262: (3, [photometric]),
        273: (4, [8]),  # the strip comes first
        277: (3, [len(bits)]),
        278: (4, [size[1]]),
        279: (4, [len(strip)]),
        339: (3, [sample_format] * len(bits)),
        **(more or {}),
    }
    if photometric is None:
        del tags[262]
    values, entries = b"", b""
    for tag, (code, numbers) in sorted(tags.items()):
        value = struct.pack(f"{order}{len(numbers)}{CODES[code]}", *numbers)
        if len(value) > 4:
            value, values = struct.pack(f"{order}I", 8 + len(strip) + len(values)), values + value
        entries += struct.pack(f"{order}HHI", tag, code, len(numbers)) + value.ljust(4, b"\0")
    directory = 8 + len(strip) + len(values)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", directory)
    return head + strip + values + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_row(pixels: bytes, width: int, *, bits: int, colour: int, transparent: Sequence[int] = ()) -> bytes:
    """One row. colour : 0 for grey, 2 for RGB. transparent : the tone or colour that is."""
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    key = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    data = chunk(b"IDAT", zlib.compress(b"\0" + pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + key + data + chunk(b"IEND", b"")
