"""Drawings of boxes: the kinds of lines differ without colours, and each photo has a file of its own."""

from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from tests.kit.reports import HOSTILE
from vggfeat.localization.drawing import MERGED, MOST, SIDE, TRUE, Targets, draw, drawn
from vggfeat.localization.guesses import Located

BOX = (40, 30, 200, 130)


def guess(box, label=""):
    return Located(label, 0.5, box, 3.0, 4)


KINDS = {"true": {"truth": [BOX]}, "merged": {"merged": [guess(BOX)]}, "candidate": {"candidates": [BOX]}}


def plain(grey, height=160, width=240):
    return np.full((height, width, 3), grey, np.uint8)


def luminance(pixels):
    """As WCAG 2 defines it."""
    values = np.asarray(pixels, float) / 255
    return np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grey", [0, 90, 127, 255])
def test_every_box_is_seen_on_light_and_dark_photos(kind, grey):
    picture = np.asarray(drawn(plain(grey), 1, **KINDS[kind]))
    bright = luminance(picture)
    ground = luminance((grey,) * 3)
    contrast = (np.maximum(bright, ground) + 0.05) / (np.minimum(bright, ground) + 0.05)
    assert (contrast[24:36, 60:180].max(axis=0) >= 3).mean() >= 0.5  # dashes, or the gaps between them
    assert (picture[70:90, 80:160] == grey).all()  # nothing but the edges is drawn


def test_the_kinds_of_lines_differ_without_colours():
    """Along the upper edge a true box is light everywhere, a merged one has gaps; a candidate is thinner."""
    light = {kind: luminance(drawn(plain(0), 1, **boxes)) > 0.2 for kind, boxes in KINDS.items()}
    along = {kind: mask[30, 40:200].mean() for kind, mask in light.items()}
    across = {kind: mask[24:36, 43].sum() for kind, mask in light.items()}
    assert along["true"] == along["candidate"] == 1
    assert 0.5 < along["merged"] < 0.7
    assert across == {"true": 3, "merged": 3, "candidate": 1}
    assert luminance(TRUE.colour) > 1.5 * luminance(MERGED.colour)


def test_a_box_is_drawn_at_its_place_also_in_a_rescaled_photo():
    for scale in (1, 2, 0.5):
        yellow = np.all(np.asarray(drawn(plain(255), scale, truth=[BOX])) == TRUE.colour, axis=2)
        rows, columns = (np.flatnonzero(yellow.any(axis=axis)) / scale for axis in (1, 0))
        assert np.abs([columns[0], rows[0], columns[-1], rows[-1]] - np.array(BOX)).max() <= 2 / scale


def test_the_edges_of_a_box_outside_the_photo_are_drawn_on_its_border():
    picture = np.asarray(drawn(plain(255), 1, truth=[(-50, 30, 1000, 9000)]))
    assert (picture[80, 2] == TRUE.colour).all()
    assert (picture[80, -3] == TRUE.colour).all()
    assert (picture[-3, 120] == TRUE.colour).all()


def test_a_small_photo_is_enlarged_and_a_large_one_keeps_its_size(tmp_path):
    draw(plain(90, 48, 64), tmp_path / "small.jpg", truth=[(4, 4, 40, 40)])
    draw(plain(90, 30, 900), tmp_path / "large.jpg")
    with Image.open(tmp_path / "small.jpg") as small, Image.open(tmp_path / "large.jpg") as large:
        assert small.width == SIDE == 12 * 64
        assert small.height > 12 * 48  # with the legend
        assert large.size == (900, 30)  # no boxes, no legend


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (2, 2)])
def test_the_smallest_photos_are_drawn(tmp_path, shape):
    guesses = [guess((0, 0, 1, 1), name) for name in HOSTILE]
    candidates = np.tile([0, 0, 1, 1], (MOST + 1, 1))
    draw(plain(9, *shape), tmp_path / "a.jpg", truth=[(0, 0, 1, 1)], candidates=candidates, merged=guesses)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "JPEG"


def test_the_photo_itself_is_not_changed(tmp_path):
    pixels = plain(50, 900, 900)
    draw(pixels, tmp_path / "new" / "a.jpg", merged=[guess(BOX, "cat")])
    assert (pixels == 50).all()


NAMES = [
    *("a/1.jpg", "b/1.jpg", "a/1.png", "A/1.jpg", "x/a/1.jpg", "/x/a/1.jpg", "../1.jpg", "1.jpg", "a/../1.jpg"),
    *("a/1-2.jpg", "..", ".", "", "/", "a/..", "https://host/1.jpg?x=1", "c:\\1.jpg", "n" * 255, *HOSTILE),
]


def test_each_photo_has_a_file_of_its_own_inside_the_folder(tmp_path):
    targets = Targets(tmp_path / "out")
    files = [targets.of(name) for name in NAMES]
    assert len({str(file).lower() for file in files}) == len(NAMES)
    for file in files:
        inside = file.relative_to(tmp_path / "out")
        assert ".." not in inside.parts
        assert len(inside.parts) <= 2
        assert max(len(part.encode(errors="surrogateescape")) for part in inside.parts) <= 255
    assert files[:2] == [tmp_path / "out" / "a" / "1.boxes.jpg", tmp_path / "out" / "b" / "1.boxes.jpg"]
    assert files[2] == tmp_path / "out" / "a" / "1-2.boxes.jpg"
    assert not any(PurePosixPath(name).name == file.name for name, file in zip(NAMES, files, strict=True))


def test_earlier_drawings_are_written_over_and_no_other_file(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    photos = {"a.boxes.jpg": folder / "a.boxes.jpg", "other.jpg": tmp_path / "other.jpg"}
    for file in photos.values():
        Image.fromarray(plain(9)).save(file)
    (folder / "b.boxes.jpg").symlink_to(photos["other.jpg"])
    (folder / "c.boxes.jpg").mkdir()
    before = [file.read_bytes() for file in photos.values()]
    for _ in range(2):
        targets = Targets(tmp_path)
        files = [targets.of(f"photos/{name}.jpg") for name in "abcd"]
        assert [file.name for file in files] == ["a-2.boxes.jpg", "b-2.boxes.jpg", "c-2.boxes.jpg", "d.boxes.jpg"]
        for file in files:
            draw(plain(9), file, merged=[guess(BOX, "cat")])
    assert [file.read_bytes() for file in photos.values()] == before
