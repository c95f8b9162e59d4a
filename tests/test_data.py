"""One contract for all readers, on small copies of each layout and on real sets; then the facts of each."""

import doctest
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from vggfeat.data import READERS, ImageSet, actions, base, caltech, digits, folder, random_split, root, voc
from vggfeat.errors import DataError, UsageError

Shared = Callable[[str], Path]


def fill(top: Path, *names: str, text: str = "not decoded by any reader") -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def small_caltech101(top: Path) -> Path:
    names = ["BACKGROUND_Google/image_0001.jpg", "Faces/image_0001.jpg", "Faces/image_0002.jpg"]
    names += [f"accordion/image_{n:04d}.jpg" for n in (1, 2, 10)]
    return fill(top / "101_ObjectCategories", *names).parent


def small_caltech256(top: Path) -> Path:
    names = [
        "001.ak47/001_0001.jpg",
        "056.dog/056_0001.jpg",
        "198.spider/198_0001.jpg",
        "257.clutter/257_0001.jpg",
    ]
    # Litter as in the archive: a file that is no image, and a folder in a class folder.
    return fill(top / "256_ObjectCategories", *names, "198.spider/RENAME2", "056.dog/greg/056_0001.jpg").parent


def small_folder(top: Path) -> Path:
    return fill(top, "cats/a.jpg", "cats/old/b b.PNG", "dogs/ü.jpeg", "dogs/x/y/z.tiff")


def small_split_folder(top: Path) -> Path:
    return fill(top, "train/cat/1.jpg", "train/dog/2.jpg", "val/dog/3.jpg", "test/cat/4.jpg", "test/cat/5.jpg")


def write_lists(kit: Path, task: str, lists: Mapping[str, Iterable[str]]) -> None:
    for name, lines in lists.items():
        fill(kit / "ImageSets" / task, f"{name}.txt", text="".join(f"{line}\n" for line in lines))


