"""One contract for all readers, on small copies of each layout and on real sets; Caltech, folders, digits, sample."""

import doctest
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from tests.kit.data_sets import (
    REAL,
    SMALL,
    Shared,
    fill,
    list_backwards,
    reader,
    small_caltech101,
    small_caltech256,
    small_folder,
    small_split_folder,
)
from vggfeat.data import READERS, ImageSet, caltech, folder, splits, voc
from vggfeat.data.base import data_folder
from vggfeat.errors import DataError, UsageError


@pytest.fixture
def read(tmp_path: Path, shared: Shared) -> Callable[[str], ImageSet]:
    return reader(tmp_path, shared)


# --- the contract ---

everywhere = pytest.mark.parametrize("name", [*SMALL, *REAL, "digits", "sample"])
on_copies = pytest.mark.parametrize("name", SMALL)


@everywhere
def test_each_sample_has_a_path_an_image_and_a_row(name: str, read: Callable[[str], ImageSet]) -> None:
    images = read(name)
    n, k = len(images), len(images.classes)
    assert n and len(images.classes) > 1
    assert images.name in READERS
    assert len(set(images.classes)) == k
    assert images.labels.shape == images.ignore.shape == (n, k)
    assert images.labels.dtype == images.ignore.dtype == np.bool_
    assert len(images.images) == len(images.paths) == n
    assert list(images.paths) == sorted(set(images.paths))
    assert not any(PurePosixPath(path).is_absolute() or ".." in path or "\\" in path for path in images.paths)
    for path, image in zip(images.paths, images.images, strict=True):
        if isinstance(image, Path):
            assert image.is_absolute() and image.as_posix().endswith("/" + path.partition("#")[0])
        else:
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@everywhere
def test_what_is_ignored_is_not_labelled(name: str, read: Callable[[str], ImageSet]) -> None:
    images = read(name)
    assert not (images.labels & images.ignore).any()


@everywhere
def test_each_image_has_one_class_or_label_index_is_refused(name: str, read: Callable[[str], ImageSet]) -> None:
    images = read(name)
    if "voc" in name:
        with pytest.raises(UsageError, match="several classes or none"):
            _ = images.label_index
    else:
        assert not images.ignore.any()
        one_hot = np.arange(len(images.classes))[None] == images.label_index[:, None]
        assert (one_hot == images.labels).all()
        assert images.labels.any(axis=0).all(), "each class has an image"


@everywhere
def test_subsets_and_boxes(name: str, read: Callable[[str], ImageSet]) -> None:
    images = read(name)
    if images.subset is not None:
        assert images.subset.shape == (len(images),)
        assert set(images.subset) <= {"train", "val", "test"} and "train" in images.subset
    if images.boxes is not None:
        x0, y0, x1, y1 = images.boxes.T
        assert np.issubdtype(images.boxes.dtype, np.integer)
        assert (images.boxes >= 0).all() and (x0 < x1).all() and (y0 < y1).all()


@on_copies
def test_system_files_and_the_order_of_listings_change_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, make = SMALL[name]
    top = make(tmp_path)
    before = reader(top)
    for place in [*(path for path in top.rglob("*") if path.is_dir()), top]:
        fill(place, ".DS_Store", "Thumbs.db", "._a.jpg", "__MACOSX/a.jpg", ".cache/a.jpg", "desktop.ini")
    list_backwards(monkeypatch)
    after = reader(top)
    assert (after.paths, after.images, after.classes) == (before.paths, before.images, before.classes)
    assert (after.labels == before.labels).all() and (after.ignore == before.ignore).all()
    assert after.notes == before.notes


@on_copies
def test_links_that_lead_to_no_image_change_nothing(name: str, tmp_path: Path) -> None:
    reader, make = SMALL[name]
    top = make(tmp_path / "root")
    before = reader(top).paths
    for place in [path for path in top.rglob("*") if path.is_dir()]:
        (place / "device.jpg").symlink_to("/dev/null")
        (place / "broken.jpg").symlink_to(place / "nothing")
        (place / "loop.jpg").symlink_to(place / "loop.jpg")
        (place / "again").symlink_to(place)
    assert reader(top).paths == before


