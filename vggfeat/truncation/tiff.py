"""TIFF files that lack rows. Pillow reads other bytes in place of a missing strip; libtiff fills some short strips."""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, BinaryIO

from PIL import ExifTags
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from vggfeat.truncation import jpeg

__all__ = ["lacking", "outside"]

_Tag = ExifTags.Base
_RAW, _FAX, _JPEG = 1, (2, 3, 4), 7  # values of Compression
_YCBCR = 6  # of PhotometricInterpretation
_PLANES = 2  # of PlanarConfiguration: one strip for each colour
_HEAD = 8  # bytes of the shortest header; the data of a strip come after it
_FURTHER = b"\xff" * 64  # which every kind of CCITT's codes goes on with


def outside(image: Any, size: int) -> str | None:
    """The rows whose strips are empty or not inside a file of `size` bytes, in words; None if there are none."""
    strips = enumerate(_strips(image))
    return _said(image, [i for i, (at, count) in strips if at < _HEAD or not count or at + count > size])


def lacking(image: Any, file: BinaryIO) -> str | None:
    """What the file lacks of the image that was decoded from it; None if nothing."""
    tags, strips = image.tag_v2, _strips(image)
    bad = [i for i, (at, _) in enumerate(strips) if at < _HEAD]
    bad += range(len(strips), _number(tags))
    compression = tags.get(_Tag.Compression, _RAW)
    if compression == _RAW:
        bad += _cut_by_the_next(image, strips, _directory(file))
    elif compression == _JPEG or compression in _FAX:
        for i, (at, count) in enumerate(strips):
            first, end = _rows(image, i)
            file.seek(at)
            data = file.read(count)
            if _short_jpeg(tags, end - first, data) if compression == _JPEG else _short_fax(tags, end - first, data):
                bad.append(i)
    return _said(image, bad)


def _strips(image: Any) -> list[tuple[int, int]]:
    """Place and size in bytes of each strip or tile."""
    tags = image.tag_v2
    places = tags.get(_Tag.TileOffsets) or tags.get(_Tag.StripOffsets) or ()
    counts = tags.get(_Tag.TileByteCounts) or tags.get(_Tag.StripByteCounts) or ()
    return list(zip(places, counts, strict=False))


def _shape(tags: Any) -> tuple[int, int, int]:
    """Strips or tiles beside each other, their rows, and how many are below each other."""
    across, height = 1, tags[_Tag.ImageLength]
    rows = tags.get(_Tag.RowsPerStrip) or height
    if _Tag.TileOffsets in tags:
        across, rows = -(-tags[_Tag.ImageWidth] // tags[_Tag.TileWidth]), tags[_Tag.TileLength]
    return across, rows, -(-height // rows)


def _number(tags: Any) -> int:
    """How many strips or tiles there must be."""
    across, _, down = _shape(tags)
    planes = tags.get(_Tag.SamplesPerPixel, 1) if tags.get(_Tag.PlanarConfiguration) == _PLANES else 1
    return across * down * planes


def _rows(image: Any, number: int) -> tuple[int, int]:
    """The rows of a strip or tile as stored, from the first to before the last. Several planes repeat theirs."""
    across, rows, down = _shape(image.tag_v2)
    first = rows * (number // across % down)
    return first, min(first + rows, image.tag_v2[_Tag.ImageLength])


def _said(image: Any, numbers: Sequence[int]) -> str | None:
    rows = [_rows(image, number) for number in numbers]
    return jpeg.rows_text(min(rows)[0], max(rows)[1], image.tag_v2[_Tag.ImageLength]) if rows else None


def _directory(file: BinaryIO) -> int:
    """Place of the first directory of tags; 0 of a BigTIFF."""
    file.seek(0)
    head = file.read(_HEAD)
    return int.from_bytes(head[4:], "little" if head[:2] == b"II" else "big") if head[2:4] in (b"*\0", b"\0*") else 0


def _cut_by_the_next(image: Any, strips: Sequence[tuple[int, int]], directory: int) -> Iterator[int]:
    """The uncompressed strips that are too short, so that their last rows would be read from what follows them."""
    tags = image.tag_v2
    if tags.get(_Tag.PhotometricInterpretation) == _YCBCR:  # fewer colours than pixels
        return
    bits = tags.get(_Tag.BitsPerSample, (1,))
    bits = bits[0] if tags.get(_Tag.PlanarConfiguration) == _PLANES else sum(bits)
    after = dict(pairwise(sorted({directory, *(place for place, _ in strips)})))
    for number, (place, count) in enumerate(strips):
        first, end = _rows(image, number)
        width, rows = tags.get(_Tag.TileWidth, tags[_Tag.ImageWidth]), tags.get(_Tag.TileLength, end - first)
        needed = rows * -(-width * bits // 8)
        if count < needed and place + needed > after.get(place, place + needed):
            yield number


def _short_jpeg(tags: Any, rows: int, data: bytes) -> bool:
    """Whether a strip that is a JPEG lacks rows. The tables that all strips share are in a tag."""
    data = tags.get(_Tag.JPEGTables, b"\xff\xd8\xff\xd9")[:-2] + data[2:] + b"\xff\xd9"
    with suppress(OSError, SyntaxError):  # of a kind that is a JPEG in TIFFs only
        strip = JpegImageFile(io.BytesIO(data))
        strip.load()
        return strip.height < rows or jpeg.lacking(strip, io.BytesIO(data)) is not None
    return False


def _short_fax(tags: Any, rows: int, data: bytes) -> bool:
    """Whether a strip of CCITT's codes lacks rows: then further bytes change its pixels."""
    plain, longer = (TiffImageFile(io.BytesIO(_fax(tags, rows, codes))) for codes in (data, data + _FURTHER))
    return bool(jpeg.changed_rows(plain, longer).any())


def _fax(tags: Any, rows: int, data: bytes) -> bytes:
    """A TIFF of one strip."""
    copied = (_Tag.Compression, _Tag.PhotometricInterpretation, _Tag.FillOrder, _Tag.T4Options, _Tag.T6Options)
    rows = tags.get(_Tag.TileLength, rows)
    values = {
        _Tag.ImageWidth: tags.get(_Tag.TileWidth, tags[_Tag.ImageWidth]),
        _Tag.ImageLength: rows,
        **{tag: tags[tag] for tag in copied if tag in tags},
        _Tag.StripOffsets: _HEAD,
        _Tag.RowsPerStrip: rows,
        _Tag.StripByteCounts: len(data),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(values.items()))
    return b"II*\0" + struct.pack("<I", _HEAD + len(data)) + data + struct.pack("<H", len(values)) + entries + bytes(4)
