"""Decode PPM and PGM in text, or of other ranges than 8 bits. Pillow decodes less than a megapixel of them a second."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

__all__ = ["decoded"]

_BLOCK = 2**20  # bytes that are read at once
_LONGEST = 10  # digits of a number
_TOO_LONG = re.compile(rb"\d{%d}" % (_LONGEST + 1))
_DIGITS = b"0123456789"
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]")
_SPACE = b" \t\n\v\f\r"


def decoded(image: Any, file: BinaryIO, rest: bool) -> Image.Image | None:
    """An image with the same pixels as Pillow's; None for a kind that Pillow decodes fast.

    image : as Pillow has opened it. rest : take what is there of a file that is cut. Raises OSError and ValueError.
    """
    decoder, _, place, args = image.tile[0]
    if decoder not in ("ppm", "ppm_plain"):
        return None
    file.seek(place)
    if image.mode == "1":
        values, table = _bits(file), np.array([255, 0], np.uint8)  # 1 is black
    else:
        most = args[-1]
        values = _numbers(file, most) if decoder == "ppm_plain" else _binary(file, most)
        table = _table(most, deep=image.mode == "I")
    bands = len(image.getbands())
    pixels = _filled(image.width * image.height * bands, values, table, rest)
    made = Image.fromarray(pixels.reshape(image.height, image.width, *([bands] if bands > 1 else [])))
    return made.convert("1", dither=Image.Dither.NONE) if image.mode == "1" else made


def _table(most: int, deep: bool) -> np.ndarray:
    """What each value becomes; halves go to the even number, as Python rounds. Larger values than `most` are white."""
    white = 65535 if deep else 255
    values = np.arange(256 if most < 256 else 65536) / most * white
    return np.minimum(np.rint(values), white).astype(np.int32 if deep else np.uint8)


def _filled(count: int, values: Iterator[np.ndarray], table: np.ndarray, rest: bool) -> np.ndarray:
    pixels, there = np.zeros(count, table.dtype), 0
    for some in values:
        some = some[: count - there]
        pixels[there : there + len(some)] = table[some]
        there += len(some)
        if there == count:
            return pixels
    if not rest:
        raise OSError(f"image file is truncated, {there:,} of {count:,} values are there")
    return pixels


def _binary(file: BinaryIO, most: int) -> Iterator[np.ndarray]:
    kind = np.dtype(">u2" if most > 255 else "u1")
    while block := file.read(_BLOCK):
        yield np.frombuffer(block[: len(block) // kind.itemsize * kind.itemsize], kind)


def _text(file: BinaryIO) -> Iterator[bytes]:
    """The text after the header in blocks, without comments."""
    left = b""
    while block := file.read(_BLOCK):
        text, mark, _ = _COMMENT.sub(b"", left + block).partition(b"#")
        yield text
        left = b"#" if mark else b""  # a comment that goes on


def _bits(file: BinaryIO) -> Iterator[np.ndarray]:
    for text in _text(file):
        bits = np.frombuffer(text.translate(None, _SPACE), np.uint8) - ord("0")
        if (bits > 1).any():
            raise ValueError("not only 0 and 1")
        yield bits


def _numbers(file: BinaryIO, most: int) -> Iterator[np.ndarray]:
    left = b""
    for block in _text(file):
        text = left + block
        whole = text.rstrip(_DIGITS)
        left = text[len(whole) :]  # of a number that may go on
        yield _parsed(whole, most)
        if len(left) > _LONGEST:
            break
    yield _parsed(left, most)


def _parsed(text: bytes, most: int) -> np.ndarray:
    if text.translate(None, _DIGITS + _SPACE) or _TOO_LONG.search(text):
        raise ValueError("not numbers, or too long ones")
    values = np.fromstring(text, np.int64, sep=" ")
    if values.size and values.max() > most:
        raise ValueError(f"a value is more than {most}")
    return values
