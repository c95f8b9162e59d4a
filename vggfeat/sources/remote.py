"""Images at addresses: s3://, gs://, hdfs://, https://, memory://, and every other file system of fsspec.

A path in an object store is a key, which may contain any character. A path on the web is an address, with `?` before
the query. In both, * and braces are patterns.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, ClassVar
from urllib.parse import unquote

from vggfeat._util.left_out import LeftOut
from vggfeat.errors import DataError, ImageError
from vggfeat.formats import STORE, has_image_suffix, is_hidden, is_tar
from vggfeat.sources import patterns, rows, shards
from vggfeat.sources.entries import Entry, entry_of
from vggfeat.sources.item import MAX_BYTES, Item, Unanswered
from vggfeat.sources.left_out import file_items, refusal

# The usual file systems that fsspec needs another package for.
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
}

SILENT_SECONDS = 300  # to wait for a server in the middle of a file
BUFFER = 2**20


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

    def fetch(self) -> bytes:
        """Raises ImageError."""
        data = bytearray()
        try:
            with self.system.open(self.path, "rb") as file:
                while len(data) <= MAX_BYTES and (chunk := file.read(MAX_BYTES + 1 - len(data))):
                    data += chunk
        except Exception as error:  # each file system raises errors of its own types
            kind = Unanswered if self.listed and not isinstance(error, FileNotFoundError) else ImageError
            raise kind(f"{self}: {_reason(error)}") from error
        if len(data) > MAX_BYTES:
            raise ImageError(f"{self}: has more than {MAX_BYTES:,} bytes")
        return bytes(data)

    def stamp(self) -> tuple[int | None, int | None]:
        """Size in bytes, and time of the last change in nanoseconds since 1970, if the listing says them."""
        return self.size, self.changed_ns


def is_address(text: str) -> bool:
    """Whether a text begins with a protocol, such as s3://."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) is not None


def items(address: str, left_out: LeftOut) -> Iterator[Item]:
    """The images of a folder, list, tar, pattern or image at an address. Raises DataError."""
    if "*" in address or "{" in address:
        return _matching(address, left_out)
    system, path = _reach(address)
    name = _unquoted(PurePosixPath(_without_query(path)).name, path)
    if rows.is_list(name):
        return _listed(system, path, address, left_out)
    if is_tar(name):
        return _shard(Remote(system, path), name, left_out)
    if has_image_suffix(name):
        return iter([Item(name, Remote(system, path))])
    with _asked(address):
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


def entry(address: str, label: str | None, left_out: LeftOut) -> Iterator[Item]:
    """The images of one address in a list: one image, or those of a tar."""
    try:
        image = Remote(*_reach(address))
    except DataError as error:
        yield Item(address, ImageError(str(error).removeprefix(f"{address}: ")), label)
        return
    if is_tar(_without_query(image.path)):
        yield from _shard(image, address, left_out, label)
    else:
        yield Item(address, image, label)


def _reach(address: str) -> tuple[Any, str]:
    import fsspec

    protocol, rest = address.split("://", 1)
    address = f"{protocol.lower()}://{rest}"
    with _asked(address):
        try:
            system, path = fsspec.url_to_fs(address, use_listings_cache=False)
        except ImportError as error:
            package = PACKAGES.get(protocol.lower())
            need = f"needs {package}: pip install {package}" if package else _reason(error)
            raise DataError(f"{address}: {need}") from error
        return system, str(path)


@contextmanager
def _asked(address: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{address}: cannot be read ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, OSError):  # fsspec says so of a silent server, too
        error = cause
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, FileNotFoundError):  # whose text is often only the path
        return f"No such file ({text})" if text else "No such file"
    return text or type(error).__name__


def _without_query(path: str) -> str:
    return path.split("?")[0] if is_address(path) else path


def _walk(system: Any, root: str, entries: list[Entry], left_out: LeftOut) -> Iterator[Item]:
    """As folders.walk: sorted, files before folders, without hidden ones and stores. entries: those of the root."""
    root = root.rstrip("/")
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = entries if folder == root else _entries(system, folder)
        except Exception as error:
            yield Item(_relative(folder, root), ImageError(_reason(error)))
            continue
        for entry in entries:
            if not entry.is_folder:
                yield from _file(system, entry, _relative(entry.path, root), left_out)
        folders = [entry.path for entry in entries if entry.is_folder and not entry.path.endswith(STORE)]
        waiting += reversed(folders)


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
        yield Item(name, ImageError(_reason(error)))
        return
    with file:
        yield from shards.stream(file, name, left_out, label)


def _front_to_back(system: Any, path: str) -> IO[bytes]:
    """Open a file to read it once; from the web in one request, because not every server sends parts of a file."""
    if not is_address(path):
        found: IO[bytes] = system.open(path, "rb")
        return found
    from aiohttp import ClientTimeout

    patience = ClientTimeout(total=None, sock_read=SILENT_SECONDS)
    client = {"client_kwargs": {**system.client_kwargs, "timeout": patience}}  # added to the user's configuration
    patient = type(system)(**(system.storage_options | client))
    return io.BufferedReader(_Raw(patient.open(path, "rb", block_size=0)), BUFFER)


class _Raw(io.RawIOBase):
    """Gives an object that has only `read` the interface that io.BufferedReader needs."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _matching(address: str, left_out: LeftOut) -> Iterator[Item]:
    base = patterns.fixed_part(address)
    found = False
    for text in patterns.expand(address):
        system, path = _reach(text)
        with _asked(text):
            listed = "*" in path  # braces alone do not ask the file system
            matches = _matches(system, path) if listed else [Entry(path)]
        root = _reach(base)[1]
        for match in matches:
            found = True
            yield from _file(system, match, _relative(match.path, root), left_out, listed)
    if not found:
        raise DataError(f"{address}: matches no file; check the pattern")


def _matches(system: Any, pattern: str) -> list[Entry]:
    """Sorted, without folders, and without hidden files unless the pattern names them, as on a disk."""
    found = system.glob(pattern, detail=True)
    files = [entry_of(info)._replace(path=str(path)) for path, info in found.items() if info["type"] != "directory"]
    return sorted(file for file in files if "/." not in file.path or "/." in pattern)


def _listed(system: Any, path: str, address: str, left_out: LeftOut) -> Iterator[Item]:
    """The images of a list; its entries are addresses, or relative to its folder."""
    place = _without_query(path)
    with _asked(address):
        in_pieces = place.lower().endswith(".parquet")
        file: IO[bytes] = system.open(path, "rb") if in_pieces else _front_to_back(system, path)
    with _asked(address), file:
        for name, label in rows.rows(file, place, left_out, lambda _: False):  # to ask for each would take time
            if is_address(name):
                yield from entry(name, label, left_out)
            else:
                image = Remote(system, f"{place.rsplit('/', 1)[0]}/{name.lstrip('/')}")
                if is_tar(name):
                    yield from _shard(image, name, left_out, label)
                else:
                    yield Item(name, image, label)
