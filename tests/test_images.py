"""Images: whatever is read gives the pixels that a person sees, or one line that names the file; rescaling."""

import doctest
import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional as torchvision_functional

from vggfeat import images
from vggfeat.errors import ImageError
from vggfeat.images import check_rescaled, read, rescale, rescaled_size
from vggfeat.inputs import column

Shared = Callable[[str], Path]
WHITE, RED, BLUE = (255, 255, 255), (255, 0, 0), (0, 0, 255)


def noise(height: int = 6, width: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def blank_png(side: int) -> bytes:
    """A whole black 1-bit PNG, made without its pixels ever being in memory at once as an image."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes((side // 8 + 1) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Unseekable(io.RawIOBase):
    """A stream, as from a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)


# What can be read, and how it comes out


@pytest.mark.parametrize(
    "source",
    [
        str,
        Path,
        Path.read_bytes,
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: Unseekable(path.read_bytes()),
        lambda path: Image.open(io.BytesIO(path.read_bytes())),
        lambda path: noise(),
        lambda path: np.asfortranarray(noise()),
        lambda path: torch.from_numpy(noise()).permute(2, 0, 1),
    ],
    ids=[
        "str",
        "Path",
        "bytes",
        "bytearray",
        "memoryview",
        "BytesIO",
        "stream",
        "PIL",
        "array",
        "fortran",
        "tensor",
    ],
)
def test_every_kind_of_source_gives_the_same_array(source: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "a photo – für Übung.png"
    path.write_bytes(encoded(noise()))
    found = read(source(path))
    assert (found.dtype, found.shape) == (np.uint8, (6, 10, 3))
    assert np.array_equal(found, noise())


def test_an_open_file_is_read_from_its_start_and_left_open(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise()))
    with (tmp_path / "a.png").open("rb") as file:
        file.seek(20)
        assert np.array_equal(read(file), noise())
        assert not file.closed


def test_grey_arrays_become_rgb() -> None:
    grey = noise()[:, :, 0]
    assert np.array_equal(read(grey), np.stack([grey] * 3, axis=2))


def test_arrays_that_cant_be_written_to_are_copied() -> None:
    """torch.from_numpy warns of such arrays, and warnings are errors here."""
    fixed = noise()
    fixed.flags.writeable = False
    assert torch.equal(torch.from_numpy(read(fixed)), torch.from_numpy(noise()))


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PNG", "PPM", "TIFF", "WEBP"])
def test_formats_without_loss(kind: str) -> None:
    grey = np.repeat(noise()[:, :, :1], 3, axis=2)  # a GIF has 256 colours
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(read(encoded(Image.fromarray(grey).convert("L"), kind, **options)), grey)


def test_a_jpeg_is_near(shared: Shared) -> None:
    photo = read(shared("data/caltech101/101_ObjectCategories/accordion/image_0001.jpg"))
    assert np.abs(read(encoded(photo, "JPEG", quality=95)).astype(int) - photo).mean() < 3


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),  # the camera's top is on the right: turn it clockwise
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
    9: lambda a: a,  # there is no 9
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_the_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(noise(), kind, exif=exif, **options)
    assert np.array_equal(read(data), UPRIGHT[orientation](noise()))
    assert np.array_equal(read(Image.open(io.BytesIO(data))), UPRIGHT[orientation](noise()))


def test_of_a_turned_jpeg_and_of_16_bits() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    halves = np.zeros((16, 32, 3), np.uint8)
    halves[:, 16:] = 255  # white on the right, which is at the bottom when upright
    upright = read(encoded(halves, "JPEG", exif=exif))
    assert upright.shape == (32, 16, 3)
    assert upright[:16].max() < 8 < 247 < upright[16:].min()
    deep = halves[:, :, 0].astype(np.uint16) * 257
    assert np.array_equal(read(encoded(deep, "PNG", exif=exif)), np.rot90(halves, -1))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it complains of what is damaged
@pytest.mark.parametrize("place", [0, 6, 10, 16, 18, 20, 24, 26, 28, 38, 40])
def test_damaged_exif_data_dont_spoil_an_image(place: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010F] = "maker"
    for value in (0, 7, 255):
        data = bytearray(exif.tobytes())
        data[place] = value
        found = read(encoded(noise(8, 8), "PNG", exif=bytes(data)))
        assert any(np.array_equal(found, turn(noise(8, 8))) for turn in UPRIGHT.values())


