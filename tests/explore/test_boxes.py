"""Boxes of a localiser: whose they are, and where they lie on the photo that the page shows."""

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.kit.explorers import OBJECT, STORED, found_in, lying, photo_store, record, write_store
from vggfeat.errors import DataError
from vggfeat.explore import ExploreSettings
from vggfeat.explore.boxes import turned
from vggfeat.explore.collection import read_collection
from vggfeat.explore.desk import Desk


def white(image):
    """The box of the white pixels."""
    y, x = np.nonzero(np.asarray(image.convert("L")) > 128)
    return (x.min(), y.min(), x.max() + 1, y.max() + 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_pillow_turns_the_photo(tmp_path, orientation):
    with Image.open(lying(tmp_path, orientation)) as photo:
        assert turned(OBJECT, *STORED, orientation) == white(ImageOps.exif_transpose(photo))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("upright", "localised_upright"), [(True, False), (False, True), (True, True)])
def test_boxes_lie_on_the_photo_as_it_is_shown(tmp_path, orientation, upright, localised_upright):
    file = lying(tmp_path / "photos", orientation)
    with Image.open(file) as stored:
        views = {False: stored.copy(), True: ImageOps.exif_transpose(stored)}
    row = record("1.png", None, np.ones(8, np.float32), file, views[upright].size)
    facts = {} if upright else {"exif": False}
    store = write_store(tmp_path / "s.vggfeat", [row], tmp_path / "photos", **facts)
    seen = views[localised_upright]
    boxes = [found_in(file, seen.size, localised_upright, map(int, white(seen)))]
    (tmp_path / "b.json").write_text(json.dumps(boxes))
    desk = Desk(read_collection(store), ExploreSettings(boxes=tmp_path / "b.json"))
    (one,) = desk.objects(0)
    assert one == {"label": "jay\\n", "probability": 0.9, "box": white(Image.fromarray(desk.photos.whole(0, 1280)))}


def test_boxes_belong_to_files_and_the_others_are_counted(tmp_path, capsys):
    store = photo_store(tmp_path, each=1)
    red, green, blue = (tmp_path / "photos" / name / "0.jpg" for name in ("red", "green", "blue"))
    boxes = [
        found_in(red, (80, 60), path="elsewhere/renamed.jpg"),
        found_in(green, (60, 80), exif=True),  # as the store: it cannot lie on its side
        found_in(blue, (80, 60), sha256="0" * 64),
        found_in(blue, (80, 60), sha256=None),
        {"path": "broken.jpg", "error": "no image"},
    ]
    (tmp_path / "s.boxes.json").write_text(json.dumps(boxes))
    desk = Desk(read_collection(store), ExploreSettings())
    assert [name for row, name in enumerate(desk.collection.names) if desk.objects(row)] == ["red/0.jpg"]
    said = capsys.readouterr().err
    assert "s.boxes.json: has boxes for 1 of 3 photos" in said
    for line in (
        "that could not be localised: 1, such as broken.jpg",
        "of another size than the file says: 1, such as photos/0.jpg",
        "that are not on the page, or have changed: 1, such as photos/0.jpg",
        "without a sha256 (write the file again with vggfeat localize predict --json): 1, such as photos/0.jpg",
    ):
        assert f"s.boxes.json: photos {line}\n" in said
    red.write_bytes(green.read_bytes())
    assert not any(desk.objects(row) for row in range(3))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,rank,label\n", "Expecting value"),
        ('[{"path": "a", "objects": [{"label": "x", "probability": 1, "box": [0, 0, NaN, 1]}]}]', "box"),
        ('[{"path": "a", "objects": [{"label": "x", "probability": 2, "box": [0, 0, 1, 1]}]}]', "<= 1"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, text, reason):
    collection = read_collection(photo_store(tmp_path, each=1))
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(
        DataError, match=rf"b\.json: cannot be read \(.*{reason}.*\); name a file that vggfeat localize"
    ):
        Desk(collection, ExploreSettings(boxes=tmp_path / "b.json"))
    with pytest.raises(DataError, match=r"gone\.json: cannot be read \(No such file.*\); name a file that"):
        Desk(collection, ExploreSettings(boxes=tmp_path / "gone.json"))
