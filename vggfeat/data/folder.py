"""A user's own images: ROOT/<class>/*.jpg, or ROOT/train/<class>/*.jpg beside ROOT/test (and ROOT/val)."""

import os
from pathlib import Path

from vggfeat.data import base
from vggfeat.data.base import ImageSet, Sample, class_samples, image_files, single_label, subfolders
from vggfeat.errors import DataError

SUBSETS = ("train", "val", "test")


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:
    """The images below the class folders of `root` (default $VGGFEAT_DATA/folder), at any depth.

    A class is a folder right below the root. Where the root holds `train` and `val` or `test` (or nothing but
    `train`), these are subsets and the classes are the folders below them.

    Raises DataError for fewer than two classes, a class folder without images, or a class that train lacks.
    """
    top = base.root("folder", root)
    if not top.is_dir():
        raise DataError(f"{top}: no such folder; it should hold a folder of images for each class")
    found = {folder.name for folder in subfolders(top)}
    split = "train" in found and (found == {"train"} or bool(found & {"val", "test"}))
    subsets = [subset for subset in SUBSETS if subset in found] if split else [""]
    folders = {subset: subfolders(top / subset) for subset in subsets}
    classes = [folder.name for folder in folders[subsets[0]]]
    _check(top, subsets, folders, classes)

    samples: list[Sample] = []
    links = 0
    for subset in subsets:
        for folder in folders[subset]:
            images, skipped = class_samples(folder, top, classes.index(folder.name), subset, nested=True)
            samples += images
            links += skipped
    return single_label("folder", classes, samples, [*_strays(top, subsets, found), *base.unfollowed(links)])


def _check(top: Path, subsets: list[str], folders: dict[str, list[Path]], classes: list[str]) -> None:
    if len(classes) < 2:
        where = top / subsets[0]
        raise DataError(f"{where}: it takes two class folders, <class>/*.jpg, and there are {len(classes)}")
    for subset in subsets:
        if not folders[subset]:
            raise DataError(f"{top / subset}: no class folders in it; fill it or remove it")
        for folder in folders[subset]:
            if folder.name not in classes:
                raise DataError(f"{folder}: a class that {top / 'train'} lacks; add it there or remove it here")


def _strays(top: Path, subsets: list[str], found: set[str]) -> list[str]:
    loose = sum(len(image_files(top / subset, top)[0]) for subset in {"", *subsets})
    notes = [f"images left out, as they lie in no class folder: {loose:,}"] if loose else []
    others = sorted(found - set(subsets)) if subsets != [""] else []
    return notes + ([f"folders left out, beside train: {', '.join(others)}"] if others else [])
