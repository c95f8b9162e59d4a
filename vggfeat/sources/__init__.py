"""Where images come from: a folder, a list, tar archives or one image, on this machine or at an address.

    photos/                       every file below it that is not hidden; the label is its first folder
    list.txt                      one path or address per line; also Caffe's lists, with the number of a class
    list.csv .tsv .parquet        the column `path`, and optionally `label`
    shards/{000..099}.tar *.jpg   braces and globs (at an address, braces and *)
    shard.tar .tar.gz .tgz        the images of a tar, also of one in a folder or a list; the label is in its .cls
    s3://bucket/photos            each of these at an address: s3, gs, hdfs, https, memory, ...

Sources are read as a stream: memory does not grow with the number of images. Only the names of one folder (in Arrow
arrays) and those that a glob matches are held; at an address, about 1.5 KB for each entry of one folder; of a tar whose
.cls are not beside their images, the labels of at most a million, about 200 bytes each. An image that cannot be read is
also an Item, with the reason in place of the image. What a file or a server says about sizes is not trusted: headers,
rows, pages and depths have bounds, named at the top of each module. Files that are not images by their suffix are
counted in a LeftOut. Links are followed, to files and to folders.

item        what every source gives: Item, Fetched, Unanswered
left_out    LeftOut: what a source holds and does not give as images
labels      the labels of images, from lists, archives and folders
folders, patterns, lists, remote    the four kinds of source; rows, parquet: those of a list; entries: at addresses
shards      the images of tar archives; tar: reads their members; unpacking: reads compressed files
several     the images of several sources, one after the other
addresses   the gate of all addresses; web: folders and files of web servers
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vggfeat._util.left_out import LeftOut
from vggfeat._util.printable import reason_of, recorded
from vggfeat.errors import DataError
from vggfeat.formats import is_tar
from vggfeat.sources import folders, lists, patterns, remote, rows, shards
from vggfeat.sources.addresses import is_address, without_file
from vggfeat.sources.item import Item, utf8
from vggfeat.sources.left_out import refusal

__all__ = ["Item", "LeftOut", "address_of", "count", "items", "name_of"]


def items(source: str | Path, left_out: LeftOut | None = None) -> Iterator[Item]:
    """Iterate over the images of a source.

    Parameters
    ----------
    source : str or Path
        A folder, list, tar archive or image, a pattern, or an address, as in `vggfeat.sources`.
    left_out : LeftOut, optional
        Counts what the source holds and does not give, while it is iterated over.

    Yields
    ------
    Item
        In the order of the source. Folders are sorted by name, files before folders.

    Raises
    ------
    DataError
        If the source does not exist, is a store, is of a kind that cannot be read, or is a damaged list.
    """
    left_out = LeftOut() if left_out is None else left_out
    text = without_file(str(source))
    if not text:
        raise DataError("the name of the source is empty; write . for the current folder")
    if is_address(text):
        return remote.items(text, left_out)
    if patterns.is_pattern(text) and not os.path.lexists(text):
        return patterns.items(text, left_out)
    return _of_path(Path(text), left_out)


def count(source: str | Path) -> int | None:
    """Count the images of a source, if that is quick.

    Parameters
    ----------
    source : str or Path
        As for `items`.

    Returns
    -------
    int or None
        The number of images (of a list about); None for addresses, patterns and tar archives.
    """
    path = Path(source)
    if is_address(str(source)):
        return None
    if path.is_dir():
        return folders.count(path)
    if path.is_file() and rows.is_list(path.name):
        return rows.count(path)
    return 1 if path.is_file() and not is_tar(path.name) else None


def address_of(source: str | Path) -> str:
    """Name a source so that different sources differ, whatever the current folder is.

    Parameters
    ----------
    source : str or Path
        As for `items`.

    Returns
    -------
    str
        An absolute path without links, or an address, without its user, password and signature.

    Examples
    --------
    >>> address_of("s3://bucket/photos")
    's3://bucket/photos'
    """
    text = str(source)
    return recorded(text.rstrip("/")) if is_address(text) else os.path.realpath(without_file(text))


def name_of(source: str | Path) -> str:
    """Name the store of a source.

    Parameters
    ----------
    source : str or Path
        As for `items`.

    Returns
    -------
    str
        The name without suffix.

    Examples
    --------
    >>> name_of("cat.jpg"), name_of("s3://bucket/shards/*.tar")
    ('cat', 'shards')
    """
    text = str(source)
    address = is_address(text)
    if address or (patterns.is_pattern(text) and not os.path.lexists(text)):
        text = text.split("://")[1].split("?")[0] if address else text
        return _stem(PurePosixPath(patterns.fixed_part(text)).name) or "images"
    path = Path(source).resolve()
    return path.name if path.is_dir() else _stem(path.name)


def _stem(name: str) -> str:
    stem = PurePosixPath(name).stem
    return stem.removesuffix(".tar") or name


def _of_path(path: Path, left_out: LeftOut) -> Iterator[Item]:
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: no such folder, list or image") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: cannot be read ({reason_of(error)})") from error
    if is_folder:
        if folders.is_store(path):
            raise DataError(f"{path}: is a store of descriptors, not a folder of images; name their folder")
        return folders.walk(path, left_out)
    if rows.is_list(path.name):
        return lists.items(path, left_out)
    if is_tar(path.name):
        return shards.members(path, utf8(path.name), left_out)
    if reason := refusal(path.name):
        raise DataError(f"{path}: {reason}")
    return iter([Item(utf8(path.name), path)])