def test_odd_exif_data_beside_the_orientation() -> None:
    """A text where a number belongs, which can be read but not be written again."""
    tags = struct.pack(">HHHI4s", 2, 0x0112, 3, 1, b"\0\6\0\0") + struct.pack(">HHI4s", 0x0132, 1, 4, b"2020")
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + tags + bytes(4)
    assert np.array_equal(read(encoded(noise(), "PNG", exif=exif)), np.rot90(noise(), -1))


def one_row(*pixels: Any, mode: str) -> Image.Image:
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return image


def test_transparency_is_laid_over_white_by_hand() -> None:
    """alpha 51 is a fifth: (200, 100, 0) gives (0.2 * 200 + 0.8 * 255, ...) = (244, 224, 204)."""
    rgba = one_row((200, 100, 0, 51), (200, 100, 0, 255), (200, 100, 0, 0), mode="RGBA")
    assert read(encoded(rgba)).tolist() == [[[244, 224, 204], [200, 100, 0], [255, 255, 255]]]
    la = one_row((100, 51), (100, 255), (100, 0), mode="LA")
    assert read(encoded(la)).tolist() == [[[224] * 3, [100] * 3, [255] * 3]]


def palette_row() -> Image.Image:
    image = one_row(0, 1, 2, mode="P")
    image.putpalette([255, 0, 0, 10, 20, 30, 200, 100, 0])
    return image


def test_palettes() -> None:
    assert read(encoded(palette_row())).tolist() == [[[255, 0, 0], [10, 20, 30], [200, 100, 0]]]
    assert read(encoded(palette_row(), "GIF")).tolist() == [[[255, 0, 0], [10, 20, 30], [200, 100, 0]]]


def test_palettes_with_transparency() -> None:
    partial = encoded(palette_row(), transparency=bytes([255, 0, 51]))
    assert read(partial).tolist() == [[[255, 0, 0], [255, 255, 255], [244, 224, 204]]]
    for kind in ("PNG", "GIF"):
        one = encoded(palette_row(), kind, transparency=1)
        assert read(one).tolist() == [[[255, 0, 0], [255, 255, 255], [200, 100, 0]]]


