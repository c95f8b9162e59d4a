"""Images at addresses: s3://, gs://, hdfs://, https://, memory://, and the others of `addresses`.

A path in an object store is a key, which may contain any character. A path on the web is an address, with `?` before
the query. In both, * and braces are patterns.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import IO, Any, ClassVar
from urllib.parse import unquote

from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError, ImageError
from vggfeat.formats import STORE, has_image_suffix, is_hidden, is_tar
from vggfeat.sources import patterns, rows, shards
from vggfeat.sources.addresses import asked, is_address, reach, reason
from vggfeat.sources.entries import Entry, entry_of
from vggfeat.sources.item import Item, Unanswered
from vggfeat.sources.left_out import file_items, refusal
from vggfeat.sources.unpacking import PIECE, Owned, read_pieces
from vggfeat.spec import MAX_BYTES

CIRCLE = "folders left out, because they hold the same names as the two folders above them"
TOO_DEEP = "folders left out, because they are too deep"
MAX_DEPTH = 100  # folders in each other
MAX_EMPTY = 10_000  # folders in a row without a file
MAX_LIST = 2**30  # bytes of a Parquet list on the web, which is copied to a temporary file and read from there


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of an fsspec file system.

    listed : the file system itself listed it, so it should exist. size, changed_ns : see `stamp`.
    """

    system: Any
    path: str
    listed: bool = False
    size: int | None = None
    changed_ns: int | None = None
    far: ClassVar[bool] = True

    def __str__(self) -> str:
        return str(self.system.unstrip_protocol(self.path))

    def fetch(self, most: int = MAX_BYTES, growing: Callable[[int], None] | None = None) -> bytes:
        """Raises ImageError, also for more than `most` bytes.

        growing : called with the number of bytes so far, before more are read; may raise ImageError.
        """
        try:
            with self.system.open(self.path, "rb") as file:
                data = read_pieces(file, most + 1, growing)
        except ImageError:
            raise
        except Exception as error:  # each file system raises errors of its own types
            kind = Unanswered if self.listed and not isinstance(error, FileNotFoundError) else ImageError
            raise kind(f"{self}: {reason(error)}") from error
        if len(data) > most:
            raise ImageError(f"{self}: has more than {most:,} bytes")
        return data

    def stamp(self) -> tuple[int | None, int | None]:
        """Size in bytes, and time of the last change in nanoseconds since 1970, if the listing says them."""
        return self.size, self.changed_ns


def items(address: str, left_out: LeftOut) -> Iterator[Item]:
    """The images of a folder, list, tar, pattern or image at an address. Raises DataError."""
    if "*" in address or "{" in address:
        return _matching(address, left_out)
    system, path = reach(address)
    name = _unquoted(PurePosixPath(_without_query(path)).name, path)
    if rows.is_list(name):
        return _listed(system, path, address, left_out)
    if is_tar(name):
        return _shard(Remote(system, path), name, left_out)
    if has_image_suffix(name):
        return iter([Item(name, Remote(system, path))])
    with asked(address):
        try:
            entries = _entries(system, path)
        except (FileNotFoundError, NotADirectoryError):
            entries = []
        if entries or system.isdir(path):
            return _walk(system, path, entries, left_out)
        if system.exists(path):
            if reason := refusal(name):
                raise DataError(f"{address}: {reason}")
            return iter([Item(name, Remote(system, path))])
    raise DataError(f"{address}: no such folder, list or image")


def entry(address: str, label: str | None, left_out: LeftOut, by_remote: bool = False) -> Iterator[Item]:
    """The images of one address in a list: one image, or those of a tar. by_remote : the list is at an address."""
    try:
        image = Remote(*reach(address, by_remote))
    except DataError as error:
        yield Item(address, ImageError(str(error).removeprefix(f"{address}: ")), label)
        return
    if is_tar(_without_query(image.path)):
        yield from _shard(image, address, left_out, label)
    else:
        yield Item(address, image, label)


def _without_query(path: str) -> str:
    return path.split("?")[0] if is_address(path) else path


def _walk(system: Any, root: str, entries: list[Entry], left_out: LeftOut) -> Iterator[Item]:
    """As folders.walk: sorted, files before folders, without hidden ones and stores. entries: those of the root."""
    for folder, found in _folders(system, root, entries, left_out):
        if isinstance(found, Exception):
            yield Item(_relative(folder, root), ImageError(reason(found)))
            continue
        for entry in found:
            if not entry.is_folder:
                yield from _file(system, entry, _relative(entry.path, root), left_out)


def _folders(
    system: Any, root: str, entries: list[Entry], left_out: LeftOut, empty: int = MAX_EMPTY
) -> Iterator[tuple[str, list[Entry] | Exception]]:
    """All folders from root down, each with its entries, or with the reason why it cannot be listed.

    A folder on the web may be in itself, under more and more names. It is left out if the two folders above it have
    entries of the same names, with at least one file. Raises DataError for folders without files and without end.
    """
    root = root.rstrip("/")
    waiting: list[tuple[str, tuple[int, ...]]] = [(root, ())]  # each with a hash of what each folder above it holds
    without = 0  # folders without files, one after the other
    while waiting:
        folder, above = waiting.pop()
        try:
            entries = entries if folder == root else _entries(system, folder)
        except Exception as error:
            yield folder, error
            continue
        files = [entry for entry in entries if not entry.is_folder]
        held = hash(tuple(entry.path[len(folder) :] for entry in entries))
        if files and above[-2:] == (held, held):
            left_out.add(CIRCLE, _relative(folder, root))
            continue
        without = 0 if files else without + 1
        if without > empty:
            raise DataError(
                f"{folder}: is the last of {empty:,} folders in a row without a file; name a folder of images"
            )
        yield folder, entries
        folders = [entry.path for entry in entries if entry.is_folder and not entry.path.endswith(STORE)]
        if len(above) >= MAX_DEPTH:
            left_out.add(TOO_DEEP, *(_relative(path, root) for path in folders))
        else:
            waiting += [(path, (*above, held)) for path in reversed(folders)]


