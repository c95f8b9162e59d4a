"""What a file is by its first bytes, and what is said of one that is not read."""

import doctest
import io
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from tests.kit.pixel_files import tiff
from vggfeat import formats
from vggfeat.errors import ImageError
from vggfeat.formats import FORMATS, has_image_suffix
from vggfeat.images import read

RED = np.full((16, 16, 3), (255, 0, 0), np.uint8)


def saved(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RED).save(file, kind, **options)
    return file.getvalue()


def iso(brand: bytes, *others: bytes) -> bytes:
    """A media file of ISO: the box that names its brands, and more."""
    box = b"ftyp" + brand + bytes(4) + b"".join(others)
    return (len(box) + 4).to_bytes(4) + box + bytes(900)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.jpg", saved("JPEG"))
    return file.getvalue()


def said(path: Path) -> str:
    with pytest.raises(ImageError, match=r"\A[^\n]+\Z") as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


NAMED = {
    "HEIC": (iso(b"heic", b"mif1", b"heic"), "is HEIC, which is read after `pip install pillow-heif`; or convert it"),
    "HEIF": (iso(b"mif1", b"heic"), "is HEIC, "),
    "JPEG XL": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(90), "is JPEG XL, which is not read; convert it to JPEG"),
    "naked JPEG XL": (b"\xff\x0a" + bytes(90), "is JPEG XL, "),
    "PSD": (b"8BPS\0\1" + bytes(90), "is PSD, which is not read; convert it to JPEG"),
    "PDF": (b"%PDF-1.7\n" + bytes(90), "is PDF, a document and not an image; save its pages"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is EPS, a drawing and not an image of pixels; convert it to PNG"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is SVG, a drawing"),
    "DICOM": (bytes(128) + b"DICM" + bytes(90), "is DICOM, which is not read; convert it to 8-bit PNG"),
    "ICO": (b"\0\0\1\0\1\0\x10\x10" + bytes(90), "is ICO, which is not read"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(90), "is camera raw, which is not read; convert it to JPEG"),
    "CR3": (iso(b"crx ", b"isom"), "is camera raw, "),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "is camera raw, "),
    "MP4": (iso(b"isom", b"mp41"), "is a video, not an image; save its frames as images"),
    "MOV": (iso(b"qt  "), "is a video, "),
    "MKV": (b"\x1aE\xdf\xa3" + bytes(90), "is a video, "),
    "error page": (b"\n<!DOCTYPE html>\n<html><body>404</body></html>", "is a web page (HTML), not an image; download"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer, not the image"),
    "zip": (zipped(), "is a zip archive, not an image; unpack it"),
    "gzip": (b"\x1f\x8b\x08" + bytes(90), "is a gzip file, not an image; unpack it"),
    "nothing": (b"", "is empty"),
    "text": (b"a,b\n1,2\n", "not an image (JPEG, PNG, GIF, "),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "not an image (JPEG, "),
    "half an AVIF": (iso(b"avif", b"mif1", b"miaf"), "cannot be decoded"),
    "half a JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(90), "cannot be decoded"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_read_is_named(name: str, tmp_path: Path) -> None:
    content, words = NAMED[name]
    (tmp_path / "a photo.jpg").write_bytes(content)
    assert said(tmp_path / "a photo.jpg").startswith(words)


@pytest.mark.parametrize(
    "more",
    [
        {254: (4, [1]), 330: (4, [8])},  # NEF, ARW: a small version; the image itself is in another directory
        {50706: (4, [1])},  # DNG
    ],
)
def test_the_preview_of_camera_raw_is_not_taken_for_the_photo(more: Any, tmp_path: Path) -> None:
    pixels = np.zeros((6, 6), np.uint8)
    (tmp_path / "a.nef").write_bytes(tiff(pixels, (6, 6), bits=[8], more=more))
    assert said(tmp_path / "a.nef") == "is camera raw, which is not read; convert it to JPEG"
    assert read(tiff(pixels, (6, 6), bits=[8], more={254: (4, [0])})).shape == (6, 6, 3)


@pytest.mark.parametrize(("kind", "options"), [("AVIF", {"quality": 100}), ("JPEG2000", {"irreversible": False})])
def test_avif_and_jpeg_2000(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(saved(kind, **options))  # whatever it is called
    assert np.abs(read(tmp_path / "a.jpg").astype(int) - RED).max() < 3


def test_of_a_moving_avif_the_first_frame() -> None:
    blue = Image.new("RGB", (16, 16), (0, 0, 255))
    moving = saved("AVIF", save_all=True, append_images=[blue], quality=100)
    assert Image.open(io.BytesIO(moving)).n_frames == 2  # type: ignore[attr-defined]
    assert np.abs(read(moving).astype(int) - RED).max() < 3


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_a_pillow_without_a_format(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.img").write_bytes(saved(kind))
    (tmp_path / "a.png").write_bytes(saved("PNG"))
    Image.init()
    monkeypatch.delitem(Image.OPEN, kind)
    assert said(tmp_path / "a.img") == f"is {kind}, which this Pillow lacks; pip install --upgrade pillow"
    assert np.array_equal(read(tmp_path / "a.png"), RED)


def test_heic_is_read_if_pillow_heif_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in for the package: it registers a format that is called HEIF, as pillow-heif does."""

    class Heif(ImageFile.ImageFile):
        format, format_description = "HEIF", "stand-in"

        def _open(self) -> None:
            self._size, self._mode = (2, 1), "L"
            self.tile = [ImageFile._Tile("raw", (0, 0, 2, 1), 0, ("L", 0, 1))]

    package = ModuleType("pillow_heif")
    package.register_heif_opener = lambda: Image.register_open("HEIF", Heif)  # type: ignore[attr-defined]
    (tmp_path / "a.heic").write_bytes(iso(b"heic"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # importing it fails
    assert "pip install pillow-heif" in said(tmp_path / "a.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    assert read(tmp_path / "a.heic")[0, :, 0].tolist() == [0, 0]  # the first bytes of the file, its length


def test_suffixes() -> None:
    for name in ("IMG_1.HEIC", "a/b.jfif", "c.Avif", "d.jp2", "e.tif"):
        assert has_image_suffix(name), name
    for name in (".jpg", "jpg", "a.jpg/b", "a.txt", "a.dng"):
        assert not has_image_suffix(name), name


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_known_to_pillow(kind: str) -> None:
    """A name with a slip would leave the format out in silence."""
    Image.init()
    assert kind in Image.OPEN


def test_the_examples_in_the_documentation() -> None:
    assert doctest.testmod(formats).failed == 0