def test_a_transparent_colour() -> None:
    rgb = one_row(RED, BLUE, mode="RGB")
    assert read(encoded(rgb, transparency=BLUE)).tolist() == [[list(RED), list(WHITE)]]
    assert read(encoded(one_row(7, 8, mode="L"), transparency=8)).tolist() == [[[7] * 3, [255] * 3]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_by_hand(kind: str) -> None:
    """v * 255 / 65535, rounded: 128 gives 0.498, 129 gives 0.502, 32768 gives 127.502."""
    deep = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    assert read(encoded(deep, kind))[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert np.ptp(read(encoded(deep, kind)), axis=2).max() == 0


def test_16_bit_grey_of_the_other_byte_order() -> None:
    deep = Image.frombytes("I;16B", (3, 1), struct.pack(">3H", 0, 32768, 65535))
    assert read(encoded(deep, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


def test_one_bit() -> None:
    assert read(encoded(one_row(0, 1, mode="1")))[0, :, 0].tolist() == [0, 255]


def test_cmyk_jpegs() -> None:
    """No ink is white, magenta and yellow are red, black ink is black; in blocks of 16, which JPEG keeps."""
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 1:3] = 255
    inks[:, 32:, 3] = 255
    found = read(encoded(Image.fromarray(inks, mode="CMYK"), "JPEG", quality=100)).astype(int)
    for place, colour in [(8, WHITE), (24, RED), (40, (0, 0, 0))]:
        assert np.abs(found[8, place] - colour).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(moving)).n_frames == 2  # type: ignore[attr-defined]
    assert np.array_equal(read(moving), np.full((16, 16, 3), RED))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_the_smallest_and_the_thinnest(size: tuple[int, int]) -> None:
    assert np.array_equal(read(encoded(noise(*size))), noise(*size))


# What can't be read


def complaint(source: Any, **options: Any) -> str:
    with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
        read(source, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n", "not an image"),
        (b"No image, but a text that somebody called a photo.\n" * 100, "not an image"),
        (encoded(noise(200, 200), "JPEG")[:9000], "truncated"),
        (encoded(noise(200, 200), "PNG")[:9000], "truncated"),
        (encoded(noise(200, 200), "GIF")[:9000], "decoded"),
        (encoded(noise(200, 200), "BMP")[:9000], "truncated"),
        (encoded(noise(200, 200), "TIFF")[:9000], "decoded|not an image"),
        (encoded(noise(), "JPEG")[:30], "decoded|not an image"),
        (b"\x89PNG\r\n\x1a\n", "decoded|not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
    ],
)
def test_damaged_files_are_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "no photo, ü.jpg"
    path.write_bytes(content)
    with path.open("rb") as file:
        messages = [complaint(source) for source in (path, str(path), file)]
    for message in messages:
        assert message.startswith(f"{path}: ")
        assert any(word in message for word in said.split("|"))
    assert f"{len(content)} bytes" in complaint(content)


def test_what_is_not_a_file_is_named(tmp_path: Path) -> None:
    assert complaint(tmp_path) == f"{tmp_path}: not a regular file"
    assert complaint(tmp_path / "none.jpg") == f"{tmp_path / 'none.jpg'}: No such file or directory"
    assert "null" in complaint("a\0b.jpg")
    assert "too long" in complaint("a" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fifo.jpg"
    os.mkfifo(path)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(complaint(path)), daemon=True)
    reader.start()
    reader.join(10)
    assert said == [f"{path}: not a regular file"]


def test_a_link_to_an_image_is_followed_and_one_to_nothing_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(noise()))
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert np.array_equal(read(tmp_path / "link.png"), noise())
    assert "loop.png" in complaint(tmp_path / "loop.png")


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_bombs_are_not_decoded(side: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(blank_png(side))
    assert path.stat().st_size < 300_000
    message = complaint(path)
    assert message.startswith(f"{path}: ") and "89,478,485 pixels" in message
    assert "89,478,485 pixels" in complaint(path, max_pixels=10**9)


def test_max_pixels() -> None:
    for source in (noise(), encoded(noise()), Image.fromarray(noise())):
        assert read(source, max_pixels=60).shape == (6, 10, 3)
        assert "10x6 is more than 59 pixels" in complaint(source, max_pixels=59)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (7, "int"),
        (None, "NoneType"),
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((4, 4, 4), np.uint8), "(4, 4, 4)"),
        (np.zeros(4, np.uint8), "(4,)"),
        (np.zeros((0, 4), np.uint8), "no pixels (4x0)"),
        (torch.zeros(3, 4, 4), "float32"),
        (torch.zeros(3, 4, 4, requires_grad=True), "float32"),
        (torch.zeros(3, 4, 4, dtype=torch.bfloat16), "bfloat16"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "(4, 4, 3)"),
        (Image.new("F", (2, 2)), "floating-point"),
        (Image.new("I", (2, 2), 70_000), "32-bit"),
        (Image.new("RGB", (0, 2)), "no pixels (0x2)"),
        (io.StringIO("text"), "decoded"),
    ],
)
def test_what_is_no_image_is_said(source: Any, said: str) -> None:
    assert said in complaint(source)


@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.zeros((4, 5, 3)), "(array * 255).round().astype('uint8')"),
        (np.zeros((4, 5, 3), np.float16), "(array * 255).round().astype('uint8')"),
        (np.zeros((4, 5), bool), "array.astype('uint8') * 255"),
        (np.zeros((4, 5, 3), np.int64), "bring its values to 0..255 and give array.astype('uint8')"),
        (np.zeros((3, 4, 5), np.uint8), "array.transpose(1, 2, 0)"),
        (np.zeros((4, 5, 1), np.uint8), "array[:, :, 0]"),
        (np.zeros((4, 5, 4), np.uint8), "Image.fromarray(array), and transparent pixels become white"),
        (np.zeros((7, 6, 5), np.uint8), "list(array)"),
        (torch.zeros(3, 4, 5), "(tensor * 255).round().to(torch.uint8)"),
        (torch.zeros(3, 4, 5, dtype=torch.bfloat16), "(tensor * 255).round().to(torch.uint8)"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), "tensor.permute(2, 0, 1)"),
        (np.full((4, 5, 3), 255.0), "array.round().astype('uint8')"),
        (np.zeros((3, 4, 5)), "(array.transpose(1, 2, 0) * 255).round().astype('uint8')"),
        (torch.full((4, 5, 3), 200.0), "tensor.permute(2, 0, 1).round().to(torch.uint8)"),
        (torch.zeros(1, 4, 5, dtype=torch.uint8), "tensor.expand(3, -1, -1)"),
        (torch.zeros(4, 5, dtype=torch.bool), "tensor.expand(3, -1, -1).to(torch.uint8) * 255"),
    ],
)
def test_the_remedy_makes_an_image_of_an_array(array: Any, remedy: str) -> None:
    message = complaint(array)
    assert message.endswith(remedy)
    code = message.rpartition("give ")[2].partition(", and")[0]
    made = eval(code, {"array": array, "tensor": array, "torch": torch, "Image": Image, "list": list})
    for one in made if isinstance(made, list) else [made]:
        assert read(one).shape[2] == 3


