"""A user's own images: ROOT/<class>/*.jpg, or ROOT/train/<class>/*.jpg with ROOT/val or ROOT/test or both."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from vggfeat._util.left_out import LeftOut
from vggfeat.data.base import ImageSet, Sample, data_folder, single_label
from vggfeat.data.listing import LOOSE, Folder, class_images, contents, subfolders
from vggfeat.data.subsets import by_subset, only
from vggfeat.errors import DataError
from vggfeat.formats import subset_of

NO_SUBSET = "folders left out, because they are not train, val or test"


def read(root: str | os.PathLike[str] | None = None) -> ImageSet:
    """Read images in class folders, at any depth.

    A class is a folder directly in the root. If the root has a folder `train` with class folders in it, and also `val`
    or `test` or no other folder, these are subsets, and the classes are the folders in them. Other usual names of these
    three folders are known, such as `Training` and `validation`. A folder of such a name that has no folders in it is a
    class like those beside it. Links to files and folders are followed.

    Parameters
    ----------
    root : path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/folder.

    Returns
    -------
    ImageSet
        Its `notes` say what was left out.

    Raises
    ------
    DataError
        If there are fewer than two classes, a class folder has no image, or `val` or `test` has a class that `train`
        does not have; or if it is not clear whether folders are subsets or classes.
    """
    top = data_folder("folder", root)
    if not top.is_dir():
        raise DataError(f"{top}: no such folder; name a folder that has a folder of images for each class")
    left_out = LeftOut()
    loose, below = contents(Folder.root(top), left_out)
    subsets = _subsets(top, below)
    folders = {"": below}
    if subsets:
        left_out.add(NO_SUBSET, *(folder.name for folder in below if folder not in subsets.values()))
        folders = {}
        for subset, folder in subsets.items():
            more, folders[subset] = contents(folder, left_out)
            loose += more
    left_out.add(LOOSE, *loose)
    label = {folder.title: k for k, folder in enumerate(next(iter(folders.values())))}
    _check(top, subsets, folders, label)
    samples = [
        Sample(name, top / name, label[folder.title], subset)
        for subset, within in folders.items()
        for folder in within
        for name in class_images(folder, left_out)
    ]
    notes = [*([] if subsets else _named_like_subsets(label)), *left_out.lines()]
    return single_label("folder", list(label), samples, notes)


def _subsets(top: Path, below: Sequence[Folder]) -> dict[str, Folder]:
    """Subset -> its folder; {} if the folders in the root are classes. Raises DataError if neither is certain."""
    named = by_subset(below)
    split = [subset for subset, folders in named.items() if any(map(subfolders, folders))]
    others = [folder.title for folder in below if subset_of(folder.title) is None]
    if not named or (others and not split):
        return {}
    first = named[next(iter(split or named))][0].title
    if "train" not in named:
        raise DataError(f"{top}: has {first} but no train; add train/<class>/, or rename {first} if it is a class")
    if others and ("train" not in split or len(named) == 1):
        raise DataError(
            f"{top}: has {first} with folders in it, and {others[0]}, which is no subset; "
            f"name the subsets train, val and test, or rename {first} if it is a class"
        )
    return {subset: only(subset, folders) for subset, folders in named.items()}


def _check(
    top: Path, subsets: Mapping[str, Folder], folders: Mapping[str, list[Folder]], classes: Collection[str]
) -> None:
    first = subsets["train"].path if subsets else top
    if len(classes) < 2:
        raise DataError(f"{first}: has {len(classes)} class folders; at least two are needed, <class>/*.jpg")
    for subset, within in folders.items():
        if not within:
            raise DataError(f"{subsets[subset].path}: no class folders in it; fill it or remove it")
        for folder in within:
            if folder.title not in classes:
                raise DataError(
                    f"{folder.path}: is a class that {first} does not have; add it there, or remove this folder"
                )


def _named_like_subsets(classes: Iterable[str]) -> list[str]:
    """A note on classes that have the name of a subset."""
    names = [name for name in classes if subset_of(name) is not None]
    return [f"read as classes, since there are no folders in them: {', '.join(names)}"] if names else []
