"""A folder, walked in sorted order."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vggfeat.errors import ImageError
from vggfeat.sources import shards
from vggfeat.sources.item import Item, utf8

PACKED = 2**14


def walk(root: Path, packed: int = PACKED) -> Iterator[Item]:
    """Every file below root except hidden ones and stores; the label is the first folder.

    Links that lead out of root are not followed. packed : how many names are Python objects at the same time; the
    others are in Arrow arrays, which need less memory.
    """
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
    """How many files `walk` gives; None if some are archives."""
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


def _entries(folder: Path, packed: int) -> tuple[Iterator[str], list[str]]:
    """The sorted names of a folder's files, and of its folders."""
    full, files, folders = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir(follow_symlinks=False):
                files.append(os.fsencode(entry.name))
            elif not is_store(folder / entry.name):
                folders.append(entry.name)
            if len(files) == packed:
                full.append(pa.array(files, pa.large_binary()))
                files = []
    names = pa.chunked_array([*full, pa.array(files, pa.large_binary())])
    return _unpacked(names, packed), sorted(folders)


def _unpacked(names: pa.ChunkedArray, packed: int) -> Iterator[str]:
    names = names.take(pc.sort_indices(names)) if len(names) else names
    for start in range(0, len(names), packed):
        yield from map(os.fsdecode, names.slice(start, packed).to_pylist())


def is_store(folder: Path) -> bool:
    """Whether a folder is a store of descriptors."""
    return folder.name.endswith(".vggfeat") or ((folder / ".lock").exists() and (folder / "meta.json").exists())


def _file(file: Path, root: Path, real: Path) -> Iterator[Item]:
    name = _name(root, file)
    label = name.split("/")[0] if "/" in name else None
    if file.is_symlink() and (reason := _not_followed(file, real)):
        yield Item(name, ImageError(reason), label)
    elif shards.is_shard(name):
        yield from shards.members(file, name)
    else:
        yield Item(name, file, label)


def _not_followed(link: Path, root: Path) -> str | None:
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        return "is a link out of the folder, which is not followed; to describe the image, name it in a list"
    return "is a link to a folder, which is not followed" if target.is_dir() else None


def _name(root: Path, file: Path) -> str:
    return "/".join(utf8(part) for part in file.relative_to(root).parts)
