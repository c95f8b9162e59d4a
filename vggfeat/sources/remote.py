"""Folders, patterns and lists at addresses; in patterns `*` and braces."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from vggfeat.errors import DataError, ImageError
from vggfeat.sources import addresses, lists, patterns, shards
from vggfeat.sources.addresses import RemoteFile, asking, is_address, reach, unquoted, without_query
from vggfeat.sources.item import Item, first_folder


def items(address: str) -> Iterator[Item]:
    """The images of a folder, pattern, list, tar or file at an address. Raises DataError."""
    if "*" in address or "{" in address:
        return _matching(address)
    file = reach(address)
    name = unquoted(PurePosixPath(without_query(file.path)).name, file.path)
    if lists.is_list(name):
        return _listed(file, address)
    if shards.is_shard(name) or PurePosixPath(name).suffix.lower() in shards.IMAGES:
        return addresses.items(file, name)
    with asking(address):
        try:
            entries = _entries(file.system, file.path)
        except (FileNotFoundError, NotADirectoryError):
            entries = []
        if entries or file.system.isdir(file.path):
            return _folder(file.system, file.path.rstrip("/"), entries)
        if file.system.exists(file.path):
            return addresses.items(file, name)
    raise DataError(f"{address}: no such folder, list or image")


class _Entry(NamedTuple):
    path: str
    is_folder: bool


def _folder(system: Any, root: str, entries: list[_Entry]) -> Iterator[Item]:
    """As `folders.items`: sorted, files before folders, without hidden files and stores. entries : of the root."""
    waiting: list[tuple[str, list[_Entry] | None]] = [(root, entries)]
    while waiting:
        folder, found = waiting.pop()
        try:
            found = _entries(system, folder) if found is None else found
        except Exception as error:
            yield Item(_relative(folder, root), ImageError(addresses.reason_of(error)))
            continue
        for entry in found:
            if not entry.is_folder:
                yield from _file(RemoteFile(system, entry.path, listed=True), root)
        folders = [entry.path for entry in found if entry.is_folder and not entry.path.endswith(".vggfeat")]
        waiting += [(path, None) for path in reversed(folders)]


def _entries(system: Any, folder: str) -> list[_Entry]:
    """The entries of a folder, sorted. An object and a prefix may have the same name."""
    folder = folder.rstrip("/")
    listing = system.ls(folder + "/", detail=True)
    found = {_Entry(one["name"].rstrip("/"), one["type"] == "directory") for one in listing}
    return sorted(entry for entry in found if _is_inside(entry.path, folder))


def _is_inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder. A web page that lists files may link to other places, and to itself."""
    name = path.removeprefix(f"{folder}/")
    elsewhere = r"[/?#]" if is_address(path) else "/"
    return name not in ("", path) and not name.startswith(".") and not re.search(elsewhere, name)


def _file(file: RemoteFile, root: str) -> Iterator[Item]:
    name = _relative(file.path, root)
    return addresses.items(file, name, first_folder(name))


def _relative(path: str, root: str) -> str:
    return unquoted(path.removeprefix(root.rstrip("/")).lstrip("/"), path)


def _matching(address: str) -> Iterator[Item]:
    found = False
    for text in patterns.expand(address):
        file = reach(text)
        with asking(text):
            matches = _matches(file) if "*" in file.path else [file]  # braces alone list nothing
        root = reach(patterns.fixed_part(address)).path
        for match in matches:
            found = True
            yield from _file(match, root)
    if not found:
        raise DataError(f"{address}: matches no file; correct the pattern")


def _matches(pattern: RemoteFile) -> list[RemoteFile]:
    """Sorted and without folders; as on a disk, without hidden files unless the pattern names them."""
    found = pattern.system.glob(pattern.path, detail=True)
    files = sorted(str(path) for path, entry in found.items() if entry["type"] != "directory")
    shown = (path for path in files if "/." not in path or "/." in pattern.path)
    return [replace(pattern, path=path, listed=True) for path in shown]


def _listed(file: RemoteFile, address: str) -> Iterator[Item]:
    """The images of a list, whose entries are addresses, or relative to its folder."""
    place = without_query(file.path)
    with asking(address):
        in_pieces = place.lower().endswith(".parquet")
        opened = file.system.open(file.path, "rb") if in_pieces else addresses.open_once(file)
    with asking(address), opened:
        for name, label in lists.rows(opened, place):
            if is_address(name):
                yield from addresses.named(name, label)
            else:
                path = f"{place.rsplit('/', 1)[0]}/{name.lstrip('/')}"
                yield from addresses.items(RemoteFile(file.system, path), name, label)
