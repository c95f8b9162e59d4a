"""The images in the folders of a data set, and how many other things are left out, with the reason.

Links to files and to folders are followed, wherever they lead: a person who names a folder also means the targets of
its links. Only regular files are read. A link to a folder above it is not followed, so that no walk is endless.
"""

import os
from pathlib import Path
from typing import NamedTuple

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of
from vggfeat.errors import DataError
from vggfeat.formats import STORE, has_image_suffix, is_hidden, is_tar, other_kind

NOT_READ = "files left out, because their suffix is not that of an image"
PACKED = "archives left out until they are unpacked"
NO_TARGET = "links left out, because they lead to no file or folder"
NO_FILE = "devices and pipes left out"
CIRCLE = "links left out, because they lead to a folder above them"
LOOSE = "images left out, because they are in no class folder"
DEEPER = "folders left out, because they are inside a class folder"


def add_file(left_out: LeftOut, name: str) -> None:
    """Count a file that is not an image by its suffix, unless it is hidden."""
    if is_hidden(name.rpartition("/")[2]):
        return
    if is_tar(name) or other_kind(name) == "archive":
        left_out.add(PACKED, name)
    else:
        left_out.add_file(NOT_READ, name)


class Folder(NamedTuple):
    """A folder of a data set.

    name : relative to the data set's root, with slashes; "" is the root. way : the paths without links of the folders
    from the root to this one.
    """

    path: str
    name: str
    way: tuple[str, ...]

    @classmethod
    def root(cls, path: Path) -> "Folder":
        """The root of a data set."""
        return cls(str(path), "", (os.path.realpath(path),))

    @property
    def title(self) -> str:
        """Its own name."""
        return self.name.rpartition("/")[2]


def contents(folder: Folder, left_out: LeftOut) -> tuple[list[str], list[Folder]]:
    """The names of the images in a folder, relative to the root, in any order; and the folders in it, sorted by name.

    Everything else is counted in `left_out`. Raises DataError if the folder cannot be listed, or a name is not UTF-8.
    """
    images, folders = [], []
    prefix = f"{folder.name}/" if folder.name else ""
    for entry in _entries(folder.path):
        name = prefix + entry.name
        try:
            if entry.is_file():
                if has_image_suffix(entry.name):
                    images.append(name if name.isascii() else _utf8(name, entry.path))
                else:
                    add_file(left_out, name)
            elif entry.is_dir():
                real = os.path.realpath(entry.path) if entry.is_symlink() else f"{folder.way[-1]}{os.sep}{entry.name}"
                if real in folder.way:
                    left_out.add(CIRCLE, name)
                elif not entry.name.endswith(STORE):
                    folders.append(Folder(entry.path, _utf8(name, entry.path), (*folder.way, real)))
            else:
                left_out.add(NO_TARGET if entry.is_symlink() else NO_FILE, name)
        except OSError:  # a circle of links, or a target without permission
            left_out.add(NO_TARGET, name)
    return images, sorted(folders, key=lambda below: below.name)


def subfolders(folder: Folder) -> list[Folder]:
    """The folders directly in a folder, sorted by name."""
    return contents(folder, LeftOut())[1]


def class_images(folder: Folder, left_out: LeftOut, *, nested: bool = True) -> list[str]:
    """The names of all images of a class folder, relative to the root, in any order.

    nested : also of the folders in it, at any depth. Raises DataError if there is none, if a folder cannot be listed,
    or if a name is not UTF-8.
    """
    images = _images_below(folder, left_out, nested)
    if not images:
        own = LeftOut()
        _images_below(folder, own, nested)
        hint = f" ({'; '.join(own.lines())})" if own.lines() else ""
        raise DataError(f"{folder.path}: no image in this class folder{hint}; fill it or remove it")
    return images


def _images_below(folder: Folder, left_out: LeftOut, nested: bool) -> list[str]:
    images, waiting = contents(folder, left_out)
    if not nested:
        left_out.add(DEEPER, *(below.name for below in waiting))
    while nested and waiting:
        found, below = contents(waiting.pop(), left_out)
        images += found
        waiting += below
    return images


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_hidden(entry.name)]
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({reason_of(error)}); check its permissions") from error


def _utf8(name: str, path: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path!a}: the name is not UTF-8; rename it") from None
    return name
