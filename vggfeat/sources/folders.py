"""A folder, walked in sorted order."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of
from vggfeat.errors import DataError, ImageError
from vggfeat.formats import STORE, is_hidden, is_tar, subset_of
from vggfeat.images import Source
from vggfeat.sources import shards
from vggfeat.sources.item import Item, utf8
from vggfeat.sources.left_out import file_items, is_left_out

PACKED = 2**14  # names in an Arrow array
MAX_LINKS = 5  # to folders on the way to one: ten folders with links to each other make millions of ways
CIRCLE = "links left out, because they lead to a folder above them"
WINDING = "links left out, because the way to them has too many links"
SUBSET = "labels that are the name of a subset (name that folder as the source to get classes as labels)"


def walk(root: Path, left_out: LeftOut, packed: int = PACKED, most_links: int = MAX_LINKS) -> Iterator[Item]:
    """Every file below root that may be an image, except hidden ones and stores; the label is the first folder.

    Links are followed, except to a folder above them. packed : how many names are Python objects at the same time; the
    others are in Arrow arrays, which need less memory. most_links : how many may be on the way to a folder.

    Raises DataError if root is removed or replaced.
    """
    before = _identity(root)
    for folder, files in _folders(root, left_out, packed, most_links):
        if isinstance(files, OSError):
            _refuse_gone(root, before)
            yield Item(folder.name, ImageError(reason_of(files)))
            continue
        prefix = f"{folder.name}/" if folder.name else ""
        for name in files:
            yield from items(folder.path / name, prefix + utf8(name), left_out)
    _refuse_gone(root, before)


def below(root: Path, left_out: LeftOut) -> Iterator[Path]:
    """A folder and those below it, as `walk` finds them."""
    return (folder.path for folder, _ in _folders(root, left_out))


def count(root: Path) -> int | None:
    """How many images `walk` gives; None if some are in archives."""
    found = 0
    for _, files in _folders(root, LeftOut()):
        if isinstance(files, OSError):
            found += 1
            continue
        for name in files:
            if is_tar(name):
                return None
            found += not is_left_out(name)
    return found


def items(file: Path, name: str, left_out: LeftOut, listed: bool = True) -> Iterator[Item]:
    """The images of one file on this machine. listed : it was found there, so that it should exist."""
    if is_tar(name):
        yield from shards.members(file, name, left_out)
        return
    image: Source = file
    if os.path.islink(file):  # noqa: PTH114  (faster, and there is one for each file)
        try:
            file.stat()
        except OSError as error:
            image = ImageError(f"is a link that leads to no file ({reason_of(error)})")
    yield from file_items(name, image, left_out, listed)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode; None if the folder is gone."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refuse_gone(root: Path, before: tuple[int, int] | None) -> None:
    """Raise DataError if a source is not what it was: it was removed, or its disk was unmounted."""
    if _identity(root) != before:
        raise DataError(
            f"{root}: was removed or replaced while it was read; finished descriptors are kept, "
            "bring it back and run the same command again to continue"
        )


class _Folder(NamedTuple):
    """A folder below the root.

    name : relative to the root. real : its path without links. above : the folder that holds it. links : how many are
    on the way to it.
    """

    path: Path
    name: str
    real: str
    above: "_Folder | None"
    links: int = 0

    def is_inside_itself(self) -> bool:
        folder = self.above
        while folder and folder.real != self.real:
            folder = folder.above
        return folder is not None


def _folders(
    root: Path, left_out: LeftOut, packed: int = PACKED, most_links: int = MAX_LINKS
) -> Iterator[tuple[_Folder, Iterator[str] | OSError]]:
    """All folders from root down, each with the names of its files, or with the reason why it cannot be listed."""
    waiting = [_Folder(root, "", os.path.realpath(root), None)]
    while waiting:
        folder = waiting.pop()
        if folder.is_inside_itself():
            left_out.add(CIRCLE, folder.name)
            continue
        if folder.links > most_links:
            left_out.add(WINDING, folder.name)
            continue
        try:
            files, folders = _entries(folder.path, packed)
        except OSError as error:
            yield folder, error
            continue
        if folders and folder.above and not folder.above.above and subset_of(folder.name):
            left_out.add(SUBSET, folder.name)
        yield folder, files
        waiting += [_below(folder, name, is_link) for name, is_link in reversed(folders)]


def _below(folder: _Folder, name: str, is_link: bool) -> _Folder:
    path = folder.path / name
    real = os.path.realpath(path) if is_link else os.path.join(folder.real, name)  # noqa: PTH118  (a text)
    return _Folder(path, f"{folder.name}/{utf8(name)}".lstrip("/"), real, folder, folder.links + is_link)


def _entries(folder: Path, packed: int) -> tuple[Iterator[str], list[tuple[str, bool]]]:
    """The sorted names of a folder's files, and of its folders, with whether each is a link."""
    full, files, folders = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if not _is_folder(entry):
                files.append(os.fsencode(entry.name))
            elif not is_store(folder / entry.name):
                folders.append((entry.name, entry.is_symlink()))
            if len(files) == packed:
                full.append(pa.array(files, pa.large_binary()))
                files = []
    names = pa.chunked_array([*full, pa.array(files, pa.large_binary())])
    return _unpacked(names, packed), sorted(folders)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to a place without permission
        return False


def _unpacked(names: pa.ChunkedArray, packed: int) -> Iterator[str]:
    names = names.take(pc.sort_indices(names)) if len(names) else names
    for start in range(0, len(names), packed):
        yield from map(os.fsdecode, names.slice(start, packed).to_pylist())


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of descriptors."""
    return folder.name.endswith(STORE) or ((folder / ".lock").exists() and (folder / "meta.json").exists())
