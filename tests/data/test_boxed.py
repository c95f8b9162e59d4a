"""The readers of photos with boxes: what they count, what they refuse, and the data at hand."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.kit.boxed_photos import HEADER, photo, table, voc_kit, xml
from vggfeat.data import voc
from vggfeat.data.base import MissingSubsetError
from vggfeat.data.boxed import Boxed, held_out, read_boxed
from vggfeat.data.imagenet import synset_names
from vggfeat.errors import DataError, UsageError

Shared = Callable[[str], Path]


def shown(boxed: Boxed) -> dict[str, tuple[str, list[list[float]]]]:
    """Path -> class and boxes."""
    names = [boxed.classes[label] for label in boxed.labels]
    lists = [boxes.tolist() for boxes in boxed.boxes]
    return dict(zip(boxed.paths, zip(names, lists, strict=True), strict=True))


# --- CSV ---


def test_a_table(tmp_path: Path) -> None:
    file = table(tmp_path, "b.jpg,cat,1,2,11.5,12", "a.jpg,dog,0,0,40,30", "b.jpg,cat,0,0,30,30")
    found = read_boxed(file, "train")
    assert shown(found) == {
        "a.jpg": ("dog", [[0, 0, 40, 30]]),
        "b.jpg": ("cat", [[0, 0, 30, 30], [1, 2, 11.5, 12]]),
    }
    assert found.classes == ("cat", "dog") and found.notes == ()
    assert found.sizes.tolist() == [[30, 40]] * 2 and found.labels.dtype == np.int64
    assert [image.is_file() for image in found.images] == [True, True]


@pytest.mark.parametrize("photos", [".", "images"])
def test_photos_beside_the_table(tmp_path: Path, photos: str) -> None:
    assert len(read_boxed(table(tmp_path, "a/b.jpg,cat,1,2,11,12", photos=photos), "train")) == 1


def test_photos_in_another_folder(tmp_path: Path) -> None:
    file = table(tmp_path, "a.jpg,cat,1,2,11,12", photos="elsewhere")
    assert len(read_boxed(file, "train", images=tmp_path / "elsewhere")) == 1
    with pytest.raises(DataError, match=r"boxes\.csv: has no photo .*: 1, such as a\.jpg.* beside it as images/"):
        read_boxed(file, "train")
    (tmp_path / "images").symlink_to("elsewhere")
    assert len(read_boxed(file, "train")) == 1


def test_subsets_and_classes_of_train(tmp_path: Path) -> None:
    rows = ["a.jpg,dog,1,2,11,12,train", "b.jpg,cat,1,2,11,12,training", "c.jpg,dog,1,2,11,12,Test"]
    file = table(tmp_path, *rows, header=f"{HEADER},subset")
    assert read_boxed(file, "train").paths == ("a.jpg", "b.jpg")
    test = read_boxed(file, "test")
    assert test.classes == ("cat", "dog") and test.labels.tolist() == [1]
    with pytest.raises(MissingSubsetError, match=r"boxes\.csv: has no val photos; take the subset test or train"):
        read_boxed(file, "val")


def test_given_classes_number_the_labels(tmp_path: Path) -> None:
    file = table(tmp_path, "a.jpg,dog,1,2,11,12")
    assert read_boxed(file, "train", classes=["cat", "cow", "dog"]).labels.tolist() == [2]
    with pytest.raises(DataError, match=r"boxes\.csv: row 1: class 'dog' is not one of the 1 known classes"):
        read_boxed(file, "train", classes=["cat"])
    with pytest.raises(UsageError, match="a class is named twice"):
        read_boxed(file, "train", classes=["dog", "dog"])


def test_bad_boxes_are_counted(tmp_path: Path) -> None:
    file = table(
        tmp_path,
        "swapped.jpg,cat,11,12,1,2",
        "cut.jpg,cat,-5,10,50,20",
        "empty.jpg,cat,3,3,3,9",
        "outside.jpg,cat,40,0,50,30",
        "some.jpg,cat,1,1,5,5",
        "some.jpg,cat,60,60,70,70",
        "none.jpg,cat,,,,",
        "two.jpg,dog,0,0,5,5",
        "two.jpg,cat,0,0,9,9",
    )
    found = read_boxed(file, "train")
    assert shown(found) == {
        "cut.jpg": ("cat", [[0, 10, 40, 20]]),
        "some.jpg": ("cat", [[1, 1, 5, 5]]),
        "swapped.jpg": ("cat", [[1, 2, 11, 12]]),
        "two.jpg": ("cat", [[0, 0, 9, 9]]),
    }
    assert found.notes == (
        "boxes left out, because their photo is of another class: 1, such as two.jpg",
        "boxes left out, because they have no area: 1, such as empty.jpg",
        "boxes left out, because they lie outside their photo: 2, such as outside.jpg",
        "boxes that were cut at the edge of their photo: 1, such as cut.jpg",
        "boxes whose corners were swapped, and are put right: 1, such as swapped.jpg",
        "photos left out, because they have no valid box: 3, such as empty.jpg",
    )


def test_boxes_of_any_size_are_judged_without_overflow(tmp_path: Path) -> None:
    rows = ("all.jpg,cat,-1e308,-1e308,1e308,1e308", "line.jpg,cat,-1e308,5,1e308,5", "far.jpg,cat,1e200,0,1e300,9")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_boxed(table(tmp_path, *rows), "train")
    assert shown(found) == {"all.jpg": ("cat", [[0, 0, 40, 30]])}
    assert found.notes[:2] == (
        "boxes left out, because they have no area: 1, such as line.jpg",
        "boxes left out, because they lie outside their photo: 1, such as far.jpg",
    )


def test_a_photo_is_one_however_its_path_is_written(tmp_path: Path) -> None:
    (tmp_path / "images/b").mkdir(parents=True)
    rows = ["b/a.jpg,cat,1,1,5,5", "./b/a.jpg,cat,1,1,9,9", "b//a.jpg,cat,0,0,2,2"]
    assert shown(read_boxed(table(tmp_path, *rows), "train")) == {
        "b/a.jpg": ("cat", [[1, 1, 9, 9], [1, 1, 5, 5], [0, 0, 2, 2]])
    }
    rows = ["a.jpg,cat,1,1,5,5,train", "./a.jpg,cat,1,1,5,5,val"]
    with pytest.raises(DataError, match=r"row 2: a\.jpg is also in train; give it one subset"):
        read_boxed(table(tmp_path, *rows, header=f"{HEADER},subset"), "val")


def test_corners_that_seem_to_name_the_last_pixel(tmp_path: Path) -> None:
    rows = ["a.jpg,cat,0,0,39,20", "b.jpg,cat,3,4,39,29", "c.jpg,cat,3,4,20,20"]
    (note,) = read_boxed(table(tmp_path, *rows), "train").notes
    assert note.startswith("boxes that end at the last pixel: 2 of 3, and none ends behind it; if x1 and y1 name")
    assert read_boxed(table(tmp_path, *rows, "d.jpg,cat,3,4,40,20"), "train").notes == ()


def test_photos_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    file = table(tmp_path, *(f"{name}.jpg,cat,1,1,5,5" for name in "abc"))
    (tmp_path / "images/a.jpg").write_text("no photo")
    (tmp_path / "images/b.jpg").unlink()
    assert read_boxed(file, "train").notes == (
        "photos left out, because they are not found: 1, such as b.jpg",
        "photos left out, because they cannot be read: 1, such as a.jpg",
    )


def test_the_stored_size_counts(tmp_path: Path) -> None:
    """An EXIF orientation is not applied."""
    file = table(tmp_path, "a.jpg,cat,0,0,40,30")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (40, 30)).save(tmp_path / "images/a.jpg", exif=exif)
    found = read_boxed(file, "train")
    assert found.sizes.tolist() == [[30, 40]] and found.notes == ()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,cat,1,x,3,4", "row 2: 'x' is not a finite number"),
        ("a.jpg,cat,1,nan,3,4", "row 2: 'nan' is not a finite number"),
        ("a.jpg,cat,1,,3,4", "row 2: a corner of the box is missing"),
        ("a.jpg,,1,2,3,4", "row 2: the label is empty"),
        ("a.jpg,cat,1,2,3", "row 2 has 5 values for 6 columns"),
        ("../a.jpg,cat,1,2,3,4", r"row 2: '\.\./a\.jpg' is not the path of a photo relative to its folder"),
        ("/etc/passwd,cat,1,2,3,4", "row 2: '/etc/passwd' is not the path"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(f"{HEADER}\nb.jpg,cat,1,2,3,4\n{row}\n")
    with pytest.raises(
        DataError, match=rf"boxes\.csv: {message}.*; give a CSV file path,label,x0,y0,x1,y1\[,subset\]$"
    ):
        read_boxed(tmp_path / "boxes.csv", "train")


def test_subsets_that_are_refused(tmp_path: Path) -> None:
    rows = ["a.jpg,cat,1,2,3,4,train", "a.jpg,cat,1,2,3,4,test"]
    with pytest.raises(DataError, match=r"row 2: a\.jpg is also in train; give it one subset"):
        read_boxed(table(tmp_path, *rows, header=f"{HEADER},subset"), "train")
    with pytest.raises(DataError, match="row 1: 'all' is not one of the subsets train, val, test"):
        read_boxed(table(tmp_path, "a.jpg,cat,1,2,3,4,all", header=f"{HEADER},subset"), "train")
    rows = ["a.jpg,cat,1,2,3,4,train", "b.jpg,dog,1,2,3,4,test"]
    with pytest.raises(DataError, match="row 2: class 'dog' is not one of the 1 known classes"):
        read_boxed(table(tmp_path, *rows, header=f"{HEADER},subset"), "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        (f"{HEADER}\n", "has no rows"),
        ("path,label\na.jpg,cat\n", "its columns are not path,label,x0,y0,x1,y1"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=rf"boxes\.csv: {message}"):
        read_boxed(tmp_path / "boxes.csv", "train")


def test_no_such_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: No such file"):
        read_boxed(tmp_path / "none.csv", "train")
    with pytest.raises(DataError, match="no boxes found; give a CSV file"):
        read_boxed(tmp_path, "train")
    with pytest.raises(UsageError, match="no subset 'all'"):
        read_boxed(tmp_path, "all")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="images is for a CSV file only"):
        read_boxed(tmp_path, "train", images=tmp_path)


# --- VOC ---


def test_voc_counts_from_one_and_includes_the_last_pixel(tmp_path: Path) -> None:
    kit = voc_kit(tmp_path)
    for data in (kit, kit.parent, tmp_path):
        found = read_boxed(data, "train")
        assert shown(found) == {
            "JPEGImages/one.jpg": ("cat", [[0, 0, 40, 30]]),
            "JPEGImages/two.jpg": ("cat", [[0, 0, 20, 20], [30, 20, 40, 30]]),
        }
    assert found.classes == voc.CLASSES and found.name == "VOC2012 train"
    assert found.notes == (
        "boxes left out, because their photo is of another class: 1, such as JPEGImages/two.jpg",
        "photos left out, because they have no valid box: 1, such as JPEGImages/bare.jpg",
    )
    with pytest.raises(MissingSubsetError, match="VOC2012: has no list of the subset val"):
        read_boxed(kit, "val")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("unicorn", 1, 1, 5, 5), r"one\.xml: object 1: class 'unicorn' is not one of the 20 known classes"),
        (("cat", 1, "x", 5, 5), r"one\.xml: object 1 has no box of four numbers"),
        (("cat", 1, "inf", 5, 5), r"one\.xml: object 1 has no box of four numbers"),
        (("<cat", 1, 1, 5, 5), r"one\.xml: not XML"),
    ],
)
def test_annotations_that_are_refused(tmp_path: Path, entry: tuple[object, ...], message: str) -> None:
    kit = voc_kit(tmp_path)
    xml(kit / "Annotations/one.xml", entry)
    with pytest.raises(DataError, match=message):
        read_boxed(kit, "train")


def test_an_annotation_with_entities_is_refused(tmp_path: Path) -> None:
    kit = voc_kit(tmp_path)
    (kit / "Annotations/one.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>')
    with pytest.raises(DataError, match=r"one\.xml: has a document type"):
        read_boxed(kit, "train")


def test_two_kits_are_not_mixed(tmp_path: Path) -> None:
    kit = voc_kit(tmp_path)
    (kit.parent / "VOC2007/ImageSets/Main").mkdir(parents=True)
    with pytest.raises(DataError, match="VOCdevkit: has VOC2007 and VOC2012; name one of these folders"):
        read_boxed(kit.parent, "train")


# --- ILSVRC ---


def ilsvrc(top: Path) -> Path:
    root = top / "ILSVRC"
    photos, annotations = root / "Data/CLS-LOC", root / "Annotations/CLS-LOC"
    for path in ("train/n01440764/a", "train/n01440764/bare", "train/n02119789/b", "val/v1", "val/v2"):
        photo(photos / f"{path}.JPEG")
    xml(annotations / "train/n01440764/a.xml", ("n01440764", 0, 0, 39, 29))
    xml(annotations / "train/n02119789/b.xml", ("n02119789", 5, 6, 9, 9), ("n02119789", 10, 10, 40, 30))
    xml(annotations / "val/v1.xml", ("n02119789", 1, 2, 3, 4))
    xml(annotations / "val/v2.xml", ("n01440764", 5, 5, 14, 9), ("n01440764", 0, 0, 9, 9))
    return root


def test_ilsvrc_counts_from_zero_and_includes_the_last_pixel(tmp_path: Path) -> None:
    root = ilsvrc(tmp_path)
    for data in (root, tmp_path, root / "Data/CLS-LOC"):
        train = read_boxed(data, "train")
        assert shown(train) == {
            "train/n01440764/a.JPEG": ("n01440764", [[0, 0, 40, 30]]),
            "train/n02119789/b.JPEG": ("n02119789", [[10, 10, 40, 30], [5, 6, 10, 10]]),
        }
    assert train.notes == (
        "boxes that were cut at the edge of their photo: 1, such as train/n02119789/b.JPEG",
        "photos left out, because they have no valid box: 1, such as train/n01440764/bare.JPEG",
    )
    val = read_boxed(root, "val")
    assert val.classes == train.classes and val.name == "ILSVRC val"
    assert shown(val) == {
        "val/v1.JPEG": ("n02119789", [[1, 2, 4, 5]]),
        "val/v2.JPEG": ("n01440764", [[0, 0, 10, 10], [5, 5, 15, 10]]),
    }
    with pytest.raises(MissingSubsetError, match="has no photos with boxes of the subset test"):
        read_boxed(root, "test")


def test_ilsvrc_validation_photos_sorted_into_folders(tmp_path: Path) -> None:
    root = ilsvrc(tmp_path)
    folder = root / "Data/CLS-LOC/val/n02119789"
    folder.mkdir()
    for name in ("v1", "v2"):
        (root / f"Data/CLS-LOC/val/{name}.JPEG").rename(folder / f"{name}.JPEG")
    found = read_boxed(root, "val")
    assert shown(found) == {"val/n02119789/v1.JPEG": ("n02119789", [[1, 2, 4, 5]])}
    assert found.notes == (
        "boxes left out, because their photo is of another class: 2, such as val/n02119789/v2.JPEG",
        "photos left out, because they have no valid box: 1, such as val/n02119789/v2.JPEG",
    )


def test_ilsvrc_without_train_has_the_thousand_classes(tmp_path: Path) -> None:
    root = ilsvrc(tmp_path)
    (root / "Data/CLS-LOC/train").rename(tmp_path / "train")
    assert read_boxed(root, "val").classes == tuple(synset_names())


# --- held-out photos ---


def many(top: Path, *counts: int) -> Boxed:
    rows = [f"{k}-{n}.jpg,class{k},1,1,5,5" for k, count in enumerate(counts) for n in range(count)]
    return read_boxed(table(top, *rows), "train")


def test_each_class_is_held_out_by_its_share(tmp_path: Path) -> None:
    boxed = many(tmp_path, 10, 5, 1, 2)
    train, val = held_out(boxed, 0.2, seed=0)
    assert np.bincount(val.labels, minlength=4).tolist() == [2, 1, 0, 1]
    assert sorted([*train.paths, *val.paths]) == list(boxed.paths)
    assert all(boxed.paths.index(path) >= 0 for path in val.paths)
    assert [image.name for image in val.images] == list(val.paths)
    assert len(val.boxes) == len(val.sizes) == len(val)


def test_a_class_is_held_out_alike_beside_other_classes(tmp_path: Path) -> None:
    alone, among = many(tmp_path / "a", 10), many(tmp_path / "b", 10, 7)
    first = held_out(alone, 0.3, seed=5)[1].paths
    assert first == tuple(path for path in held_out(among, 0.3, seed=5)[1].paths if path.startswith("0-"))
    assert first != held_out(alone, 0.3, seed=6)[1].paths


def test_shares_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the held-out share must be above 0 and below 1, not 1\.5"):
        held_out(many(tmp_path, 3), 1.5)


# --- the data at hand ---


@pytest.mark.parametrize(
    ("data", "subset", "classes", "photos", "left_out"),
    [
        ("cub-10/boxes.csv", "train", 10, 300, 0),
        ("cub-10/boxes.csv", "test", 10, 243, 0),
        ("tiny-boxes-20/boxes.csv", "test", 20, 1000, 1),
        ("voc-mini", "train", 20, 30, 0),
        ("voc-mini", "val", 20, 30, 0),
    ],
)
def test_real_boxes(shared: Shared, data: str, subset: str, classes: int, photos: int, left_out: int) -> None:
    found = read_boxed(shared(f"data/{data}"), subset)  # type: ignore[arg-type]
    assert (len(found.classes), len(found)) == (classes, photos - left_out)
    sides = found.sizes[:, [1, 0]]
    for boxes, side in zip(found.boxes, sides, strict=True):
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        assert (boxes >= 0).all() and (boxes[:, 2:] <= side).all() and (areas > 0).all()
        assert (np.diff(areas) <= 0).all()


def test_real_faces(shared: Shared) -> None:
    photos = shared("data/caltech101/101_ObjectCategories")
    found = read_boxed(shared("data/caltech101-boxes/Faces.csv"), "train", images=photos)
    assert len(found) == 435 and found.classes == ("Faces",) and found.notes == ()