def small_voc(top: Path, year: int) -> Path:
    """a, b train, c val, d test. cat: a yes, b difficult only, c no, d yes; dog: b yes; otherwise no."""
    kit = top / "VOCdevkit" / f"VOC{year}"
    fill(kit / "JPEGImages", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    subsets = {"train": "ab", "val": "c", "test": "d"}
    write_lists(kit, "Main", subsets)
    labels = {("cat", "a"): 1, ("cat", "b"): 0, ("cat", "d"): 1, ("dog", "b"): 1}
    for subset, ids in subsets.items():
        if (year, subset) != (2012, "test"):  # whose labels aren't public
            for name in voc.CLASSES:
                lines = [f"{image} {labels.get((name, image), -1):2d}" for image in ids]
                write_lists(kit, "Main", {f"{name}_{subset}": lines})
    return top


def person(xmin: object, ymin: object, xmax: object, ymax: object, name: str = "person") -> str:
    corners = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
    # A part has a box of its own, and the corners come in any order.
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    box = "".join(f"<{side}>{value}</{side}>" for side, value in reversed(corners.items()))
    return f"<object>{part}<name>{name}</name><bndbox>{box}</bndbox></object>"


def small_actions(top: Path) -> Path:
    """a (train): 1 runs, 2 runs and phones, 3 is a horse; b (val): 1 does none of the ten; c: test."""
    kit = top / "VOCdevkit" / "VOC2012"
    fill(kit / "JPEGImages", "a.jpg", "b.jpg", "c.jpg")
    objects = {
        "a": [person(1, 1, 20, 30), person(11, 2, 20.6, 30.4), person(5, 5, 9, 9, name="horse")],
        "b": [person(0, 3, 4, 5)],
        "c": [person(7, 8, 7 + n, 9) for n in range(10)],
    }
    for image, boxes in objects.items():
        fill(kit / "Annotations", f"{image}.xml", text=f"<annotation>{''.join(boxes)}</annotation>")
    for name in actions.ACTIONS:
        one, two = {"running": (1, 1), "phoning": (0, 1)}.get(name, (-1, -1))
        write_lists(kit, "Action", {f"{name}_train": [f"a 1 {one:2d}", f"a  2 {two:2d}"]})
        write_lists(kit, "Action", {f"{name}_val": ["b 1 -1"], f"{name}_test": ["c 1", "c 10"]})
    write_lists(kit, "Action", {"jumping_train": ["a 2 -1"], "jumping_test": ["c 10"]})
    return top


SMALL: dict[str, tuple[Callable[..., ImageSet], Callable[[Path], Path]]] = {
    "caltech101": (caltech.read101, small_caltech101),
    "caltech256": (caltech.read256, small_caltech256),
    "folder": (folder.read, small_folder),
    "folder in subsets": (folder.read, small_split_folder),
    "voc2007": (voc.read2007, lambda top: small_voc(top, 2007)),
    "voc2012": (voc.read2012, lambda top: small_voc(top, 2012)),
    "voc2012-actions": (actions.read, small_actions),
}
REAL: dict[str, tuple[Callable[..., ImageSet], str]] = {
    "real caltech101": (caltech.read101, "data/caltech101"),
    "real folder": (folder.read, "data/imagenette-128"),
    "real voc2007": (lambda top: voc.read2007(top, check_images=False), "data/voc2007-imagesets"),
    "real voc2012": (voc.read2012, "data/voc-mini"),
}
cache: dict[str, ImageSet] = {}


@pytest.fixture
def read(tmp_path: Path, shared: Shared) -> Callable[[str], ImageSet]:
    def read(name: str) -> ImageSet:
        if name in SMALL:
            return SMALL[name][0](SMALL[name][1](tmp_path))
        if name not in cache:
            cache[name] = REAL[name][0](shared(REAL[name][1])) if name in REAL else digits.read()
        return cache[name]

    return read


# --- the contract ---

everywhere = pytest.mark.parametrize("name", [*SMALL, *REAL, "digits"])
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
def test_a_label_index_is_there_where_each_image_has_one_class(name: str, read: Callable[[str], ImageSet]) -> None:
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
def test_neither_litter_nor_the_order_of_the_listing_changes_anything(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, make = SMALL[name]
    top = make(tmp_path)
    before = reader(top)
    for place in [*(path for path in top.rglob("*") if path.is_dir()), top]:
        fill(place, ".DS_Store", "Thumbs.db", "._a.jpg", "__MACOSX/a.jpg", ".cache/a.jpg", "list.txt")
    listed = base._entries
    monkeypatch.setattr(base, "_entries", lambda place: sorted(listed(place), key=lambda e: e.name)[::-1])
    after = reader(top)
    assert (after.paths, after.images, after.classes) == (before.paths, before.images, before.classes)
    assert (after.labels == before.labels).all() and (after.ignore == before.ignore).all()
    assert after.notes == before.notes


@on_copies
def test_links_out_of_the_root_are_not_followed(name: str, tmp_path: Path) -> None:
    reader, make = SMALL[name]
    top = make(tmp_path / "root")
    before = reader(top).paths
    outside = fill(tmp_path / "elsewhere", "secret.jpg", "secret.xml")
    for place in [path for path in top.rglob("*") if path.is_dir()]:
        (place / "link.jpg").symlink_to(outside / "secret.jpg")
        (place / "linked").symlink_to(outside)
        (place / "broken.jpg").symlink_to(outside / "nothing")
        (place / "loop.jpg").symlink_to(place / "loop.jpg")
    assert reader(top).paths == before


@pytest.mark.parametrize("name", sorted({*READERS} - {"digits", "folder"}))
def test_a_missing_set_is_one_line_that_says_what_where_and_how(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def line(*given: Path) -> str:
        with pytest.raises(DataError) as caught:
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
    assert root("caltech101") == tmp_path / "caltech101"
    assert root("caltech101", tmp_path / "else") == tmp_path / "else"


def test_readers_need_neither_torch_nor_sklearn() -> None:
    code = "import sys, vggfeat.data; print(sorted({'torch', 'sklearn', 'PIL'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [voc, sys.modules["vggfeat.data"]])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0 and result.failed == 0


def test_an_image_set_refuses_what_breaks_the_contract() -> None:
    flags = np.zeros((2, 1), dtype=bool)
    for paths in (("b", "a"), ("a", "a"), ("a",)):
        with pytest.raises(UsageError):
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


def test_caltech_small_copies_say_so(tmp_path: Path) -> None:
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
def test_caltech_is_found_in_its_natural_places(place: str, tmp_path: Path) -> None:
    fill(tmp_path / place, "Faces_easy/1.jpg", "accordion/2.jpg")
    given = tmp_path / place if place == "renamed" else tmp_path
    assert caltech.read101(given).paths == ("Faces_easy/1.jpg", "accordion/2.jpg")
    assert caltech.read101(tmp_path / place).paths == ("Faces_easy/1.jpg", "accordion/2.jpg")


def test_caltech_class_folder_without_images(tmp_path: Path) -> None:
    top = small_caltech101(tmp_path)
    fill(top, "101_ObjectCategories/anchor/Thumbs.db")
    with pytest.raises(DataError, match=r"anchor: no image"):
        caltech.read101(top)


def test_a_link_to_a_file_inside_the_root_is_an_image(tmp_path: Path) -> None:
    top = small_caltech101(tmp_path)
    faces = top / "101_ObjectCategories" / "Faces"
    (faces / "image_0003.jpg").symlink_to(faces / "image_0001.jpg")
    (faces / "image_0004.jpg").symlink_to(tmp_path)
    images = caltech.read101(top)
    assert "Faces/image_0003.jpg" in images.paths and "Faces/image_0004.jpg" not in images.paths
    assert images.notes[-1] == "links not followed, to folders or out of the data set: 1"


# --- a folder of one's own ---


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


def test_folder_of_nothing_but_train(tmp_path: Path) -> None:
    images = folder.read(fill(tmp_path, "train/cat/1.jpg", "train/dog/2.jpg"))
    assert images.classes == ("cat", "dog") and images.subset is not None
    assert images.subset.tolist() == ["train", "train"]


def test_folder_with_a_class_called_train(tmp_path: Path) -> None:
    images = folder.read(fill(tmp_path, "train/a.jpg", "bus/b.jpg"))
    assert images.classes == ("bus", "train") and images.subset is None


def test_folder_notes_what_it_leaves_out(tmp_path: Path) -> None:
    fill(small_split_folder(tmp_path), "loose.jpg", "test/loose.png", "unlabelled/x/y.jpg", "readme.txt")
    notes = folder.read(tmp_path).notes
    assert notes == (
        "images left out, as they lie in no class folder: 2",
        "folders left out, beside train: unlabelled",
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg"], "there are 0"),
        (["cat/a.jpg"], "there are 1"),
        (["cat/a.jpg", "dog/readme.txt"], "dog: no image"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/fox/c.jpg"], "test/fox: a class that .*train lacks"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "val/fox/c.jpg"], "val/fox: a class that .*train lacks"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/c.jpg"], "test: no class folders"),
        (["train/cat/a.jpg", "train/dog/b.jpg", "test/dog/readme.txt"], "test/dog: no image"),
        (["train/a.jpg", "test/b.jpg"], "train: it takes two"),
    ],
)
def test_folder_that_can_not_serve(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        folder.read(fill(tmp_path, *names))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
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
    # The class counts of the UCI test set.
    assert images.labels.sum(axis=0).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.paths[7] == "digits/0007-7" and images.label_index[7] == 7
    first = images.images[0]
    assert isinstance(first, np.ndarray) and first.shape == (8, 8, 3)
    # 0 0 5 13 9 1 0 0 of 16, times 255 / 16 = 15.94
    assert first[0, :, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert (first == first[:, :, :1]).all()
    assert np.max(np.stack([np.asarray(image) for image in images.images])) == 255


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

    # Positive and ignored images, as counted by awk in the lists.
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

    # And every line of every list, read in another way.
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
def test_voc_is_found_in_its_natural_places(place: str, tmp_path: Path) -> None:
    made = small_voc(tmp_path / "made", 2007) / "VOCdevkit" / "VOC2007"
    (tmp_path / "root" / place).parent.mkdir(parents=True, exist_ok=True)
    made.rename(tmp_path / "root" / place)
    assert len(voc.read2007(tmp_path / "root")) == len(voc.read2007(tmp_path / "root" / place)) == 4


def test_a_kit_of_another_year_is_refused(tmp_path: Path) -> None:
    small_voc(tmp_path, 2012)
    with pytest.raises(DataError, match=r"VOC-2007 isn't in .*VOC2012: looked for VOC2007/ImageSets/Main"):
        voc.read2007(tmp_path / "VOCdevkit" / "VOC2012")


def test_voc_photos(tmp_path: Path) -> None:
    photos = small_voc(tmp_path, 2007) / "VOCdevkit" / "VOC2007" / "JPEGImages"
    (photos / "c.jpg").unlink()
    assert voc.read2007(tmp_path).notes[-1] == "found 3 of 4 photos"
    photos.rename(tmp_path / "photos")
    with pytest.raises(DataError, match="none of the 4 photos"):
        voc.read2007(tmp_path)
    photos.symlink_to(tmp_path / "photos")  # leads out of the kit
    with pytest.raises(DataError, match="none of the 4 photos"):
        voc.read2007(tmp_path)
    assert len(voc.read2007(tmp_path, check_images=False)) == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train", "../../../secret\n", "line 1: not a line of a VOC list"),
        ("train", "a\n/etc/passwd\n", "line 2: not a line of a VOC list"),
        ("train", "a\nb\na\n", "an image twice"),
        ("train", "", "empty"),
        ("val", "c\na\n", "image a is in two of train, val and test"),
        ("cat_train", "a 1\n", "its images aren't those of train.txt"),
        ("cat_train", "a 1\na 1\n", "its images aren't those of train.txt"),
        ("cat_train", "a 1\nc 1\n", "its images aren't those of train.txt"),
        ("cat_train", "a 1\nb yes\n", "a label that is no whole number"),
        ("cat_train", "a\nb\n", "line 1: not a line of a VOC list"),
        ("cat_train", None, "cat_train.txt: missing"),
        ("val", None, "val.txt: missing"),
        ("val", "c" * (voc.LIST_BYTES + 1), "larger than"),
    ],
)
def test_voc_lists_that_are_broken_or_hostile(name: str, text: str | None, message: str, tmp_path: Path) -> None:
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


def test_voc_file_that_is_no_text(tmp_path: Path) -> None:
    lists = small_voc(tmp_path, 2007) / "VOCdevkit/VOC2007/ImageSets/Main"
    (lists / "train.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="can't be read"):
        voc.read2007(tmp_path)


# --- actions ---


def test_actions_are_people_with_boxes(tmp_path: Path) -> None:
    images = actions.read(small_actions(tmp_path))
    assert images.classes == (*actions.ACTIONS, "other") and len(images.classes) == 11
    assert [voc.submission_id(path) for path in images.paths] == ["a 1", "a 2", "b 1", "c 1", "c 10"]
    assert [image.name for image in images.images if isinstance(image, Path)] == [f"{i}.jpg" for i in "aabcc"]
    assert images.subset is not None and images.subset.tolist() == ["train", "train", "val", "test", "test"]
    # VOC's 1 1 20 30 are the columns 0..19 and rows 0..29; 20.6 rounds to 21, 30.4 to 30, and 0 stays inside.
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

    hidden = ["ignored", "ignored"]  # of the test
    assert column("running") == ["yes", "yes", "no", *hidden]
    assert column("phoning") == ["ignored", "yes", "no", *hidden]
    assert column("jumping") == ["ignored", "no", "no", *hidden]  # whose list leaves a 1 out
    assert column("reading") == ["no", "no", "no", *hidden]
    assert column("other") == ["no", "no", "yes", *hidden]
    assert images.listed is not None
    assert images.listed[:, images.classes.index("jumping")].tolist() == [False, True, True, False, True]
    assert images.listed[:, images.classes.index("running")].all()
    assert not images.listed[:, images.classes.index("other")].any()


def test_who_may_do_an_ignored_action_is_not_surely_other(tmp_path: Path) -> None:
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
        (BOMB, "a document type has no place"),
        (f"<annotation>{' ' * actions.XML_BYTES}</annotation>", "larger than 1,048,576 bytes"),
        ("<annotation>", "not XML"),
        ("<annotation/>", "object 1 is no person"),
        (f"<annotation>{person(1, 1, 9, 9)}</annotation>", "object 2 is no person"),
        (
            f"<annotation>{person(1, 1, 9, 9) + person(1, 1, 9, 9, 'horse')}</annotation>",
            "object 2 is no person",
        ),
        (f"<annotation>{person(9, 1, 2, 9)}</annotation>", "object 1 is no person"),
        (f"<annotation>{person('nan', 1, 9, 9)}</annotation>", "object 1 is no person"),
        (f"<annotation>{person('x', 1, 9, 9)}</annotation>", "object 1 is no person"),
        (f"<annotation>{person(1, 1, '1e300', 9)}</annotation>", "object 1 is no person"),
        ("<annotation><object><name>person</name></object></annotation>", "object 1 is no person"),
        ("<a>" * 100_000, "not XML"),
    ],
)
def test_annotations_that_are_broken_or_hostile(text: str | None, message: str, tmp_path: Path) -> None:
    file = small_actions(tmp_path) / "VOCdevkit/VOC2012/Annotations/a.xml"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        actions.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_annotation_in_another_encoding_can_not_hide_entities(tmp_path: Path) -> None:
    file = small_actions(tmp_path) / "VOCdevkit/VOC2012/Annotations/a.xml"
    file.write_bytes(BOMB.replace("?>", ' encoding="utf-16"?>').encode("utf-16"))
    with pytest.raises(DataError, match="can't be read"):
        actions.read(tmp_path)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"reading_train": ["a 0 1"]}, "no number from 1"),
        ({"reading_train": ["a -1 1"]}, "no number from 1"),
        ({"reading_train": ["a 1 1", "a 1 -1"]}, "a 1 twice"),
        ({"reading_train": ["a 1"]}, "line 1: not a line"),
        ({"reading_train": ["../a 1 1"]}, "line 1: not a line"),
        ({"reading_train": ["b 1 1"]}, "b.jpg#1 is in the lists of train and val"),
        ({"reading_val": ["a 1 1"]}, "a.jpg#1 is in the lists of train and val"),
        ({f"{name}_{s}": [] for name in actions.ACTIONS for s in ("train", "val", "test")}, "name no one"),
    ],
)
def test_action_lists_that_are_broken_or_hostile(lists: dict[str, list[str]], message: str, tmp_path: Path) -> None:
    write_lists(small_actions(tmp_path) / "VOCdevkit" / "VOC2012", "Action", lists)
    with pytest.raises(DataError, match=message):
        actions.read(tmp_path)


