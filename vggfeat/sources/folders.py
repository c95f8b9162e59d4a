"""The images in a folder, in sorted order."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vggfeat.errors import ImageError
from vggfeat.sources import shards
from vggfeat.sources.item import Item, first_folder, utf8

PACKED = 2**14  # names of one folder that are Python objects at the same time; the others are packed by Arrow


def items(root: Path, packed: int = PACKED) -> Iterator[Item]:
    """All files below root, without hidden files and stores. Links that lead out of root are not followed."""
    real = Path(os.path.realpath(root))
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            files, folders = _entries(folder, packed)
        except OSError as error:
            yield Item(_name(root, folder), ImageError(error.strerror or str(error)))
            continue
        for name in files:
            yield from _file(folder / name, root, real)
        waiting += reversed([folder / name for name in folders])


def count(root: Path) -> int | None:
    """How many items a folder has; None if it contains archives."""
    waiting, found = [root], 0
    while waiting:
        folder = waiting.pop()
        try:
            files, folders = _entries(folder, PACKED)
        except OSError:
            found += 1
            continue
        for name in files:
            if shards.is_shard(name):
                return None
            found += 1
        waiting += [folder / name for name in folders]
    return found


def is_store(folder: Path) -> bool:
    """Whether a folder is a descriptor store."""
    return folder.name.endswith(".vggfeat") or ((folder / ".lock").exists() and (folder / "meta.json").exists())


def _entries(folder: Path, most: int) -> tuple[Iterator[str], list[str]]:
    """The sorted names of a folder's files, and of its folders."""
    packed, files, folders = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir(follow_symlinks=False):
                files.append(os.fsencode(entry.name))
            elif not is_store(folder / entry.name):
                folders.append(entry.name)
            if len(files) == most:
                packed.append(pa.array(files, pa.large_binary()))
                files = []
    names = pa.chunked_array([*packed, pa.array(files, pa.large_binary())])
    return _unpacked(names, most), sorted(folders)


def _unpacked(names: pa.ChunkedArray, most: int) -> Iterator[str]:
    names = names.take(pc.sort_indices(names)) if len(names) else names
    for start in range(0, len(names), most):
        yield from map(os.fsdecode, names.slice(start, most).to_pylist())


def _file(file: Path, root: Path, real: Path) -> Iterator[Item]:
    name = _name(root, file)
    if file.is_symlink() and (reason := _not_followed(file, real)):
        yield Item(name, ImageError(reason), first_folder(name))
    else:
        yield from shards.items(file, name, first_folder(name))


def _not_followed(link: Path, root: Path) -> str | None:
    """The reason why a link is not followed."""
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        return "is a link out of the folder, which is not followed; name the image in a list to describe it"
    return "is a link to a folder, which is not followed" if target.is_dir() else None


def _name(root: Path, file: Path) -> str:
    return "/".join(utf8(part) for part in file.relative_to(root).parts)
