"""Tones, transparency and orientation: a picture gives the same pixels however a file stores them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.kit.pixel_files import png_row, tiff
from vggfeat.errors import ImageError
from vggfeat.images import read

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)  # every tone
PLAIN = tiff(GREY, (16, 16), bits=[8])  # the same picture in 8 bits
ORDERS = pytest.mark.parametrize("order", ["<", ">"])
PACKED = pytest.mark.parametrize("deflate", [False, True])


def greys(data: bytes) -> np.ndarray:
    found = read(data)
    assert np.ptp(found, axis=2).max() == 0
    return found[:, :, 0]


def said(data: Any) -> str:
    with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
        read(data)
    return str(caught.value)


def test_8_bits_are_as_they_are() -> None:
    assert np.array_equal(greys(PLAIN), GREY)
    assert np.array_equal(greys(tiff(255 - GREY, (16, 16), bits=[8], photometric=0)), GREY)


# Grey of more than 8 bits


@ORDERS
@PACKED
def test_16_bits_are_the_picture_of_8_bits(order: str, deflate: bool) -> None:
    deep = GREY.astype(np.uint16) * 257  # 255 becomes 65535
    assert np.array_equal(greys(tiff(deep, (16, 16), order=order, deflate=deflate)), GREY)
    negative = tiff(65535 - deep, (16, 16), order=order, deflate=deflate, photometric=0)  # white is zero
    assert np.array_equal(greys(negative), GREY)


def test_white_is_zero_in_a_file_and_in_an_image_of_pillow(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(65535 - GREY.astype(np.uint16) * 257, (16, 16), order=">", photometric=0))
    assert np.array_equal(read(tmp_path / "a.tif")[:, :, 0], GREY)
    little = tiff(65535 - GREY.astype(np.uint16) * 257, (16, 16), photometric=0)
    assert np.array_equal(read(Image.open(io.BytesIO(little)))[:, :, 0], GREY)


def test_without_a_tag_white_is_zero_as_for_8_bits() -> None:
    without = tiff(255 - GREY, (16, 16), bits=[8], photometric=None)
    assert np.array_equal(greys(without), GREY)
    assert np.array_equal(greys(tiff(65535 - GREY.astype(np.uint16) * 257, (16, 16), photometric=None)), GREY)


@pytest.mark.parametrize(("order", "deflate"), [("<", False), ("<", True), (">", False)])
def test_signed_pixels_have_their_black_at_0(order: str, deflate: bool) -> None:
    """White is the largest number, 32767, and what is below 0 is black too."""
    deep = np.round(GREY * (32767 / 255)).astype(np.int16)
    assert np.array_equal(greys(tiff(deep, (16, 16), order=order, deflate=deflate, sample_format=2)), GREY)
    below = np.array([[-32768, -1, 0, 32767]], np.int16)
    assert greys(tiff(below, (4, 1), order=order, sample_format=2)).tolist() == [[0, 0, 0, 255]]
    white = np.array([[0, 32767]], np.int16)
    assert greys(tiff(white, (2, 1), order=order, sample_format=2, photometric=0)).tolist() == [[255, 0]]


@ORDERS
def test_signed_pixels_of_8_bits(order: str) -> None:
    """v * 255 / 127: 64 gives 128.5."""
    signed = np.array([[-128, -1, 0, 64, 127]], np.int8)
    found = greys(tiff(signed, (5, 1), order=order, bits=[8], sample_format=2))
    assert found.tolist() == [[0, 0, 0, 129, 255]]


def test_signed_pixels_whose_bytes_pillow_swaps_are_refused() -> None:
    deep = np.zeros((16, 16), np.int16)
    assert "big-endian and compressed; convert" in said(tiff(deep, (16, 16), order=">", deflate=True, sample_format=2))


def test_12_bits_by_hand() -> None:
    """0, 2048, 4095, 1 in three bytes for two: 2048 * 255 / 4095 = 127.5, up."""
    packed = bytes.fromhex("000800fff001")
    assert greys(tiff(packed, (4, 1), bits=[12])).tolist() == [[0, 128, 255, 0]]
    assert greys(tiff(packed, (4, 1), bits=[12], photometric=0)).tolist() == [[255, 127, 0, 255]]


def test_one_bit_with_white_as_zero() -> None:
    assert greys(tiff(b"\x50", (4, 1), bits=[1], photometric=0)).tolist() == [[255, 0, 255, 0]]


@ORDERS
def test_32_bits_are_refused_whatever_their_values(order: str) -> None:
    """Otherwise one image of a set would be scaled by another range than the rest."""
    small = GREY.astype(np.int32)
    assert "32-bit pixels; convert" in said(tiff(small, (16, 16), order=order, bits=[32], sample_format=2))
    assert "floating-point pixels" in said(
        tiff(small.astype(np.float32), (16, 16), order=order, bits=[32], sample_format=3)
    )


@ORDERS
def test_a_tiff_that_pillow_does_not_read_is_one_all_the_same(order: str) -> None:
    two = tiff(np.zeros((16, 32), np.uint16), (16, 16), order=order, bits=[16, 16], more={338: (3, [2])})
    rare = tiff(bytes(48), (4, 8), order=">", bits=[12], photometric=0)
    for data in (two, rare, b"II*\0"):
        assert said(data).endswith(
            "cannot be decoded (damaged, or TIFF of a kind that Pillow does not read); save it as PNG"
        )


def test_jpeg_2000_of_16_bits() -> None:
    file = io.BytesIO()
    Image.fromarray(GREY.astype(np.uint16) * 257).save(file, "JPEG2000")
    assert np.array_equal(greys(file.getvalue()), GREY)


@ORDERS
def test_16_bit_colours(order: str) -> None:
    colours = np.repeat(GREY.reshape(-1), 3).astype(np.uint16) * 257
    assert np.array_equal(greys(tiff(colours, (16, 16), order=order, bits=[16] * 3, photometric=2)), GREY)


# Transparency


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_transparent_tone_of_a_grey_png_is_white(bits: int) -> None:
    """A row of 0, 1 and the largest value, of which 1 is transparent."""
    most = 2**bits - 1
    row = f"{0:0{bits}b}{1:0{bits}b}{most:0{bits}b}".ljust(48, "0")
    pixels = int(row, 2).to_bytes(6)[: -(-3 * bits // 8)]
    assert greys(png_row(pixels, 3, bits=bits, colour=0, transparent=[1])).tolist() == [[0, 255, 255]]
    assert greys(png_row(pixels, 3, bits=bits, colour=0, transparent=[most])).tolist() == [[0, round(255 / most), 255]]
    assert greys(png_row(pixels, 3, bits=bits, colour=0, transparent=[0])).tolist() == [[255, round(255 / most), 255]]


def test_the_transparent_tone_of_a_turned_png() -> None:
    """Of 16 bits, with EXIF's orientation 3: black comes last, and white is where the transparent tone was."""
    exif = Image.Exif()
    exif[0x0112] = 3
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 300]], np.uint16)).save(file, "PNG", transparency=300, exif=exif)
    assert greys(file.getvalue()).tolist() == [[255, 0]]