# --- splits ---


def labelled(counts: dict[str, int]) -> ImageSet:
    names = sorted(counts)
    samples = [
        base.Sample(f"{name}/{n:03d}.jpg", Path(f"/{name}/{n:03d}.jpg"), k)
        for k, name in enumerate(names)
        for n in range(counts[name])
    ]
    return base.single_label("made", names, samples[::-1])


def drawn(images: ImageSet, rows: np.ndarray, name: str) -> set[str]:
    return {images.paths[row] for row in rows if images.paths[row].startswith(f"{name}/")}


@pytest.mark.parametrize(
    ("test_per_class", "sizes"),
    # Classes of 2, 5, 9 and 40 images, 5 for training: of 2 and 5 one is left for the test.
    [
        (None, {"a": (1, 1), "b": (4, 1), "c": (5, 4), "d": (5, 35)}),
        (3, {"a": (1, 1), "b": (4, 1), "c": (5, 3), "d": (5, 3)}),
    ],
)
def test_split_sizes(test_per_class: int | None, sizes: dict[str, tuple[int, int]]) -> None:
    images = labelled({"a": 2, "b": 5, "c": 9, "d": 40})
    train, test = random_split(images, 5, test_per_class, seed=0)
    found = {name: (len(drawn(images, train, name)), len(drawn(images, test, name))) for name in "abcd"}
    assert found == sizes
    assert not set(train) & set(test)
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()