@on_copies
def test_a_set_of_links_is_the_set(name: str, tmp_path: Path) -> None:
    """As in the snapshot of a hub, where each photo is a link to a file whose name says nothing."""
    reader, make = SMALL[name]
    top = make(tmp_path / "root")
    before = reader(top)
    photos = [path for path in top.rglob("*") if path.is_file() and path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    assert photos
    for number, photo in enumerate(photos):
        photo.rename(tmp_path / f"blob-{number}")
        photo.symlink_to(tmp_path / f"blob-{number}")
    after = reader(top)
    assert (after.paths, after.images, after.notes) == (before.paths, before.images, before.notes)
    assert (after.labels == before.labels).all()


@pytest.mark.parametrize("name", sorted({*READERS} - {"digits", "folder", "sample"}))
def test_a_missing_set_is_one_line_that_says_what_where_and_how(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(*given: Path) -> str:
        with pytest.raises(DataError, match=r"not found|no folder given") as caught:
            READERS[name](*given)
        assert "\n" not in str(caught.value) and "http" in str(caught.value)
        return str(caught.value)

    fill(tmp_path, "other/things.jpg")
    monkeypatch.delenv("VGGFEAT_DATA", raising=False)
    assert "--root" in line() and "$VGGFEAT_DATA" in line()
    for place in (tmp_path, tmp_path / "nowhere"):
        assert str(place) in line(place) and "looked for" in line(place) and "--root" in line(place)
    monkeypatch.setenv("VGGFEAT_DATA", str(tmp_path))
    assert str(tmp_path / name.removesuffix("-actions")) in line()


def test_the_root_defaults_to_the_sets_folder_in_vggfeat_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGGFEAT_DATA", str(tmp_path))
    small_caltech101(tmp_path / "caltech101")
    assert len(READERS["caltech101"]()) == 6
    assert data_folder("caltech101") == tmp_path / "caltech101"
    assert data_folder("caltech101", tmp_path / "else") == tmp_path / "else"


def test_readers_need_neither_torch_nor_sklearn() -> None:
    code = "import sys, vggfeat.data; print(sorted({'torch', 'sklearn', 'PIL'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [voc, splits, sys.modules["vggfeat.data"]])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0 and result.failed == 0


def test_an_image_set_refuses_what_breaks_the_contract() -> None:
    flags = np.zeros((2, 1), dtype=bool)
    for paths, message in (
        (("b", "a"), "x: paths must be sorted and unique"),
        (("a", "a"), "x: paths must be sorted and unique"),
        (("a",), "x: images, labels and ignore must match 1 paths, 1 classes"),
    ):
        with pytest.raises(UsageError, match=message):
            ImageSet("x", ("k",), paths, [Path("/a"), Path("/b")], flags, flags)


# --- Caltech ---


def test_caltech101_whole(read: Callable[[str], ImageSet]) -> None:
    images = read("real caltech101")
    assert (len(images), len(images.classes), images.notes) == (9144, 102, ())
    assert images.classes[:3] == ("BACKGROUND_Google", "Faces", "Faces_easy")
    counts = dict(zip(images.classes, images.labels.sum(axis=0), strict=True))
    assert counts["BACKGROUND_Google"] == 467 and counts["airplanes"] == 800 and counts["inline_skate"] == 31
    assert all(image.is_file() for image in images.images if isinstance(image, Path))


def test_caltech101_without_background(shared: Shared) -> None:
    images = caltech.read101(shared("data/caltech101"), background=False)
    assert (len(images), len(images.classes), images.notes) == (9144 - 467, 101, ())
    assert images.classes[0] == "Faces" and images.label_index[0] == 0


def test_caltech_incomplete_copies_are_noted(tmp_path: Path) -> None:
    images = caltech.read101(small_caltech101(tmp_path))
    assert images.classes == ("BACKGROUND_Google", "Faces", "accordion")
    assert images.paths[1:4] == ("Faces/image_0001.jpg", "Faces/image_0002.jpg", "accordion/image_0001.jpg")
    assert images.label_index.tolist() == [0, 1, 1, 2, 2, 2]
    assert images.notes == ("found 3 of 102 classes", "found 6 of 9,144 images")
    images = caltech.read256(small_caltech256(tmp_path))
    assert images.paths[1] == "056.dog/056_0001.jpg" and len(images) == 4
    assert images.notes == ("found 4 of 257 classes", "found 4 of 30,607 images")
    images = caltech.read256(tmp_path, background=False)
    assert images.classes == ("001.ak47", "056.dog", "198.spider")


@pytest.mark.parametrize("place", ["", "101_ObjectCategories", "caltech101/101_ObjectCategories", "renamed"])
def test_caltech_is_found_in_its_usual_places(place: str, tmp_path: Path) -> None:
    fill(tmp_path / place, "Faces_easy/1.jpg", "accordion/2.jpg")
    given = tmp_path / place if place == "renamed" else tmp_path
    assert caltech.read101(given).paths == ("Faces_easy/1.jpg", "accordion/2.jpg")
    assert caltech.read101(tmp_path / place).paths == ("Faces_easy/1.jpg", "accordion/2.jpg")


def test_caltech_class_folder_without_images(tmp_path: Path) -> None:
    top = small_caltech101(tmp_path)
    fill(top, "101_ObjectCategories/anchor/Thumbs.db")
    with pytest.raises(DataError, match=r"anchor: no image"):
        caltech.read101(top)


def test_a_folder_in_a_class_of_caltech_is_left_out(tmp_path: Path) -> None:
    """Caltech-256 has one, which is known; another is noted."""
    top = small_caltech256(tmp_path)
    known = caltech.read256(top)
    fill(top / "256_ObjectCategories", "001.ak47/greg/1.jpg", "001.ak47/RENAME2")
    images = caltech.read256(top)
    assert images.paths == known.paths
    assert images.notes == (
        *known.notes,
        "files left out, because their suffix is not that of an image: 1 (no suffix), such as 001.ak47/RENAME2",
        "folders left out, because they are inside a class folder: 1, such as 001.ak47/greg",
    )


# --- a folder of your own ---


def test_folder_classes_and_depth(tmp_path: Path) -> None:
    images = folder.read(small_folder(tmp_path))
    assert images.classes == ("cats", "dogs") and images.subset is None
    assert images.paths == ("cats/a.jpg", "cats/old/b b.PNG", "dogs/x/y/z.tiff", "dogs/ü.jpeg")
    assert images.label_index.tolist() == [0, 0, 1, 1]
    assert images.notes == ()


def test_folder_in_subsets(tmp_path: Path) -> None:
    images = folder.read(small_split_folder(tmp_path))
    assert images.classes == ("cat", "dog") and images.subset is not None
    rows = zip(images.paths, images.label_index.tolist(), images.subset.tolist(), strict=True)
    assert list(rows) == [
        ("test/cat/4.jpg", 0, "test"),
        ("test/cat/5.jpg", 0, "test"),
        ("train/cat/1.jpg", 0, "train"),
        ("train/dog/2.jpg", 1, "train"),
        ("val/dog/3.jpg", 1, "val"),
    ]


def test_folder_with_train_alone(tmp_path: Path) -> None:
    images = folder.read(fill(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg"))
    assert images.classes == ("cat", "dog") and images.subset is not None
    assert images.subset.tolist() == ["train", "train"]


def test_folder_with_a_class_called_train(tmp_path: Path) -> None:
    images = folder.read(fill(tmp_path, "train/a.jpg", "bus/b.jpg"))
    assert images.classes == ("bus", "train") and images.subset is None
    assert images.notes == ("read as classes, since there are no folders in them: train",)


@pytest.mark.parametrize("train", ["train", "Train", "TRAINING"])
@pytest.mark.parametrize(("name", "subset"), [("valid", "val"), ("Validation", "val"), ("Test", "test")])
def test_folder_knows_the_usual_names_of_subsets(train: str, name: str, subset: str, tmp_path: Path) -> None:
    names = [f"{place}/{kind}/1.jpg" for place in (train, name) for kind in ("cat", "dog")]
    images = folder.read(fill(tmp_path, *names))
    assert images.classes == ("cat", "dog") and images.subset is not None
    assert images.paths == tuple(sorted(names))
    assert dict(zip(images.paths, images.subset.tolist(), strict=True)) == {
        path: "train" if path.startswith(train) else subset for path in names
    }


def test_folder_notes_what_is_left_out(tmp_path: Path) -> None:
    fill(small_split_folder(tmp_path), "loose.jpg", "test/loose.png", "unlabelled/x/y.jpg", "readme.txt")
    notes = folder.read(tmp_path).notes
    assert notes == (
        "files left out, because their suffix is not that of an image: 1 (.txt), such as readme.txt",
        "folders left out, because they are not train, val or test: 1, such as unlabelled",
        "images left out, because they are in no class folder: 2, such as loose.jpg",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg"], "has 0 class folders"),
        (["cat/a.jpg"], "has 1 class folders"),
        (["cat/a.jpg", "dog/readme.txt"], "dog: no image"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/fox/c.jpg"], "test/fox: is a class that .*train does not have;"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "val/fox/c.jpg"], "val/fox: is a class that .*train does not have;"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/c.jpg"], "test: no class folders"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/dog/readme.txt"], "test/dog: no image"),
        (["train/a.jpg", "test/b.jpg"], "train: has 0 class folders; at least two"),
        (
            ["Train/a/1.jpg", "Train/b/1.jpg", "hold/a/1.jpg"],
            "has Train with folders in it, and hold, which is no subs",
        ),
        (
            ["test/a/1.jpg", "trn/a/1.jpg", "trn/b/1.jpg"],
            "has test but no train; add .* or rename test if it is a class",
        ),
        (
            ["train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "valid/b/1.jpg"],
            "val and valid are both names of the subset",
        ),
    ],
)
def test_invalid_folders(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        folder.read(fill(tmp_path, *names))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such a name")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    small_folder(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cats/\xff.jpg")).touch()
    with pytest.raises(DataError, match=r"\\udcff.jpg.*rename it") as caught:
        folder.read(tmp_path)
    str(caught.value).encode()


def test_real_folder_has_the_counts_of_its_class_folders(read: Callable[[str], ImageSet]) -> None:
    images = read("real folder")
    assert images.subset is not None
    for subset, each in (("train", 200), ("val", 50)):
        assert images.labels[images.subset == subset].sum(axis=0).tolist() == [each] * 10


# --- digits ---


def test_digits(read: Callable[[str], ImageSet]) -> None:
    images = read("digits")
    assert (len(images), images.classes) == (1797, tuple("0123456789"))
    # the class counts of the UCI test set
    assert images.labels.sum(axis=0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.paths[7] == "digits/0007-7" and images.label_index[7] == 7
    first = images.images[0]
    assert isinstance(first, np.ndarray) and first.shape == (8, 8, 3)
    # 0 0 5 13 9 1 0 0 of 16, times 255 / 16 = 15.94
    assert first[0, :, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert (first == first[:, :, :1]).all()
    assert np.max(np.stack([np.asarray(image) for image in images.images])) == 255