def _entries(system: Any, folder: str) -> list[Entry]:
    """The entries of a folder, sorted. An object and a prefix may have the same name."""
    folder = folder.rstrip("/")
    listing = system.ls(folder + "/", detail=True)
    found = {entry[:2]: entry for entry in map(entry_of, listing)}
    return [found[key] for key in sorted(found) if _is_inside(found[key].path, folder)]


def _is_inside(path: str, folder: str) -> bool:
    """False for links of an index page that lead elsewhere, or to the same page in another order."""
    name = path.removeprefix(f"{folder}/")
    elsewhere = r"[/?#]" if is_address(path) else "/"
    return name not in ("", path) and not is_hidden(name) and not re.search(elsewhere, name)


def _relative(path: str, root: str) -> str:
    return _unquoted(path.removeprefix(root.rstrip("/")).lstrip("/"), path)


def _unquoted(name: str, path: str) -> str:
    """The name as in its folder: web addresses write a space as %20."""
    return unquote(name) if is_address(path) else name


def _file(system: Any, entry: Entry, name: str, left_out: LeftOut, listed: bool = True) -> Iterator[Item]:
    if is_tar(name):
        yield from _shard(Remote(system, entry.path), name, left_out)
    else:
        yield from file_items(name, Remote(system, entry.path, listed, entry.size, entry.changed_ns), left_out)


def _shard(image: Remote, name: str, left_out: LeftOut, label: str | None = None) -> Iterator[Item]:
    try:
        file = _front_to_back(image.system, image.path)
    except Exception as error:
        yield Item(name, ImageError(reason(error)))
        return
    with file:
        yield from shards.stream(file, name, left_out, label)


def _front_to_back(system: Any, path: str) -> IO[bytes]:
    """Open a file to read it once."""
    if is_address(path):
        from vggfeat.sources import web

        return web.front_to_back(system, path)
    return io.BufferedReader(Owned(system.open(path, "rb")))


def _in_pieces(system: Any, path: str) -> IO[bytes]:
    """Open a file to read it at any place."""
    if not is_address(path):
        found: IO[bytes] = system.open(path, "rb")
        return found
    copy = TemporaryFile()  # noqa: SIM115  (the caller closes it)
    with _front_to_back(system, path) as file:
        left = MAX_LIST
        while piece := file.read(PIECE):
            if (left := left - len(piece)) < 0:
                raise ValueError(f"has more than {MAX_LIST:,} bytes; download it and name the file")
            copy.write(piece)
    return copy


def _matching(address: str, left_out: LeftOut) -> Iterator[Item]:
    base = patterns.fixed_part(address)
    found = False
    for text in patterns.expand(address):
        system, path = reach(text)
        with asked(text):
            listed = "*" in path  # braces alone do not ask the file system
            matches = _matches(system, path, left_out) if listed else [Entry(path)]
        root = reach(base)[1]
        for match in matches:
            found = True
            yield from _file(system, match, _relative(match.path, root), left_out, listed)
    if not found:
        raise DataError(f"{address}: matches no file; check the pattern")


def _matches(system: Any, pattern: str, left_out: LeftOut) -> list[Entry]:
    """Sorted, without folders, and without hidden files unless the pattern names them, as on a disk."""
    from fsspec.utils import glob_translate

    if "**" in pattern:  # fsspec would follow a folder that is in itself
        root, wanted = patterns.fixed_part(pattern), re.compile(glob_translate(pattern))
        below = _folders(system, root, _entries(system, root), left_out)
        found = [entry for _, entries in below if not isinstance(entries, Exception) for entry in entries]
        files = [entry for entry in found if not entry.is_folder and wanted.match(entry.path)]
    else:
        infos = system.glob(pattern, detail=True)
        files = [entry_of(info)._replace(path=str(path)) for path, info in infos.items() if info["type"] != "directory"]
    return sorted(file for file in files if "/." not in file.path or "/." in pattern)


def _listed(system: Any, path: str, address: str, left_out: LeftOut) -> Iterator[Item]:
    """The images of a list; its entries are addresses, or relative to its folder."""
    place = _without_query(path)
    with asked(address):
        in_pieces = place.lower().endswith(".parquet")
        file = (_in_pieces if in_pieces else _front_to_back)(system, path)
    with asked(address), file:
        for name, label in rows.rows(file, place, left_out, lambda _: False):  # to ask for each takes long
            if is_address(name):
                yield from entry(name, label, left_out, by_remote=True)
            else:
                image = Remote(system, f"{place.rsplit('/', 1)[0]}/{name.lstrip('/')}")
                if is_tar(name):
                    yield from _shard(image, name, left_out, label)
                else:
                    yield Item(name, image, label)
