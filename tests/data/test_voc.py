"""The readers of VOC: labels and ignored images, people and boxes, broken and hostile kits."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kit.data_sets import Shared, person, reader, small_actions, small_voc, write_lists
from vggfeat.data import ImageSet, actions, annotations, voc
from vggfeat.errors import DataError


@pytest.fixture
def read(tmp_path: Path, shared: Shared) -> Callable[[str], ImageSet]:
    return reader(tmp_path, shared)


# --- VOC ---


def test_voc_labels_ignored_and_hidden(tmp_path: Path) -> None:
    images = voc.read2007(small_voc(tmp_path, 2007))
    cat, dog, bus = (images.classes.index(name) for name in ("cat", "dog", "bus"))
    assert images.paths == tuple(f"JPEGImages/{image}.jpg" for image in "abcd")
    assert images.subset is not None and images.subset.tolist() == ["train", "train", "val", "test"]
    assert images.labels[:, cat].tolist() == [True, False, False, True]
    assert images.ignore[:, cat].tolist() == [False, True, False, False]
    assert images.labels[:, dog].tolist() == [False, True, False, False]
    assert not images.labels[:, bus].any() and images.ignore.sum() == 1
    assert images.notes[0] == "found 2 of 2,501 train images"

    images = voc.read2012(small_voc(tmp_path, 2012))
    assert images.ignore[3].all() and not images.ignore[[0, 2]].any() and images.ignore[1].sum() == 1
    assert images.notes == ("found 2 of 5,717 train images", "found 1 of 5,823 val images")


def test_voc2007_official_lists(read: Callable[[str], ImageSet], shared: Shared) -> None:
    images = read("real voc2007")
    assert len(images) == 9963 and images.notes == () and images.subset is not None
    assert Counter(images.subset.tolist()) == {"train": 2501, "val": 2510, "test": 4952}

    # numbers of positive and ignored images, counted in the lists with awk
    counted = {
        ("aeroplane", "train"): (112, 1),
        ("aeroplane", "test"): (204, 1),
        ("dog", "val"): (218, 2),
        ("person", "train"): (1025, 45),
        ("person", "val"): (983, 42),
        ("person", "test"): (2007, 90),
        ("train", "test"): (259, 0),
    }
    for (name, subset), expected in counted.items():
        k, rows = images.classes.index(name), images.subset == subset
        assert (images.labels[rows, k].sum(), images.ignore[rows, k].sum()) == expected, (name, subset)

    # every line of every list, read by a regular expression
    lists = shared("data/voc2007-imagesets") / "VOCdevkit/VOC2007/ImageSets/Main"
    for subset in ("train", "val", "test"):
        rows = images.subset == subset
        ids = [voc.submission_id(path) for path in np.array(images.paths)[rows]]
        for k, name in enumerate(images.classes):
            text = (lists / f"{name}_{subset}.txt").read_text()
            for label, flags in (("1", images.labels), ("0", images.ignore)):
                assert re.findall(rf"^(\d+) +{label}$", text, re.M) == [
                    image for image, flag in zip(ids, flags[rows, k], strict=True) if flag
                ]


def test_voc2012_labels_are_the_annotated_objects(read: Callable[[str], ImageSet], shared: Shared) -> None:
    images = read("real voc2012")
    assert len(images) == 60 and all(image.is_file() for image in images.images if isinstance(image, Path))
    annotations = shared("data/voc-mini") / "VOCdevkit/VOC2012/Annotations"
    for path, labels, ignore in zip(images.paths, images.labels, images.ignore, strict=True):
        xml = (annotations / f"{voc.submission_id(path)}.xml").read_text()
        objects = set(re.findall(r"<name>(\w+)</name>\s*<difficult>0</difficult>", xml))
        assert {name for name, label in zip(images.classes, labels, strict=True) if label} == objects
        assert not ignore.any() or "<difficult>1</difficult>" in xml


@pytest.mark.parametrize("place", ["", "VOC2007", "VOCdevkit/VOC2007"])
def test_voc_is_found_in_its_usual_places(place: str, tmp_path: Path) -> None:
    made = small_voc(tmp_path / "made", 2007) / "VOCdevkit" / "VOC2007"
    (tmp_path / "root" / place).parent.mkdir(parents=True, exist_ok=True)
    made.rename(tmp_path / "root" / place)
    assert len(voc.read2007(tmp_path / "root")) == len(voc.read2007(tmp_path / "root" / place)) == 4


def test_a_kit_of_another_year_is_refused(tmp_path: Path) -> None:
    small_voc(tmp_path, 2012)
    with pytest.raises(DataError, match=r"VOC2012: VOC-2007 not found; looked for VOC2007/ImageSets/Main"):
        voc.read2007(tmp_path / "VOCdevkit" / "VOC2012")


def test_voc_photos(tmp_path: Path) -> None:
    photos = small_voc(tmp_path, 2007) / "VOCdevkit" / "VOC2007" / "JPEGImages"
    (photos / "c.jpg").unlink()
    assert voc.read2007(tmp_path).notes[-1] == "found 3 of 4 photos"
    photos.rename(tmp_path / "photos")
    with pytest.raises(DataError, match="has none of the 4 photos"):
        voc.read2007(tmp_path)
    photos.symlink_to(tmp_path / "photos")
    assert voc.read2007(tmp_path).notes[-1] == "found 3 of 4 photos"
    assert len(voc.read2007(tmp_path, check_images=False)) == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train", "../../../secret\n", "line 1: not a line of a VOC list"),
        ("train", "a\n/etc/passwd\n", "line 2: not a line of a VOC list"),
        ("train", "a\nb\na\n", "lists an image twice"),
        ("train", "", "empty"),
        ("val", "c\na\n", "image a is in two of train, val, test"),
        ("cat_train", "a 1\n", "its images are not those of train.txt"),
        ("cat_train", "a 1\na 1\n", "its images are not those of train.txt"),
        ("cat_train", "a 1\nc 1\n", "its images are not those of train.txt"),
        ("cat_train", "a 1\nb yes\n", "a label is not a whole number"),
        ("cat_train", "a\nb\n", "line 1: not a line of a VOC list"),
        ("cat_train", None, "cat_train.txt: missing"),
        ("val", None, "val.txt: missing"),
        ("val", "c" * (voc.LIST_BYTES + 1), r"cannot be read \(more than 4,194,304 bytes\)"),
    ],
)
def test_broken_or_hostile_voc_lists(name: str, text: str | None, message: str, tmp_path: Path) -> None:
    file = small_voc(tmp_path, 2007) / "VOCdevkit/VOC2007/ImageSets/Main" / f"{name}.txt"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        voc.read2007(tmp_path)
    assert "\n" not in str(caught.value)


def test_voc_without_its_test_archive(tmp_path: Path) -> None:
    lists = small_voc(tmp_path, 2007) / "VOCdevkit/VOC2007/ImageSets/Main"
    for file in lists.glob("*test.txt"):
        file.unlink()
    images = voc.read2007(tmp_path)
    assert images.subset is not None and set(images.subset) == {"train", "val"}
    assert "found 0 of 4,952 test images" in images.notes


def test_a_voc_list_that_is_not_text(tmp_path: Path) -> None:
    lists = small_voc(tmp_path, 2007) / "VOCdevkit/VOC2007/ImageSets/Main"
    (lists / "train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        voc.read2007(tmp_path)


# --- actions ---


def test_actions_are_people_with_boxes(tmp_path: Path) -> None:
    images = actions.read(small_actions(tmp_path))
    assert images.classes == (*actions.ACTIONS, "other") and len(images.classes) == 11
    assert [voc.submission_id(path) for path in images.paths] == ["a 1", "a 2", "b 1", "c 1", "c 10"]
    assert [image.name for image in images.images if isinstance(image, Path)] == [f"{i}.jpg" for i in "aabcc"]
    assert images.subset is not None and images.subset.tolist() == ["train", "train", "val", "test", "test"]
    # VOC's 1 1 20 30 are columns 0..19 and rows 0..29; 20.6 is rounded to 21, 30.4 to 30; a corner at 0 stays 0
    assert images.boxes is not None
    assert images.boxes.tolist() == [
        [0, 0, 20, 30],
        [10, 1, 21, 30],
        [0, 2, 4, 5],
        [6, 7, 7, 9],
        [6, 7, 16, 9],
    ]


def test_actions_labels(tmp_path: Path) -> None:
    images = actions.read(small_actions(tmp_path))

    def column(name: str) -> list[str]:
        k = images.classes.index(name)
        words = np.where(images.ignore[:, k], "ignored", np.where(images.labels[:, k], "yes", "no"))
        return words.tolist()

    hidden = ["ignored", "ignored"]  # the test subset
    assert column("running") == ["yes", "yes", "no", *hidden]
    assert column("phoning") == ["ignored", "yes", "no", *hidden]
    assert column("jumping") == ["ignored", "no", "no", *hidden]  # its list does not name a 1
    assert column("reading") == ["no", "no", "no", *hidden]
    assert column("other") == ["no", "no", "yes", *hidden]
    assert images.listed is not None
    assert images.listed[:, images.classes.index("jumping")].tolist() == [False, True, True, False, True]
    assert images.listed[:, images.classes.index("running")].all()
    assert not images.listed[:, images.classes.index("other")].any()


def test_a_person_who_is_ignored_for_an_action_is_ignored_for_other(tmp_path: Path) -> None:
    kit = small_actions(tmp_path) / "VOCdevkit" / "VOC2012"
    write_lists(kit, "Action", {"walking_val": ["b 1 0"]})
    images = actions.read(tmp_path)
    assert images.ignore[2, -1] and not images.labels[2].any()


def test_actions_without_the_test_archive(tmp_path: Path) -> None:
    kit = small_actions(tmp_path) / "VOCdevkit" / "VOC2012"
    for file in (kit / "ImageSets" / "Action").glob("*_test.txt"):
        file.unlink()
    images = actions.read(tmp_path)
    assert [voc.submission_id(path) for path in images.paths] == ["a 1", "a 2", "b 1"]
    assert images.notes == ("found 1 of 2,296 train images", "found 1 of 2,292 val images")


ENTITIES = '<!DOCTYPE a [<!ENTITY x "xxxxxxxx"><!ENTITY y "&x;&x;">]>'
BOMB = f'<?xml version="1.0"?>{ENTITIES}<annotation>&y;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "a.xml: missing"),
        (BOMB, "has a document type"),
        (f"<annotation>{' ' * annotations.XML_BYTES}</annotation>", r"cannot be read \(more than 1,048,576 bytes\)"),
        ("<annotation>", "not XML"),
        ("<annotation/>", "object 1 is not a person"),
        (f"<annotation>{person(1, 1, 9, 9)}</annotation>", "object 2 is not a person"),
        (
            f"<annotation>{person(1, 1, 9, 9) + person(1, 1, 9, 9, 'horse')}</annotation>",
            "object 2 is not a person",
        ),
        (f"<annotation>{person(9, 1, 2, 9)}</annotation>", "object 1 is not a person"),
        (f"<annotation>{person('nan', 1, 9, 9)}</annotation>", "object 1 is not a person"),
        (f"<annotation>{person('x', 1, 9, 9)}</annotation>", "object 1 is not a person"),
        (f"<annotation>{person(1, 1, '1e300', 9)}</annotation>", "object 1 is not a person"),
        ("<annotation><object><name>person</name></object></annotation>", "object 1 is not a person"),
        ("<a>" * 100_000, "not XML"),
    ],
)
def test_broken_or_hostile_annotations(text: str | None, message: str, tmp_path: Path) -> None:
    file = small_actions(tmp_path) / "VOCdevkit/VOC2012/Annotations/a.xml"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        actions.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_encoding_does_not_hide_entities(tmp_path: Path) -> None:
    file = small_actions(tmp_path) / "VOCdevkit/VOC2012/Annotations/a.xml"
    file.write_bytes(BOMB.replace("?>", ' encoding="utf-16"?>').encode("utf-16"))
    with pytest.raises(DataError, match="cannot be read"):
        actions.read(tmp_path)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"reading_train": ["a 0 1"]}, "is not a number from 1"),
        ({"reading_train": ["a -1 1"]}, "is not a number from 1"),
        ({"reading_train": ["a 1 1", "a 1 -1"]}, "lists a 1 twice"),
        ({"reading_train": ["a 1"]}, "line 1: not a line"),
        ({"reading_train": ["../a 1 1"]}, "line 1: not a line"),
        ({"reading_train": ["b 1 1"]}, "b.jpg#1 is in the lists of train and val"),
        ({"reading_val": ["a 1 1"]}, "a.jpg#1 is in the lists of train and val"),
        ({f"{name}_{s}": [] for name in actions.ACTIONS for s in ("train", "val", "test")}, "name nobody"),
    ],
)
def test_broken_or_hostile_action_lists(lists: dict[str, list[str]], message: str, tmp_path: Path) -> None:
    write_lists(small_actions(tmp_path) / "VOCdevkit" / "VOC2012", "Action", lists)
    with pytest.raises(DataError, match=message):
        actions.read(tmp_path)
