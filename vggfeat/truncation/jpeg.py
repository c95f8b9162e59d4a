"""JPEG files that lack data. libjpeg only warns of them, and Pillow hides its warnings.

Where the data of a scan end too early, libjpeg fills the rest with grey. So a scan is incomplete if the pixels change
when further bytes are put at the end of its data: libjpeg skips such bytes if it needs no more.
"""

import io
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

__all__ = ["changed_rows", "lacking", "rows_text"]

_MARKER = re.compile(rb"\xff([\x01-\xfe])")  # fill bytes, further 255s, may come before
_SOI, _EOI, _SOS, _DRI = 0xD8, 0xD9, 0xDA, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_ALONE = {0x01, _SOI, *_RESTARTS}  # markers without a length
_PROGRESSIVE = 0xC2
_FRAMES = {0xC0, 0xC1, _PROGRESSIVE}  # of Huffman codes; arithmetic codes may leave out what they end with
_COEFFICIENTS = 64  # of a block
_STRIP = 256  # rows that are compared at once, which bounds the memory
_FURTHER = np.random.default_rng(0).integers(0, 255, 64, np.uint8).tobytes()  # without 255, which begins a marker


@dataclass
class _Scan:
    """Its components, and their coefficients without the last `low` bits. interval : MCUs to a restart marker, or 0."""

    components: bytes
    coefficients: range
    low: int
    interval: int
    restarts: int = 0


@dataclass
class _Layout:
    """What the markers say. sampling : component -> across, down. ends : where the data of scans and intervals end."""

    frame: int = 0
    width: int = 0
    height: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    scans: list[_Scan] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


def lacking(image: Image.Image, file: BinaryIO) -> str | None:
    """What the file lacks of the image that was decoded from it; None if nothing."""
    file.seek(0)
    data = file.read()
    layout = _layout(data)
    if layout.frame not in _FRAMES:
        return None
    if not _has_all_scans(layout):
        return "its last scans are missing"
    restarts = any(scan.interval for scan in layout.scans)
    grey = _grey_rows(image) if restarts else np.zeros(image.height, bool)
    one_scan = layout.frame != _PROGRESSIVE and len(layout.scans) == 1  # then the last pixel is grey too
    if one_scan and not grey.any() and not _is_grey(image.getpixel((image.width - 1, image.height - 1))):
        return None
    changed = changed_rows(image, JpegImageFile(io.BytesIO(_padded(data, layout.ends))))
    lost = sum(max(0, _intervals(layout, scan) - 1 - scan.restarts) for scan in layout.scans)
    if changed.any() or (lost and grey.any()):
        first = int((changed if changed.any() else grey).argmax())
        after = int((changed | grey)[::-1].argmax()) if restarts else 0
        return rows_text(first, image.height - after, image.height)
    return f"{lost} restart intervals are missing" if lost and not one_scan else None


def rows_text(first: int, end: int, height: int) -> str:
    """Which rows are missing, from `first` to before `end`; people count from 1."""
    return f"rows {first + 1} to {end} of {height} are missing"


def changed_rows(image: Image.Image, other: Image.Image) -> np.ndarray:
    """bool (H,): the rows whose pixels are not those of another image of equal size and mode."""
    strips = [(0, y, image.width, min(y + _STRIP, image.height)) for y in range(0, image.height, _STRIP)]
    changed = [np.asarray(image.crop(strip)) != np.asarray(other.crop(strip)) for strip in strips]
    return np.concatenate([rows.reshape(len(rows), -1).any(axis=1) for rows in changed])


def _layout(data: bytes) -> _Layout:
    layout, interval, place = _Layout(), 0, 0
    while (found := _MARKER.search(data, place)) and found[1][0] != _EOI:
        code, place = found[1][0], found.end()
        if layout.scans:
            layout.ends.append(_end(data, found.start()))
        if code in _RESTARTS and layout.scans:
            layout.scans[-1].restarts += 1
        if code in _ALONE:
            continue
        size = int.from_bytes(data[place : place + 2])
        body, place = data[place + 2 : place + size], place + max(size, 2)
        if code == _DRI:
            interval = int.from_bytes(body[:2])
        elif code == _SOS:
            components, low = body[1 : 1 + 2 * body[0] : 2], body[-1] & 15
            layout.scans.append(_Scan(components, range(body[-3], body[-2] + 1), low, interval))
        elif code in _FRAMES:
            layout.frame = code
            layout.height, layout.width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
            layout.sampling = {body[i]: (body[i + 1] >> 4, body[i + 1] & 15) for i in range(6, len(body) - 2, 3)}
    if found and layout.scans:
        layout.ends.append(_end(data, found.start()))
    return layout


def _end(data: bytes, marker: int) -> int:
    """Where the data before a marker and its fill bytes end."""
    while data[marker - 1] == 0xFF:
        marker -= 1
    return marker


def _has_all_scans(layout: _Layout) -> bool:
    """Whether each component has all its coefficients, to the last bit."""
    if layout.frame != _PROGRESSIVE:
        return {component for scan in layout.scans for component in scan.components} >= layout.sampling.keys()
    complete = {(c, k) for scan in layout.scans if scan.low == 0 for c in scan.components for k in scan.coefficients}
    return len(complete) >= _COEFFICIENTS * len(layout.sampling)


def _intervals(layout: _Layout, scan: _Scan) -> int:
    """How many restart intervals a scan must have."""
    if not scan.interval or not layout.sampling:
        return 1
    across, down = (max(factors) for factors in zip(*layout.sampling.values(), strict=True))
    own = layout.sampling.get(scan.components[0], (1, 1)) if len(scan.components) == 1 else (1, 1)
    width, height = -(-layout.width * own[0] // across), -(-layout.height * own[1] // down)
    return -(-(-(-width // 8) * -(-height // 8)) // scan.interval)


def _padded(data: bytes, ends: list[int]) -> bytes:
    """The file with further bytes at the end of the data of each scan and restart interval."""
    places = [0, *ends, len(data)]
    return _FURTHER.join(data[start:end] for start, end in pairwise(places))


def _grey_rows(image: Image.Image) -> np.ndarray:
    """bool (H,): the rows of blocks of which one may be filled with grey. The rows of an incomplete block are not."""
    rows = np.zeros(image.height, bool)
    for y in range(0, image.height, _STRIP):
        strip = np.asarray(image.crop((0, y, image.width, min(y + _STRIP, image.height))))
        strip = strip.reshape(*strip.shape[:2], -1)
        inner = strip[4::8, 4::8]
        grey = _is_grey(inner) & _is_grey(strip[3::8, 3::8][: inner.shape[0], : inner.shape[1]])
        rows[y : y + _STRIP] = np.repeat(np.append(grey.any(axis=1), False), 8)[: len(strip)]
    return rows


def _is_grey(pixels: Any) -> np.ndarray:
    """Whether pixels (..., bands) are what libjpeg fills with: 128, or 127 if Pillow has inverted them."""
    values = np.atleast_1d(pixels)
    return ((values == 128) | (values == 127)).all(axis=-1)
