"""Reading: images that are not all there are told, memory and time are bounded, any file gives pixels or one line."""

import io
import random
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.kit.pixel_files import chunk, cut, encoded, picture, tiff, with_canvas, with_tag
from vggfeat.errors import ImageError
from vggfeat.reading import opened, read_file

Shared = Callable[[str], Path]
HEIGHT, WIDTH = 120, 160
PICTURE = picture(HEIGHT, WIDTH)
REMEDY = "; copy it again, or give --allow-truncated to take what is there"


def said(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
        read_file(data, **options)
    return str(caught.value).removeprefix(f"image of {len(data)} bytes: ")


def missing(message: str, height: int = HEIGHT) -> tuple[int, int]:
    """The first and the last missing row that a message names, from 0."""
    found = re.fullmatch(rf"rows (\d+) to (\d+) of {height} are missing{re.escape(REMEDY)}", message)
    assert found, message
    return int(found[1]) - 1, int(found[2]) - 1


def changed(data: bytes, whole: bytes) -> np.ndarray:
    """The rows that come out otherwise than of the whole file."""
    return np.flatnonzero((read_file(data, allow_truncated=True) != read_file(whole)).any(axis=(1, 2)))


# JPEGs that are not all there

BASELINE: dict[str, dict[str, Any]] = {
    "plain": {},
    "grey": {"mode": "L"},
    "inks": {"mode": "CMYK"},
    "full colour": {"subsampling": 0},
    "half colour": {"subsampling": 1},
    "coarse": {"quality": 10},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 3},
}
PROGRESSIVE: dict[str, dict[str, Any]] = {
    "plain": {"progressive": True},
    "grey": {"progressive": True, "mode": "L"},
    "restarts": {"progressive": True, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("part", [0.02, 0.3, 0.77])
@pytest.mark.parametrize("options", BASELINE.values(), ids=BASELINE)
def test_of_a_jpeg_that_is_cut_the_missing_rows_are_told(options: dict[str, Any], part: float) -> None:
    whole = encoded(PICTURE, "JPEG", **options)
    first, last = missing(said(cut(whole, part)))
    assert abs(first - changed(cut(whole, part), whole)[0]) <= 16
    assert last == HEIGHT - 1


@pytest.mark.parametrize("part", [0.02, 0.3, 0.77])
@pytest.mark.parametrize("options", PROGRESSIVE.values(), ids=PROGRESSIVE)
def test_a_cut_progressive_jpeg_is_told(options: dict[str, Any], part: float) -> None:
    data = cut(encoded(PICTURE, "JPEG", **options), part)
    assert re.search(r"missing|broken data stream|truncated", said(data))
    assert read_file(encoded(PICTURE, "JPEG", **options)).shape == (HEIGHT, WIDTH, 3)


def test_scans_that_are_missing_are_told() -> None:
    whole = encoded(PICTURE, "JPEG", progressive=True)
    scans = [found.start() for found in re.finditer(b"\xff\xda", whole)]
    tables = [found.start() for found in re.finditer(b"\xff\xc4", whole)]
    for scan in scans[2:]:
        end = max(place for place in (*tables, *scans[: scans.index(scan)]) if place < scan)
        assert said(whole[:end] + b"\xff\xd9") == f"its last scans are missing{REMEDY}"


def test_a_header_of_more_rows_than_there_are_is_told() -> None:
    whole = encoded(PICTURE, "JPEG")
    place = whole.index(b"\xff\xc0") + 5
    taller = whole[:place] + struct.pack(">H", 200) + whole[place + 2 :]
    assert missing(said(taller), 200) == (127, 199)  # the last row of the block before is smoothed with the grey below
    assert np.array_equal(read_file(taller, allow_truncated=True)[:112], read_file(whole)[:112])


@pytest.mark.parametrize("lost", [(2, 3), (1, 3), (5, 6)])
def test_intervals_that_are_lost_in_the_middle_are_told(lost: tuple[int, int]) -> None:
    """Each interval is a row of 16 lines; the marker that follows a lost one no longer has its number."""
    whole = encoded(PICTURE, "JPEG", restart_marker_rows=1)
    ends = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", whole)]
    data = whole[: ends[lost[0] - 1]] + whole[ends[lost[1] - 1] :]
    rows = changed(data, whole)
    first, last = missing(said(data))
    assert abs(first - rows[0]) <= 16
    assert abs(last - rows[-1]) <= 16
    most = whole[: ends[0]] + whole[ends[4] :]  # then libjpeg puts the last intervals higher, and grey below
    assert missing(said(most))[1] == HEIGHT - 1


def test_an_interval_that_is_short_is_told() -> None:
    whole = encoded(PICTURE, "JPEG", restart_marker_rows=1)
    third, fourth = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", whole)][2:4]
    first, last = missing(said(whole[: third + 100] + whole[fourth:]))
    assert 46 <= first <= 48
    assert 63 <= last <= 64


def harmless(whole: bytes) -> dict[str, bytes]:
    scan = whole.index(b"\xff\xda")
    return {
        "garbage after the end": whole + b"garbage \xff\xd8\xff\xd0 \xff\xda" * 20,
        "zeros before a marker": whole[:scan] + bytes(9) + whole[scan:],
        "zeros at the end of the data": whole[:-2] + bytes(30) + whole[-2:],
        "fill bytes before a marker": whole[:-2] + b"\xff\xff\xff" + whole[-2:],
        "a comment": whole[:2] + b"\xff\xfe\x00\x06\xff\xda\xff\xd9" + whole[2:],
        "twice": whole + whole,
    }


@pytest.mark.parametrize("kind", harmless(encoded(PICTURE, "JPEG")))
def test_what_is_harmless_is_no_matter(kind: str) -> None:
    for options in (*BASELINE.values(), *PROGRESSIVE.values()):
        whole = encoded(PICTURE, "JPEG", **options)
        assert np.array_equal(read_file(harmless(whole)[kind]), read_file(whole)), options


def test_a_jpeg_of_several_pictures_and_one_with_a_thumbnail() -> None:
    several = encoded(PICTURE, "MPO", save_all=True, append_images=[Image.fromarray(255 - PICTURE)])
    assert Image.open(io.BytesIO(several)).format == "MPO"
    assert read_file(several).shape == PICTURE.shape
    small = encoded(PICTURE[:8, :8], "JPEG")
    thumbnail = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + cut(small, 0.5)
    assert read_file(encoded(PICTURE, "JPEG", exif=thumbnail)).shape == PICTURE.shape


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_photo_that_ends_in_grey_is_whole(mode: str) -> None:
    """The grey with which libjpeg fills."""
    flat = np.full((48, 48, 3), 128, np.uint8)
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 1}):
        assert np.ptp(read_file(encoded(flat, "JPEG", mode=mode, **options))) <= 1