def test_split_of_caltech101_has_the_papers_sizes(read: Callable[[str], ImageSet]) -> None:
    images = read("real caltech101")
    train, test = random_split(images, 30, 50, seed=0)
    assert (len(train), len(test)) == (3060, 2995)  # 102 * 30; the sum of min(n - 30, 50) over the classes
    assert images.labels[train].sum(axis=0).tolist() == [30] * 102
    assert not set(train) & set(test)


def test_split_is_the_same_everywhere() -> None:
    # Written down once: neither the platform nor a new numpy may change it.
    images = labelled({"a": 6, "b": 5})
    train, test = random_split(images, 3, 2, seed=1)
    assert (train.tolist(), test.tolist()) == ([2, 3, 5, 6, 9, 10], [0, 1, 7, 8])


def test_split_of_a_class_depends_on_no_other_class() -> None:
    few, many = labelled({"b": 20, "d": 30}), labelled({"a": 7, "b": 20, "c": 50, "d": 30})
    for seed in range(3):
        one, other = random_split(few, 10, 5, seed), random_split(many, 10, 5, seed)
        for name in "bd":
            for part in (0, 1):
                assert drawn(few, one[part], name) == drawn(many, other[part], name)


def test_splits_of_other_seeds_and_classes_differ() -> None:
    images = labelled({"a": 40, "b": 40})
    splits = [random_split(images, 20, None, seed) for seed in range(20)]
    assert len({tuple(split.train) for split in splits}) == 20
    places = [{path[2:] for path in drawn(images, splits[0].train, name)} for name in "ab"]
    assert places[0] != places[1]


