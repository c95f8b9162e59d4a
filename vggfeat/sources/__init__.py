"""Where images come from: a folder, a list, tar shards, one image, here or at any address that fsspec knows.

    photos/                       every file below it that isn't hidden; the label is its first folder
    list.txt list.csv .parquet    a path or address a line, or the column `path`, and `label` if any
    shards/{000..099}.tar *.jpg   braces and globs (at an address braces and *)
    shard.tar .tar.gz .tgz        its images; a tar in a folder or a list likewise
    s3://bucket/photos            any of these at an address: s3, gs, hdfs, https, memory, ...

Sources are read as a stream: nothing here grows with the number of images, but the names of one folder, packed, and
those that a glob matches; at an address some 1.5 KB for each entry of one folder, which fsspec lists as a whole.
What can't be had is an Item all the same, with the reason in place of the image.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vggfeat.errors import DataError
from vggfeat.sources import folders, lists, patterns, remote, rows, shards
from vggfeat.sources.item import Fetched, Item, Unanswered

__all__ = ["Fetched", "Item", "Unanswered", "count", "items", "name_of"]


def items(source: str | Path) -> Iterator[Item]:
    """The images of a source, in its order: a folder's sorted by name, its files before its folders.

    Raises DataError where there is no such source, or it is no list after all.
    """
    text = str(source).removeprefix("file://")
    if not text:
        raise DataError("the name of the source is empty; . is the current folder")
    if remote.is_address(text):
        return remote.items(text)
    path = Path(text)
    if not path.exists() and patterns.is_pattern(text):
        return patterns.items(text)
    if path.is_dir():
        if folders.is_store(path):
            raise DataError(f"{source}: is a store of descriptors, not a folder of images; name their folder")
        return folders.walk(path)
    if not path.exists():
        raise DataError(f"{source}: no such folder, list or image")
    if rows.is_list(text):
        return lists.items(path)
    if shards.is_shard(text):
        return shards.members(path, path.name)
    return iter([Item(path.name, path)])


def count(source: str | Path) -> int | None:
    """How many images there are, where that is quickly had; else None."""
    path = Path(source)
    if remote.is_address(str(source)):
        return None
    if path.is_dir():
        return folders.count(path)
    if path.is_file() and rows.is_list(path.name):
        return rows.count(path)
    return 1 if path.is_file() and not shards.is_shard(path.name) else None


def name_of(source: str | Path) -> str:
    """What a store of this source is called: photos/ -> photos, s3://b/shards/*.tar -> shards."""
    text = str(source)
    address = remote.is_address(text)
    if address or (patterns.is_pattern(text) and not Path(source).exists()):
        text = text.split("://")[1].split("?")[0] if address else text
        return _stem(PurePosixPath(patterns.fixed_part(text)).name) or "images"
    path = Path(source).resolve()
    return path.name if path.is_dir() else _stem(path.name)


def _stem(name: str) -> str:
    stem = PurePosixPath(name).stem
    return stem.removesuffix(".tar") or name