def test_photos_are_whole(shared: Shared) -> None:
    """Every hundredth; all of them at length."""
    photos = sorted(shared("data/caltech101/101_ObjectCategories").rglob("*.jpg"))[::100]
    assert len(photos) > 80
    for photo in photos:
        assert np.array_equal(read_file(photo), np.asarray(Image.open(photo).convert("RGB")))


# TIFFs that are not all there

KINDS = {
    "raw": "RGB", "packbits": "RGB", "tiff_lzw": "RGB", "tiff_adobe_deflate": "RGB", "jpeg": "RGB",
    "group3": "1", "group4": "1", "tiff_ccitt": "1",
}  # fmt: skip
STRIPS, SIZES = 273, 279


def striped(kind: str) -> bytes:
    """Eight strips of 16 rows, of which the last has 8."""
    return encoded(PICTURE, "TIFF", mode=KINDS[kind], compression=kind, tiffinfo={278: 16})


def rows_said(message: str) -> str:
    return re.sub(r"^cannot be decoded \((.*)\)", r"\1", message)


@pytest.mark.parametrize("kind", KINDS)
def test_strips_without_a_place_or_beyond_the_end_are_told(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = striped(kind)
    assert read_file(whole).shape == PICTURE.shape
    empty = with_tag(with_tag(whole, STRIPS, {2: 0, 3: 0}), SIZES, {2: 0, 3: 0})
    beyond = with_tag(whole, STRIPS, {5: len(whole) + 10, 6: len(whole) - 4})
    assert missing(rows_said(said(empty))) == (32, 63)
    assert missing(rows_said(said(beyond))) == (80, 111)
    capfd.readouterr()  # libtiff writes to it


@pytest.mark.parametrize("kind", ["jpeg", "group3", "group4"])
def test_strips_that_libtiff_fills_are_told(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = striped(kind)
    sizes = Image.open(io.BytesIO(whole)).tag_v2[SIZES]  # type: ignore[attr-defined]
    short = with_tag(whole, SIZES, {4: sizes[4] // 2})
    assert missing(said(short)) == (64, 79)
    assert changed(short, whole)[0] >= 64
    capfd.readouterr()


def test_a_strip_that_would_go_on_in_the_next_is_told() -> None:
    whole = striped("raw")
    places = Image.open(io.BytesIO(whole)).tag_v2[STRIPS]  # type: ignore[attr-defined]
    size = 16 * WIDTH * 3
    short = with_tag(with_tag(whole, SIZES, {3: size // 2}), STRIPS, {3: places[4] - size // 2})
    assert missing(said(short)) == (48, 63)
    wrong = with_tag(whole, SIZES, {3: size // 2})  # a wrong size, but the data are there
    assert np.array_equal(read_file(wrong), PICTURE)


def test_tiles_that_are_missing_are_told() -> None:
    """Ten tiles of 16 x 16 in each row of tiles."""
    tall = np.pad(PICTURE[:, :, 0], ((0, 8), (0, 0)))
    tiles = tall.reshape(8, 16, 10, 16).transpose(0, 2, 1, 3).tobytes()
    places = [8 + 256 * number for number in range(80)]
    more = {322: (4, [16]), 323: (4, [16]), 324: (4, places), 325: (4, [256] * 80)}
    whole = tiff(tiles, (WIDTH, HEIGHT), bits=[8], more=more)
    assert np.array_equal(read_file(whole)[:, :, 0], PICTURE[:, :, 0])
    assert missing(said(with_tag(whole, 324, {25: 0}))) == (32, 47)
    assert missing(rows_said(said(with_tag(whole, 324, {30: len(whole)})))) == (48, 63)
    assert missing(said(with_tag(with_tag(whole, 324, {45: places[45] + 99}), 325, {45: 157}))) == (64, 79)


@pytest.mark.parametrize("kind", ["raw", "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("strip", [16, HEIGHT])
def test_a_tiff_whose_header_says_more_rows_is_told(kind: str, strip: int, capfd: pytest.CaptureFixture[str]) -> None:
    whole = encoded(PICTURE, "TIFF", compression=kind, tiffinfo={278: strip})
    taller = with_tag(whole, 257, {0: 2 * HEIGHT})
    assert re.search(r"rows \d+ to 240 of 240 are missing|decoder error|truncated", said(taller))
    stretched = with_tag(with_tag(whole, 257, {0: 2 * HEIGHT}), 278, {0: 2 * HEIGHT})
    assert re.search(r"rows 1 to 240 of 240 are missing|decoder error|truncated", said(stretched))
    capfd.readouterr()


# PNGs and JPEG 2000 that are not all there

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(rows: list[bytes], width: int, height: int, interlaced: bool = False) -> bytes:
    """Of grey pixels, one byte each."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = chunk(b"IDAT", data[:50]) + chunk(b"IDAT", b"") + chunk(b"IDAT", data[50:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + parts + chunk(b"IEND", b"")


def test_a_png_that_ends_with_a_whole_row_is_told() -> None:
    rows = [row.tobytes() for row in PICTURE[:, :, 0]]
    for there in (1, 77, HEIGHT - 1):
        data = png(rows[:there], WIDTH, HEIGHT)
        assert missing(said(data)) == (there, HEIGHT - 1)
        assert np.array_equal(read_file(data, allow_truncated=True)[:there, :, 0], PICTURE[:there, :, 0])
    assert np.array_equal(read_file(png(rows, WIDTH, HEIGHT))[:, :, 0], PICTURE[:, :, 0])


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (9, 8), (40, 33)])
def test_an_interlaced_png(size: tuple[int, int]) -> None:
    pixels = PICTURE[: size[1], : size[0], 0]
    rows = [row.tobytes() for x, y, dx, dy in ADAM7 for row in pixels[y::dy, x::dx] if row.size]
    assert np.array_equal(read_file(png(rows, *size, interlaced=True))[:, :, 0], pixels)
    if len(rows) > 1:
        assert re.search("missing|truncated", said(png(rows[:-1], *size, interlaced=True)))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "1", "LA", "I;16"])
def test_a_png_with_black_below_is_whole(mode: str) -> None:
    for pixels in (np.zeros((31, 33, 3), np.uint8), np.concatenate([PICTURE, 0 * PICTURE])):
        if mode == "I;16":
            data = io.BytesIO()
            Image.fromarray(pixels[:, :, 0].astype(np.uint16)).save(data, "PNG")
            assert read_file(data.getvalue()).shape == pixels.shape
        else:
            assert read_file(encoded(pixels, "PNG", mode=mode)).shape == pixels.shape


@pytest.mark.parametrize("bare", [True, False])
def test_tiles_of_jpeg_2000_that_are_missing_are_told(bare: bool) -> None:
    whole = encoded(PICTURE, "JPEG2000", tile_size=(64, 64), no_jp2=bare)  # 3 x 2 tiles
    assert read_file(whole).shape == PICTURE.shape
    assert read_file(encoded(PICTURE, "JPEG2000", no_jp2=bare)).shape == PICTURE.shape
    tiles = [found.start() for found in re.finditer(b"\xff\x90\0\x0a", whole)]
    assert len(tiles) == 6
    data = whole[: tiles[4]] + b"\xff\xd9"
    assert said(data) == f"2 of 6 tiles are missing{REMEDY}"
    assert read_file(data, allow_truncated=True).shape == PICTURE.shape


# What is there is taken if that is allowed

TAKEN: dict[str, dict[str, Any]] = {
    "PNG": {}, "JPEG": {}, "GIF": {"mode": "L", "interlace": 0}, "BMP": {}, "PPM": {}, "TIFF": {"compression": "raw"},
}  # fmt: skip


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_there_is_taken(kind: str) -> None:
    whole = encoded(PICTURE, kind, **TAKEN[kind])
    half = whole[: len(whole) * 6 // 10]
    if kind == "TIFF":  # whose header comes last
        whole = encoded(PICTURE, kind, **TAKEN[kind], tiffinfo={278: 16})
        half = with_tag(whole, STRIPS, dict.fromkeys(range(5, 8), len(whole)))
    assert said(half).endswith(REMEDY)
    found, full = read_file(half, allow_truncated=True), read_file(whole)
    same = (found == full).all(axis=(1, 2))
    assert found.shape == full.shape
    upper = same[:32] if kind != "BMP" else same[-32:]  # a BMP begins with its last row
    assert upper.all() and not same.all()


def test_a_progressive_jpeg_without_an_end_is_taken() -> None:
    whole = encoded(PICTURE, "JPEG", progressive=True)
    assert said(whole[:-2]).endswith(REMEDY)
    assert np.array_equal(read_file(whole[:-2], allow_truncated=True), read_file(whole))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("exif", [True, False])
def test_a_cut_tiff_is_turned_as_a_whole_one(exif: bool, orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    whole = encoded(PICTURE, "TIFF", exif=tags)
    place = Image.open(io.BytesIO(whole)).tag_v2[STRIPS][0]  # type: ignore[attr-defined]
    cut_there = with_tag(whole, STRIPS, {0: len(whole) - WIDTH * 3 * 30 if place else 0})
    found = read_file(cut_there, exif=exif, allow_truncated=True)
    assert found.shape == read_file(whole, exif=exif).shape


def test_a_whole_image_is_the_same_if_cut_ones_are_allowed() -> None:
    for kind in TAKEN:
        whole = encoded(PICTURE, kind, **TAKEN[kind])
        assert np.array_equal(read_file(whole, allow_truncated=True), read_file(whole))


# PPM and PGM that Pillow decodes in Python


def netpbm(magic: bytes, most: int, values: np.ndarray, text: bytes = b"") -> bytes:
    head = b"%s %d %d\n" % (magic, values.shape[1], values.shape[0]) + (b"%d\n" % most if most else b"")
    return head + (text or values.astype("u1" if most < 256 else ">u2").tobytes())


@pytest.mark.parametrize("most", [1, 2, 100, 254, 256, 4095, 65534, 65535])
@pytest.mark.parametrize(("magic", "bands"), [(b"P5", 1), (b"P6", 3)])
def test_other_ranges_have_pillows_values(magic: bytes, bands: int, most: int) -> None:
    """Also values above the range, which are white."""
    values = np.random.default_rng(most).integers(0, 256 if most < 256 else 65536, (9, 31, bands))
    data = netpbm(magic, most, values)
    image = Image.open(io.BytesIO(data))
    if image.mode == "I":
        theirs = (np.asarray(image).astype(np.int64) * 255 + 32767) // 65535  # ours, of 16 bits
        assert np.array_equal(read_file(data)[:, :, 0], theirs)
    else:
        assert np.array_equal(read_file(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(("magic", "bands", "most"), [(b"P1", 1, 0), (b"P2", 1, 255), (b"P2", 1, 77), (b"P3", 3, 1000)])
def test_numbers_in_text_have_pillows_values(magic: bytes, bands: int, most: int) -> None:
    values = np.random.default_rng(0).integers(0, (most or 1) + 1, (9, 31, bands))
    numbers = [b"%d" % value for value in values.reshape(-1)]
    for text in (
        b" ".join(numbers),
        b"# a comment 7\n" + b"\n".join(numbers) + b"\n# the end",
        b"\r\n\t".join(numbers),
    ):
        data = netpbm(magic, most, values, text)
        assert np.array_equal(read_file(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("data", "said_of_it"),
    [
        (b"P2 2 1 9\n1 x", "numbers"),
        (b"P2 2 1 9\n1 10", "more than 9"),
        (b"P2 2 1 9\n1 -1", "numbers"),
        (b"P2 2 1 9\n1 " + b"0" * 11, "numbers"),
        (b"P2 2 1 9\n1", "1 of 2 values"),
        (b"P1 2 1\n12", "0 and 1"),
        (b"P6 2 1 254\n12345", "5 of 6 values"),
    ],
)
def test_numbers_that_are_wrong_or_missing_are_told(data: bytes, said_of_it: str) -> None:
    assert said_of_it in said(data)


def test_of_a_cut_ppm_what_is_there_is_taken() -> None:
    for data in (b"P6 2 2 254\n" + bytes([254] * 6), b"P3 2 2 9\n" + b"9 " * 6):
        assert said(data).endswith(REMEDY)
        assert read_file(data, allow_truncated=True)[:, 0, 0].tolist() == [255, 0]


def test_a_ppm_of_a_rare_range_takes_no_longer_than_a_copy() -> None:
    """In Pillow's Python it takes 4 s for each megapixel. Half a minute is for machines that are slow."""
    data = b"P6 3000 3000 254\n" + bytes(27_000_000)
    child = "import sys; from vggfeat.reading import read_file; print(read_file(sys.stdin.buffer.read()).shape)"
    ran = subprocess.run([sys.executable, "-c", child], input=data, capture_output=True, timeout=30, check=True)
    assert ran.stdout == b"(3000, 3000, 3)\n"


# Memory

MEASURE = """
import sys
from vggfeat.reading import opened, read_file

def status(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) * 1024

for file in sys.argv[1:]:
    read_file(file)  # modules and their tables
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # VmHWM begins again
    before, room = status("VmRSS"), status("VmSize")
    with opened(file) as image:
        pixels, room = image.image.width * image.image.height, status("VmSize") - room
        estimate = image.memory
        array = image.pixels()
    print(status("VmHWM") - before, estimate, room, flush=True)
    del array
"""


def kinds_of_images(side: int) -> dict[str, bytes]:
    pixels = np.asarray(Image.fromarray(picture(60, 60)).resize((side, side)))
    other = Image.fromarray(255 - pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    again: dict[str, Any] = {"save_all": True, "append_images": [other]}
    return {
        "jpeg": encoded(pixels, "JPEG", exif=turned),
        "progressive": encoded(pixels, "JPEG", mode="CMYK", progressive=True, quality=98),
        "png": encoded(pixels, "PNG", exif=turned, compress_level=1),
        "alpha": encoded(pixels, "PNG", mode="RGBA", compress_level=1),
        "palette": encoded(pixels, "PNG", mode="P", transparency=bytes(range(256)), compress_level=1),
        "gif": encoded(pixels, "GIF", mode="P", **again),
        "bmp": encoded(pixels, "BMP"),
        "ppm": b"P6 %d %d 254\n" % (side, side) + bytes(3 * side**2),
        "grey 16": b"P5 %d %d 4095\n" % (side, side) + bytes(2 * side**2),
        "tiff": encoded(pixels, "TIFF", compression="tiff_lzw", exif=turned, tiffinfo={278: side}),
        "webp": encoded(pixels, "WEBP", method=0, quality=10, **again),
        "webp still": encoded(pixels, "WEBP", method=0, quality=10, exif=turned),
        "jpeg 2000": encoded(pixels, "JPEG2000", mode="RGBA"),
        "avif": encoded(pixels, "AVIF", speed=10, subsampling="4:4:4"),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is measured in /proc")
@pytest.mark.parametrize("side", [900, pytest.param(3000, marks=pytest.mark.slow)])
def test_the_estimate_of_memory_is_above_the_peak_but_not_far(side: int, tmp_path: Path) -> None:
    files = []
    for name, data in kinds_of_images(side).items():
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    ran = subprocess.run([sys.executable, "-c", MEASURE, *files], capture_output=True, text=True, check=True)
    lines = zip(files, ran.stdout.splitlines(), strict=True)
    found = {file.name: [int(number) for number in line.split()] for file, line in lines}
    for name, (peak, estimate, _) in found.items():
        assert peak <= estimate < 35 * side**2 + 2**24, (name, peak / side**2, estimate / side**2)
    assert {name for name, (*_, room) in found.items() if room > 4 * side**2} <= {"webp", "webp still"}


def test_the_canvas_of_a_webp_is_checked_before_memory_is_made_for_it() -> None:
    """A file of 148 bytes: Pillow makes 700 MB for two pictures of 9400 x 9400 as it opens it."""
    small = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    small[0].save(file, "WEBP", save_all=True, append_images=small[1:], lossless=True)
    large = with_canvas(file.getvalue(), 9400, 9400)
    assert "9400x9400 is more than 1,000,000 pixels" in said(large, max_pixels=10**6)
    with opened(large) as image:
        assert 14 * 9400**2 < image.memory < 30 * 9400**2
    for options in ({}, {"lossless": True}):
        assert "160x120 is more than 100 pixels" in said(encoded(PICTURE, "WEBP", **options), max_pixels=100)


class Full(io.BytesIO):
    """A file on a machine without memory, or of a decoder that calls itself without end."""

    def __init__(self, content: bytes, error: type[Exception]) -> None:
        super().__init__(content)
        self._error, self._reads = error, 0

    def read(self, *size: Any) -> bytes:
        self._reads += 1
        if self._reads > 1:
            raise self._error
        return super().read(*size)


def test_a_lack_of_memory_is_told_as_such() -> None:
    for error, words in ((MemoryError, "not enough memory"), (RecursionError, "cannot be decoded")):
        with pytest.raises(ImageError, match=rf"\Aimage file: {words}[^\n]+\Z"):
            read_file(Full(encoded(PICTURE, "PNG"), error))


# Damaged files: pixels or one line

SMALL = picture(48, 64)
SEEDS: list[bytes] = [
    *(encoded(SMALL, "JPEG", **options) for options in (*BASELINE.values(), *PROGRESSIVE.values())),
    *(encoded(SMALL, "PNG", mode=mode) for mode in ("RGB", "RGBA", "P", "L", "1")),
    encoded(SMALL, "PNG", save_all=True, append_images=[Image.fromarray(255 - SMALL)]),
    encoded(SMALL, "GIF", mode="P"),
    encoded(SMALL, "BMP"),
    encoded(SMALL, "BMP", mode="P"),
    encoded(SMALL, "PPM"),
    netpbm(b"P6", 254, SMALL),
    netpbm(b"P5", 4095, SMALL[:, :, :1]),
    netpbm(b"P2", 255, SMALL[:, :, :1], b" ".join(b"%d" % value for value in SMALL[:, :, 0].reshape(-1))),
    *(encoded(SMALL, "TIFF", mode=KINDS[kind], compression=kind, tiffinfo={278: 16}) for kind in KINDS),
    encoded(SMALL, "WEBP"),
    encoded(SMALL, "WEBP", lossless=True, save_all=True, append_images=[Image.fromarray(255 - SMALL)]),
    encoded(SMALL, "JPEG2000"),
    encoded(SMALL, "AVIF", speed=10),
]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Bytes that are cut, changed, swapped, repeated, or numbers that lie."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        place, size = draw.randrange(len(changed)), draw.choice([1, 2, 4, 16, len(changed) // 3])
        if draw.random() < 0.5:
            place %= 200  # where sizes are
        match draw.randrange(6):
            case 0:
                changed = changed[: place + 1]
            case 1:
                changed[place] ^= 1 << draw.randrange(8)
            case 2:
                changed[place : place + 4] = draw.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1"]
                )
            case 3:
                del changed[place : place + size]
                changed += b"\0" * (not changed)
            case 4:
                changed[place:place] = changed[:size]
            case _:
                other = draw.randrange(len(changed))
                changed[place : place + size], changed[other : other + size] = (
                    changed[other : other + size],
                    changed[place : place + size],
                )
                changed += b"\0" * (not changed)
    return bytes(changed)


def read_damaged(tries: int, seed: int) -> int:
    """How many damaged files were refused. Any other outcome than pixels or one line is an error."""
    draw, refused = random.Random(seed), 0
    for _ in range(tries):
        data, allow = damaged(draw.choice(SEEDS), draw), draw.random() < 0.3
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                with opened(data, 10**6) as image:
                    size = image.image.size
                    pixels = image.pixels(allow_truncated=allow)
            except ImageError as error:
                refused += 1
                assert "\n" not in str(error)
                continue
        assert pixels.dtype == np.uint8
        assert pixels.shape in ((size[1], size[0], 3), (size[0], size[1], 3))
    return refused


def test_damaged_files_are_pixels_or_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    tries = 1500
    assert tries // 3 < read_damaged(tries, seed=0) < tries
    capfd.readouterr()  # libtiff writes to it


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_damaged_files_within_bounds(seed: int) -> None:
    child = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); "
        f"from tests.test_reading import read_damaged; print(read_damaged(20000, {seed}))"
    )
    ran = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert 6000 < int(ran.stdout) < 20000
