"""Single files at addresses: s3://, gs://, hdfs://, https://, memory://, any for which fsspec has a file system.

The paths of object stores are keys, which may contain any character; those of the web are addresses, in which `?`
begins a query.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, ClassVar
from urllib.parse import unquote

from vggfeat.errors import DataError, ImageError
from vggfeat.sources import shards
from vggfeat.sources.item import MAX_BYTES, Item, Unanswered

# Packages with the usual ones of the file systems that fsspec does not contain.
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
}

SILENT_SECONDS = 300  # without a byte from a server in the middle of a file
BUFFER = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of an fsspec file system. listed : by that file system, so that it must exist."""

    system: Any
    path: str
    listed: bool = False
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
        except Exception as error:  # each file system has its own errors
            kind = Unanswered if self.listed and not isinstance(error, FileNotFoundError) else ImageError
            raise kind(f"{self}: {reason_of(error)}") from error
        if len(data) > MAX_BYTES:
            raise ImageError(f"{self}: has more than {MAX_BYTES:,} bytes")
        return bytes(data)


def is_address(text: str) -> bool:
    """Whether a text begins with a protocol."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE) is not None


def without_query(path: str) -> str:
    """A path without the query that an address of the web may have."""
    return path.split("?")[0] if is_address(path) else path


def unquoted(name: str, path: str) -> str:
    """The name of a file as its folder has it: in the path of a web address a space is %20."""
    return unquote(name) if is_address(path) else name


def reach(address: str) -> RemoteFile:
    """The file at an address, which need not exist. Raises DataError if there is no such file system."""
    import fsspec

    protocol, rest = address.split("://", 1)
    address = f"{protocol.lower()}://{rest}"
    with asking(address):
        try:
            system, path = fsspec.url_to_fs(address, use_listings_cache=False)
        except ImportError as error:
            package = PACKAGES.get(protocol.lower())
            need = f"needs {package}: pip install {package}" if package else reason_of(error)
            raise DataError(f"{address}: {need}") from error
        return RemoteFile(system, str(path))


@contextmanager
def asking(address: str) -> Iterator[None]:
    """Turn any error of a file system into a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{address}: cannot be read ({reason_of(error)})") from error


def reason_of(error: Exception) -> str:
    """One line."""
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, FileNotFoundError):  # most file systems give only the path
        return f"No such file ({text})" if text else "No such file"
    return text or type(error).__name__


def items(file: RemoteFile, name: str, label: str | None = None) -> Iterator[Item]:
    """The item of a file; of a tar file the items within it, which have labels of their own."""
    if not shards.is_shard(without_query(file.path)):
        yield Item(name, file, label)
        return
    try:
        opened = open_once(file)
    except Exception as error:
        yield Item(name, ImageError(reason_of(error)))
        return
    with opened:
        yield from shards.stream(opened, name)


def named(address: str, label: str | None) -> Iterator[Item]:
    """The items of an address in a list. An address that cannot be reached is a failure."""
    try:
        file = reach(address)
    except DataError as error:
        yield Item(address, ImageError(str(error).removeprefix(f"{address}: ")), label)
        return
    yield from items(file, address, label)


def open_once(file: RemoteFile) -> IO[bytes]:
    """Open a file to be read once from front to back, however long that takes.

    A file of the web comes in one request, since not every server sends pieces.
    """
    if not is_address(file.path):
        found: IO[bytes] = file.system.open(file.path, "rb")
        return found
    from aiohttp import ClientTimeout

    patience = ClientTimeout(total=None, sock_read=SILENT_SECONDS)
    client = {"client_kwargs": {**file.system.client_kwargs, "timeout": patience}}  # added to what the user configured
    patient = type(file.system)(**(file.system.storage_options | client))
    return io.BufferedReader(_Raw(patient.open(file.path, "rb", block_size=0)), BUFFER)


class _Raw(io.RawIOBase):
    """A file that has only `read`, in the form that Python's buffered files need."""

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
