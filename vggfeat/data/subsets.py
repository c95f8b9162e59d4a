"""The subsets of a data set, known by the names of their folders."""

from collections.abc import Iterable
from pathlib import Path

from vggfeat.data.listing import Folder, subfolders
from vggfeat.errors import DataError

# In lower case; the names of folders may have capitals. The longer ones are those of ILSVRC's archives.
NAMES = {
    "train": ("train", "training", "ilsvrc2012_img_train"),
    "val": ("val", "valid", "validation", "dev", "ilsvrc2012_img_val"),
    "test": ("test", "testing", "ilsvrc2012_img_test", "ilsvrc2012_img_test_v10102019"),
}


def subset_of(name: str) -> str | None:
    """The subset that a folder's name stands for; None if it is no such name.

    >>> subset_of("Validation"), subset_of("cats")
    ('val', None)
    """
    return next((subset for subset, names in NAMES.items() if name.lower() in names), None)


def by_subset(folders: Iterable[Folder]) -> dict[str, list[Folder]]:
    """Subset -> the folders that have one of its names, in the order of NAMES; without subsets that have none."""
    found: dict[str, list[Folder]] = {subset: [] for subset in NAMES}
    for folder in folders:
        if (subset := subset_of(folder.title)) is not None:
            found[subset].append(folder)
    return {subset: named for subset, named in found.items() if named}


def only(subset: str, folders: list[Folder]) -> Folder:
    """The folder of a subset. Raises DataError if there are several."""
    if len(folders) > 1:
        names = " and ".join(folder.title for folder in folders)
        above = Path(folders[0].path).parent
        raise DataError(f"{above}: {names} are both names of the subset {subset}; keep only one of these folders")
    return folders[0]


def find(top: Path, subset: str) -> Folder | None:
    """The folder of a subset in a data set's folder, or None. Raises DataError if there are several."""
    if not top.is_dir():
        return None
    named = by_subset(subfolders(Folder.root(top))).get(subset)
    return only(subset, named) if named else None