def test_a_pil_image_whose_file_is_cut_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(noise(200, 200), "JPEG")[:9000])
    with Image.open(path) as lazy:
        assert complaint(lazy).startswith(f"{path}: cannot be decoded")


def test_an_image_that_is_not_a_whole_file_says_nothing_of_its_own() -> None:
    closed = io.BytesIO(encoded(noise()))
    closed.close()
    assert "closed file" in complaint(closed)
    assert "not an image" in complaint(Unseekable(b"text"))


# Rescaling


@pytest.mark.parametrize(
    ("height", "width", "q", "expected"),
    [
        (375, 500, 256, (256, 341)),  # 341.33
        (500, 375, 256, (341, 256)),
        (500, 375, 384, (512, 384)),
        (333, 500, 256, (256, 384)),  # 384.38
        (2, 3, 1, (1, 2)),  # 1.5: half up
        (3, 2, 1, (2, 1)),
        (2, 5, 1, (1, 3)),  # 2.5: up as well, where round() would go to the even number
        (4, 5, 2, (2, 3)),
        (7, 7, 256, (256, 256)),
        (256, 300, 256, (256, 300)),
        (1, 10_000, 256, (256, 2_560_000)),
    ],
)
def test_sizes_by_hand(height: int, width: int, q: int, expected: tuple[int, int]) -> None:
    assert rescaled_size(height, width, q) == expected


sides = st.integers(1, 20_000)


@given(sides, sides, st.integers(1, 1024))
def test_the_smallest_side_is_q_and_the_other_to_half_a_pixel(height: int, width: int, q: int) -> None:
    h, w = rescaled_size(height, width, q)
    assert min(h, w) == q
    assert (h < w) <= (height < width)
    exact = Fraction(q * max(height, width), min(height, width))
    assert -Fraction(1, 2) < max(h, w) - exact <= Fraction(1, 2)
    assert rescaled_size(width, height, q) == (w, h)


def test_the_example_in_the_documentation() -> None:
    assert doctest.testmod(images) == (0, 1)


@pytest.fixture(params=["noise", "photo"])
def picture(request: pytest.FixtureRequest, shared: Shared) -> torch.Tensor:
    """uint8 (3, H, W)."""
    if request.param == "noise":
        return torch.from_numpy(noise(133, 180)).permute(2, 0, 1)
    return torch.from_numpy(read(shared("data/caltech101/101_ObjectCategories/accordion/image_0001.jpg"))).permute(
        2, 0, 1
    )


QS = [32, 100, 256, 300]


@pytest.mark.parametrize("q", QS)
def test_rescaling_agrees_with_pillow(picture: torch.Tensor, q: int) -> None:
    """Pillow rounds to integers after each direction."""
    found = rescale(picture, q)
    assert found.dtype == torch.float32
    height, width = rescaled_size(picture.shape[1], picture.shape[2], q)
    theirs = Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BILINEAR)
    difference = found.permute(1, 2, 0).numpy() - np.asarray(theirs).astype(float)
    assert np.abs(difference).max() <= 1.001
    assert abs(difference.mean()) < 0.1


@pytest.mark.parametrize("q", QS)
def test_rescaling_agrees_with_torchvision(picture: torch.Tensor, q: int) -> None:
    size = list(rescaled_size(picture.shape[1], picture.shape[2], q))
    theirs = torchvision_functional.resize(picture.float(), size, antialias=True)
    torch.testing.assert_close(rescale(picture, q), theirs, rtol=0, atol=1e-3)


def test_the_filter_widens_with_the_reduction_by_hand() -> None:
    """Four to two: the triangle around 1.0 weighs the pixels at 0.5, 1.5, 2.5 by 3 : 3 : 1."""
    row = torch.tensor([0, 0, 210, 70], dtype=torch.uint8).expand(3, 4, 4)
    expected = torch.tensor([210 / 7, (0 + 3 * 210 + 3 * 70) / 7]).expand(3, 2, 2)
    torch.testing.assert_close(rescale(row, 2), expected)


