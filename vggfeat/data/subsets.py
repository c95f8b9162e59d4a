"""The subsets of a data set, known by the names of their folders."""

from collections.abc import Iterable
from pathlib import Path

from vggfeat.data.listing import Folder, subfolders
from vggfeat.errors import DataError
from vggfeat.formats import SUBSETS, subset_of


def by_subset(folders: Iterable[Folder]) -> dict[str, list[Folder]]:
    """Subset -> the folders that have one of its names, in the order of SUBSETS; without subsets that have none."""
    found: dict[str, list[Folder]] = {subset: [] for subset in SUBSETS}
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