def test_split_draws_each_image_equally_often() -> None:
    images = labelled({"a": 10, "b": 10})
    times = np.zeros(20)
    for seed in range(1000):
        times[random_split(images, 3, None, seed).train] += 1
    # 1000 draws of probability 0.3: standard deviation 14.5
    assert (abs(times - 300) < 5 * 14.5).all()


def test_split_does_not_depend_on_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = fill(tmp_path, *(f"{name}/{n}.jpg" for name in "ab" for n in range(20)))
    one = folder.read(top)
    listed = base._entries
    monkeypatch.setattr(base, "_entries", lambda place: sorted(listed(place), key=lambda e: e.name)[::-1])
    other = folder.read(top)
    for a, b in zip(random_split(one, 10, 5, 7), random_split(other, 10, 5, 7), strict=True):
        assert [one.paths[row] for row in a] == [other.paths[row] for row in b]


def test_splits_that_can_not_be() -> None:
    with pytest.raises(DataError, match="b has 1"):
        random_split(labelled({"a": 9, "b": 1}), 5, 5, seed=0)
    images = labelled({"a": 9, "b": 9})
    for train, test, seed in ((0, 5, 0), (5, 0, 0), (5, 5, -1)):
        with pytest.raises(UsageError):
            random_split(images, train, test, seed)
