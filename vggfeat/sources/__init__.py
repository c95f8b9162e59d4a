"""Sources of images: a folder, a list, tar files, one image; on this machine or at any address that fsspec knows.

    photos/                       all files below it that are not hidden; the label is the first folder
    list.txt list.csv .parquet    one path or address per line; or the column `path`, and `label` if any
    shards/{000..099}.tar *.jpg   braces and globs (at an address braces and *)
    shard.tar .tar.gz .tgz        the images in it; also of a tar in a folder or in a list
    s3://bucket/photos            any of these at an address: s3, gs, hdfs, https, memory, ...

Sources are read as a stream. Memory grows only with the names in one folder, which are packed, and with the matches of
a glob; at an address with the entries of one folder, about 1.5 KB for each, which fsspec lists as a whole. An image
that cannot be read is an Item as well, with the reason in place of the image.

The files of this package, each of which imports only those above it:

    item        Item, and what the name of a file becomes
    tar         the reader of tar files
    shards      the images in tar files
    patterns    globs and braces
    folders     folders on this machine
    addresses   single files at addresses
    lists       lists
    remote      folders, patterns and lists at addresses
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vggfeat.errors import DataError
from vggfeat.sources import folders, lists, patterns, remote, shards
from vggfeat.sources.addresses import is_address
from vggfeat.sources.item import Item

__all__ = ["Item", "count", "items", "name_of"]


def items(source: str | Path) -> Iterator[Item]:
    """List the images of a source in its order; a folder is sorted by name, its files before its folders.

    Parameters
    ----------
    source : str or path
        A folder, list, tar, pattern or image, on this machine or at an address.

    Returns
    -------
    iterator of Item

    Raises
    ------
    DataError
        If the source does not exist, or a list cannot be read.
    """
    text = str(source).removeprefix("file://")
    if not text:
        raise DataError("the name of the source is empty; . is the current folder")
    if is_address(text):
        return remote.items(text)
    path = Path(text)
    if not path.exists() and patterns.is_pattern(text):
        return patterns.items(text)
    if path.is_dir():
        if folders.is_store(path):
            raise DataError(f"{source}: is a store of descriptors, not a folder of images; name the folder of images")
        return folders.items(path)
    if not path.exists():
        raise DataError(f"{source}: no such folder, list or image")
    if lists.is_list(text):
        return lists.items(path)
    return shards.items(path, path.name)


def count(source: str | Path) -> int | None:
    """Count the images of a source, if that is quick.

    Parameters
    ----------
    source : str or path
        See `items`.

    Returns
    -------
    int or None
        The number of images (of a .txt or .csv list about that); None for archives, patterns and addresses.
    """
    path = Path(source)
    if is_address(str(source)):
        return None
    if path.is_dir():
        return folders.count(path)
    if path.is_file() and lists.is_list(path.name):
        return lists.count(path)
    return 1 if path.is_file() and not shards.is_shard(path.name) else None


def name_of(source: str | Path) -> str:
    """Name the store of a source.

    Parameters
    ----------
    source : str or path
        See `items`.

    Returns
    -------
    str

    Examples
    --------
    >>> name_of("s3://bucket/shards/{000..099}.tar")
    'shards'
    """
    text = str(source)
    address = is_address(text)
    if address or (patterns.is_pattern(text) and not Path(source).exists()):
        text = text.split("://")[1].split("?")[0] if address else text
        return _stem(PurePosixPath(patterns.fixed_part(text)).name) or "images"
    path = Path(source).resolve()
    return path.name if path.is_dir() else _stem(path.name)


def _stem(name: str) -> str:
    stem = PurePosixPath(name).stem
    return stem.removesuffix(".tar") or name