def test_enlarging_by_hand() -> None:
    """Two to four: new pixels lie at 0.25, 0.75, 1.25, 1.75 of the old ones, whose centres are 0.5 and 1.5."""
    row = torch.tensor([0, 100], dtype=torch.uint8).expand(3, 2, 2)
    torch.testing.assert_close(rescale(row, 4), torch.tensor([0.0, 25.0, 75.0, 100.0]).expand(3, 4, 4))


def test_an_image_that_has_the_size_keeps_its_values(picture: torch.Tensor) -> None:
    assert torch.equal(rescale(picture, min(picture.shape[1:])), picture.float())


@pytest.mark.parametrize("q", QS)
def test_mirroring_commutes_with_rescaling(picture: torch.Tensor, q: int) -> None:
    torch.testing.assert_close(rescale(picture.flip(2), q), rescale(picture, q).flip(2), rtol=0, atol=1e-2)


@pytest.mark.parametrize("q", QS)
def test_a_constant_image_stays_constant(q: int) -> None:
    constant = torch.full((3, 133, 180), 137, dtype=torch.uint8)
    torch.testing.assert_close(rescale(constant, q), torch.full((3, *rescaled_size(133, 180, q)), 137.0))


def test_a_rescaled_image_that_would_be_too_large_is_refused_with_its_numbers() -> None:
    assert check_rescaled(2048, 4096, 2048) == (2048, 4096)  # 2^23 pixels
    for check in (lambda: check_rescaled(1, 32_769, 256), lambda: rescale(torch.zeros(3, 1, 32_769), 256)):
        with pytest.raises(ImageError, match=r"32769x1 would become 8388864x256 at Q=256, .*8,388,608 pixels"):
            check()


@pytest.mark.parametrize(
    ("batch", "expected", "remedy"),
    [
        (torch.rand(2, 3, 40, 50), "(N, 3, H, W), not torch.float32 (2, 3, 40, 50)", "(tensor * 255)"),
        (torch.rand(2, 40, 50, 3), "(N, 3, H, W)", "(tensor.permute(0, 3, 1, 2) * 255)"),
        (np.zeros((2, 3, 40, 50)), "(N, H, W, 3), not float64 (2, 3, 40, 50)", "(array.transpose(0, 2, 3, 1) * 255)"),
        (np.zeros((0, 40, 50, 3), np.float32), "(N, H, W, 3)", "(array * 255)"),
    ],
)
def test_a_float_batch_in_0_to_1_is_for_backbones(batch: Any, expected: str, remedy: str) -> None:
    with pytest.raises(ImageError, match="a batch of images as a") as refused:
        column(batch)
    message = str(refused.value)
    assert f"must be uint8 of shape {expected}" in message
    assert f"if its values are 0..1, give {remedy}.round()" in message
    assert message.endswith(", or give the batch to vggfeat.backbone(...), which takes 0..1")


@pytest.mark.parametrize(
    ("batch", "remedy"),
    [
        (torch.full((2, 3, 4, 5), 200.0), "tensor.round().to(torch.uint8)"),
        (np.zeros((2, 3, 4, 5), np.uint8), "array.transpose(0, 2, 3, 1)"),
        (np.zeros((2, 4, 5, 3), np.int64), "array.astype('uint8')"),
        (np.zeros((2, 4, 5, 3), bool), "array.astype('uint8') * 255"),
        (np.zeros((2, 4, 5, 1), np.uint8), "list(array[..., 0])"),
        (torch.zeros(2, 4, 5, 3, dtype=torch.uint8), "tensor.permute(0, 3, 1, 2)"),
        (torch.zeros(2, 1, 4, 5, dtype=torch.uint8), "tensor.expand(-1, 3, -1, -1)"),
    ],
)
def test_the_remedy_makes_images_of_a_batch(batch: Any, remedy: str) -> None:
    with pytest.raises(ImageError, match="a batch of images as a") as refused:
        column(batch)
    assert str(refused.value).endswith(f"give {remedy}")
    made = list(column(eval(remedy, {"array": batch, "tensor": batch, "torch": torch})))
    assert [read(image).shape for image in made] == [(4, 5, 3)] * 2


@pytest.mark.parametrize("array", [np.uint8(7), np.zeros((), np.uint8), np.zeros((2, 4, 5, 5), np.uint8)])
def test_what_has_no_remedy_still_says_what_is_expected(array: Any) -> None:
    said = r"uint8 of shape \((N, )?H, W, 3\).*, not uint8 \([\d, ]*\)$|cannot be a uint8"
    with pytest.raises(ImageError, match=said):
        list(column(array)) if array.ndim > 3 else read(array)
