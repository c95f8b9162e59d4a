"""A user's own images: ROOT/<class>/*.jpg, or ROOT/train/<class>/*.jpg with ROOT/val or ROOT/test or both."""

import os
from pathlib import Path

from vggfeat.data.base import (
    ImageSet,
    Sample,
    class_samples,
    data_folder,
    image_files,
    single_label,
    subfolders,
    unfollowed,
)
from vggfeat.errors import DataError

SUBSETS = ("train", "val", "test")


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:
    """Read images in class folders, at any depth.

    A class is a folder directly in the root. If the root has a folder `train`, and also `val` or `test` or no other
    folder, these are subsets, and the classes are the folders in them.

    Parameters
    ----------
    root : path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/folder.

    Returns
    -------
    ImageSet

    Raises
    ------
    DataError
        If there are fewer than two classes, a class folder has no image, or `val` or `test` has a class that `train`
        does not have.
    """
    top = data_folder("folder", root)
    if not top.is_dir():
        raise DataError(f"{top}: no such folder; name a folder that has a folder of images for each class")
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
    return single_label("folder", classes, samples, [*_left_out(top, subsets, found), *unfollowed(links)])


def _check(top: Path, subsets: list[str], folders: dict[str, list[Path]], classes: list[str]) -> None:
    if len(classes) < 2:
        where = top / subsets[0]
        raise DataError(f"{where}: has {len(classes)} class folders; at least two are needed, <class>/*.jpg")
    for subset in subsets:
        if not folders[subset]:
            raise DataError(f"{top / subset}: no class folders in it; fill it or remove it")
        for folder in folders[subset]:
            if folder.name not in classes:
                raise DataError(f"{folder}: this class is not in {top / 'train'}; add it there or remove it here")


def _left_out(top: Path, subsets: list[str], found: set[str]) -> list[str]:
    """Notes on images outside class folders, and on folders that are no subsets."""
    loose = sum(len(image_files(top / subset, top)[0]) for subset in {"", *subsets})
    notes = [f"images left out, not in a class folder: {loose:,}"] if loose else []
    others = sorted(found - set(subsets)) if subsets != [""] else []
    return notes + ([f"folders left out, not train, val or test: {', '.join(others)}"] if others else [])
