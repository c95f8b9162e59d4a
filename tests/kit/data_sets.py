"""Small copies of the layout of each data set, and the places of real ones, for the tests of the readers."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from vggfeat.data import READERS, ImageSet, actions, caltech, folder, voc

Shared = Callable[[str], Path]


def fill(top: Path, *names: str, text: str = "not decoded by any reader") -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def list_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the file system lists each folder in the reverse order of the names."""
    listed = os.scandir

    @contextmanager
    def backwards(folder: str | os.PathLike[str]) -> "Iterator[Iterator[os.DirEntry[str]]]":
        with listed(folder) as entries:
            yield iter(sorted(entries, key=lambda entry: entry.name, reverse=True))

    monkeypatch.setattr(os, "scandir", backwards)


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
    # stray files as in the archive: one that is not an image, and a folder in a class folder
    return fill(top / "256_ObjectCategories", *names, "198.spider/RENAME2", "056.dog/greg/056_0001.jpg").parent


def small_folder(top: Path) -> Path:
    return fill(top, "cats/a.jpg", "cats/old/b b.PNG", "dogs/ü.jpeg", "dogs/x/y/z.tiff")


def small_split_folder(top: Path) -> Path:
    return fill(top, "train/cat/1.jpg", "train/dog/2.jpg", "val/dog/3.jpg", "test/cat/4.jpg", "test/cat/5.jpg")


def write_lists(kit: Path, task: str, lists: Mapping[str, Iterable[str]]) -> None:
    for name, lines in lists.items():
        fill(kit / "ImageSets" / task, f"{name}.txt", text="".join(f"{line}\n" for line in lines))


def small_voc(top: Path, year: int) -> Path:
    """a and b are train, c is val, d is test. cat: a yes, b difficult only, c no, d yes. dog: b yes. All else no."""
    kit = top / "VOCdevkit" / f"VOC{year}"
    fill(kit / "JPEGImages", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    subsets = {"train": "ab", "val": "c", "test": "d"}
    write_lists(kit, "Main", subsets)
    labels = {("cat", "a"): 1, ("cat", "b"): 0, ("cat", "d"): 1, ("dog", "b"): 1}
    for subset, ids in subsets.items():
        if (year, subset) != (2012, "test"):  # its labels are not public
            for name in voc.CLASSES:
                lines = [f"{image} {labels.get((name, image), -1):2d}" for image in ids]
                write_lists(kit, "Main", {f"{name}_{subset}": lines})
    return top


def person(xmin: object, ymin: object, xmax: object, ymax: object, name: str = "person") -> str:
    corners = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
    # a part has its own box, and the corners are in any order
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    box = "".join(f"<{side}>{value}</{side}>" for side, value in reversed(corners.items()))
    return f"<object>{part}<name>{name}</name><bndbox>{box}</bndbox></object>"


def small_actions(top: Path) -> Path:
    """a (train): person 1 runs, 2 runs and phones, object 3 is a horse. b (val): 1 does none of the ten. c is test."""
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


def reader(top: Path, shared: Shared) -> Callable[[str], ImageSet]:
    """read(name) gives a small copy made in `top`, or a real set, which is read only once."""

    def read(name: str) -> ImageSet:
        if name in SMALL:
            return SMALL[name][0](SMALL[name][1](top))
        if name not in cache:
            cache[name] = REAL[name][0](shared(REAL[name][1])) if name in REAL else READERS[name]()
        return cache[name]

    return read