@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (16, 257)])
def test_the_transparent_colour_of_a_png_is_white(bits: int, factor: int) -> None:
    colours = np.array([[200, 100, 0], [0, 100, 200]])
    pixels = (colours * factor).astype(f">u{bits // 8}").tobytes()
    found = read(png_row(pixels, 2, bits=bits, colour=2, transparent=(colours[0] * factor).tolist()))
    assert found.tolist() == [[[255, 255, 255], [0, 100, 200]]]


def test_alpha_of_a_tiff_before_and_after_multiplication() -> None:
    """alpha 51 is a fifth: 100 over white gives 0.2 * 100 + 0.8 * 255 = 224, and so does 20 that was multiplied."""
    plain = np.array([[100, 51, 100, 255, 100, 0]], np.uint8)
    multiplied = np.array([[20, 51, 100, 255, 0, 0]], np.uint8)
    for pixels, extra in ((plain, 2), (multiplied, 1)):
        assert greys(tiff(pixels, (3, 1), bits=[8, 8], more={338: (3, [extra])})).tolist() == [[224, 100, 255]]


# Orientation


def turned(kind: str, orientation: int, pixels: np.ndarray, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, exif=exif, **options)
    return file.getvalue()


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_pixels_as_stored(kind: str, options: dict[str, Any], orientation: int, tmp_path: Path) -> None:
    """Also of a TIFF, which Pillow turns by itself while it loads it."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    data = turned(kind, orientation, pixels, **options)
    (tmp_path / "a").write_bytes(data)
    for source in (data, tmp_path / "a", Image.open(io.BytesIO(data))):
        assert np.array_equal(read(source, exif=False), pixels)


def test_pixels_of_a_photo_as_stored() -> None:
    halves = np.zeros((16, 32, 3), np.uint8)
    halves[:, 16:] = 255
    data = turned("JPEG", 6, halves, quality=100)
    assert np.abs(read(data, exif=False).astype(int) - halves).max() < 4
    assert read(data).shape == (32, 16, 3)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_avif_is_turned_only_if_asked(orientation: int) -> None:
    halves = np.zeros((16, 32, 3), np.uint8)
    halves[:, 16:] = 255
    data = turned("AVIF", orientation, halves, quality=100)
    assert np.abs(read(data, exif=False).astype(int) - halves).max() < 4
    upright = np.rot90(halves, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    assert np.abs(read(data).astype(int) - upright).max() < 4
