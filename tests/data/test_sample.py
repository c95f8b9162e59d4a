"""The photos inside the package: whole, made of Caltech-101 as the script says, and with the planted faults."""

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vggfeat.data.sample import SAMPLE, read
from vggfeat.errors import ImageError
from vggfeat.images import read as pixels

RECORD = Path(__file__).parents[2] / "datasets" / "sample"
MOST = 4 * 2**20  # bytes


def files():
    return {file.relative_to(SAMPLE).as_posix(): file.read_bytes() for file in SAMPLE.rglob("*.jpg")}


def test_the_files_are_those_of_the_record():
    lines = (RECORD / "sha256.txt").read_text(encoding="utf-8").splitlines()
    recorded = {name: checksum for checksum, name in (line.split("  ") for line in lines)}
    assert recorded == {name: hashlib.sha256(data).hexdigest() for name, data in files().items()}
    assert sum(map(len, files().values())) < MOST


def test_the_script_makes_the_same_bytes_of_caltech101(shared):
    make = runpy.run_path(str(RECORD / "make.py"))["make"]
    made, shipped = make(shared("data/caltech101") / "101_ObjectCategories"), files()
    assert made.keys() == shipped.keys()
    again = {"hawksbill/image_0011_smaller.jpg", "elephant/image_0008_cropped.jpg", "butterfly/image_0047_turned.jpg"}
    assert {name for name in made if made[name] != shipped[name]} <= again  # another libjpeg may compress otherwise


def test_ten_classes_of_25_files():
    images = read()
    assert (images.name, len(images), len(images.classes)) == ("sample", 250, 10)
    assert (images.labels.sum(axis=0) == 25).all()
    assert images.notes == ()


def test_one_file_is_broken_and_one_is_grey():
    broken, grey = [], []
    for name in files():
        try:
            with Image.open(SAMPLE / name) as image:
                image.load()
                grey += [name] if image.mode == "L" else []
        except OSError:
            broken.append(name)
    assert broken == ["water_lilly/image_0031_broken.jpg"]
    assert grey == ["ketch/image_0002.jpg"]
    with pytest.raises(ImageError, match="image_0031_broken"):
        pixels(SAMPLE / broken[0])


def test_one_photo_is_turned_upright(shared):
    turned = SAMPLE / "butterfly/image_0047_turned.jpg"
    original = pixels(shared("data/caltech101/101_ObjectCategories/butterfly/image_0047.jpg")).astype(int)
    assert np.abs(pixels(turned) - original).mean() < 3  # of 255: compressed once more
    assert pixels(turned, exif=False).shape[:2] == original.shape[1::-1]
