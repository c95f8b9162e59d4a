"""Images of tones that Pillow cannot write, and such of which a part is missing."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

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
    if 324 in tags:  # the places of tiles, which then lie there instead of the strip
        del tags[273], tags[278], tags[279]
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


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): slopes with noise, so that no block is flat."""
    y, x = np.mgrid[:height, :width]
    slopes = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2)
    noise = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    return np.clip(slopes + noise, 0, 255).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def cut(jpeg: bytes, part: float) -> bytes:
    """A JPEG without a part of its data, from the first scan on, but with an end."""
    start, end = jpeg.index(b"\xff\xda") + 20, len(jpeg) - 2
    return jpeg[: end - int((end - start) * part)] + jpeg[-2:]


def with_tag(data: bytes, tag: int, values: dict[int, int]) -> bytes:
    """A little-endian TIFF with other values, {place among the tag's values: value}."""
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        found, code, number = struct.unpack_from("<HHI", data, entry)
        if found == tag:
            kind = f"<{CODES[code]}"
            size = struct.calcsize(kind)
            place = entry + 8 if size * number <= 4 else struct.unpack_from("<I", data, entry + 8)[0]
            for number, value in values.items():
                struct.pack_into(kind, changed, place + size * number, value)
    return bytes(changed)


def with_canvas(webp: bytes, width: int, height: int) -> bytes:
    """An animated WebP whose header says another size."""
    return webp[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + webp[30:]
