"""Images at addresses: s3://, gs://, hdfs://, https://, memory://, whatever fsspec has a file system for."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from vggfeat.errors import DataError, ImageError
from vggfeat.sources import lists, patterns, shards
from vggfeat.sources.item import MAX_BYTES, Item


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of an fsspec file system."""

    system: Any
    path: str

    def __str__(self) -> str:
        return str(self.system.unstrip_protocol(self.path))

    def fetch(self) -> bytes:
        """Raises ImageError."""
        data = bytearray()
        try:
            with self.system.open(self.path, "rb") as file:
                while len(data) <= MAX_BYTES and (chunk := file.read(MAX_BYTES + 1 - len(data))):
                    data += chunk
        except Exception as error:  # each file system has errors of its own
            raise ImageError(f"{self}: {_reason(error)}") from error
        if len(data) > MAX_BYTES:
            raise ImageError(f"{self}: has more than {MAX_BYTES:,} bytes")
        return bytes(data)


def is_address(text: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) is not None


def items(address: str) -> Iterator[Item]:
    """The images below an address, of a list there, of a tar. Raises DataError."""
    if "*" in address or "{" in address:
        return _matching(address)
    system, path = _reach(address)
    name = PurePosixPath(path.split("?")[0]).name
    if lists.is_list(name):
        return _listed(system, path, address)
    if shards.is_shard(name):
        return _shard(Remote(system, path), name)
    if PurePosixPath(name).suffix.lower() in shards.IMAGES:
        return iter([Item(name, Remote(system, path))])
    with _asked(address):
        if system.isdir(path):
            return _walk(system, path)
        if system.exists(path):
            return iter([Item(name, Remote(system, path))])
    raise DataError(f"{address}: there is no such folder, list or image")


def entry(address: str, label: str | None) -> Iterator[Item]:
    """What an address in a list stands for: an image, or those of a tar."""
    try:
        image = Remote(*_reach(address))
    except DataError as error:
        yield Item(address, ImageError(str(error)), label)
        return
    if shards.is_shard(address.split("?")[0]):
        yield from _shard(image, address)
    else:
        yield Item(address, image, label)


def _reach(address: str) -> tuple[Any, str]:
    import fsspec

    with _asked(address):
        system, path = fsspec.url_to_fs(address, use_listings_cache=False)
        return system, str(path)


@contextmanager
def _asked(address: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{address}: can't be read ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _walk(system: Any, root: str) -> Iterator[Item]:
    """As folders.walk: sorted, files before folders, hidden ones and stores left out."""
    waiting = [root.rstrip("/")]
    while waiting:
        folder = waiting.pop()
        try:
            entries = {entry["name"].rstrip("/"): entry["type"] for entry in system.ls(folder + "/", detail=True)}
        except Exception as error:
            if folder == root.rstrip("/"):
                raise DataError(f"{Remote(system, root)}: can't be listed ({_reason(error)})") from error
            yield Item(_relative(folder, root), ImageError(_reason(error)))
            continue
        inside = sorted(path for path in entries if _is_inside(path, folder))
        for path in inside:
            if entries[path] != "directory":
                yield from _file(system, path, _relative(path, root))
        waiting += [path for path in reversed(inside) if entries[path] == "directory" and not path.endswith(".vggfeat")]


def _is_inside(path: str, folder: str) -> bool:
    """A page's list of its files may also link elsewhere, or to itself in another order."""
    name = path.removeprefix(f"{folder}/")
    return name != path and not name.startswith(".") and not re.search(r"[/?#]", name)


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root.rstrip("/")).lstrip("/")


def _file(system: Any, path: str, name: str) -> Iterator[Item]:
    if shards.is_shard(name):
        yield from _shard(Remote(system, path), name)
    else:
        yield Item(name, Remote(system, path), name.split("/")[0] if "/" in name else None)


def _shard(image: Remote, name: str) -> Iterator[Item]:
    try:
        file = image.system.open(image.path, "rb")
    except Exception as error:
        yield Item(name, ImageError(_reason(error)))
        return
    with file:
        yield from shards.stream(file, name)


def _matching(address: str) -> Iterator[Item]:
    base = patterns.fixed_part(address)
    found = False
    for text in patterns.expand(address):
        system, path = _reach(text)
        with _asked(text):
            matches = sorted(system.glob(path)) if "*" in path else [path]
        root = _reach(base)[1]
        for match in map(str, matches):
            found = True
            yield from _file(system, match, _relative(match, root))
    if not found:
        raise DataError(f"{address}: matches no file")


def _listed(system: Any, path: str, address: str) -> Iterator[Item]:
    """The images of a list; its entries are addresses, or relative to its folder."""
    with _asked(address), system.open(path, "rb") as opened:
        file: IO[bytes] = opened
        for name, label in lists.rows(file, path.split("?")[0]):
            if is_address(name):
                yield from entry(name, label)
            else:
                image = Remote(system, f"{path.rsplit('/', 1)[0]}/{name.lstrip('/')}")
                if shards.is_shard(name):
                    yield from _shard(image, name)
                else:
                    yield Item(name, image, label)
