"""The gate of all addresses: which are read, and who may name them.

An address begins with the name of a file system, in any case: s3://, https://, ... Those that lead back to this machine
or through other addresses (file, local, zip, reference, simplecache, git, ...) are refused; file:// that a user writes
is a path. What a list at an address names must be at an address, too, and not on a host to which fsspec would log in
with the user's keys. aiohttp follows redirects to http and https only. Addresses on this machine (http://localhost) are
read: people serve their own photos so, and what they get are descriptors, not the bytes.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vggfeat.errors import DataError

# The file systems that fsspec needs another package for.
PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    "oss": "ossfs",
    "oci": "ocifs",
    "hf": "huggingface_hub",
    "webdav": "webdav4",
}
WITH_KEYS = {"ftp", "sftp", "ssh", "smb"}
READ = {*PACKAGES, *WITH_KEYS, "hdfs", "webhdfs", "memory"}
WEB = {"http", "https"}


def is_address(text: str) -> bool:
    """Whether a text begins with the name of a file system, such as s3://."""
    return re.match(r"[a-z][a-z0-9+.-]{1,31}://", text, re.IGNORECASE) is not None


def without_file(text: str) -> str:
    """A path without the file:// before it."""
    return text[len("file://") :] if text[:7].lower() == "file://" else text


def reach(address: str, by_remote: bool = False) -> tuple[Any, str]:
    """The file system of an address, and the path in it. by_remote : a list at an address names this address.

    Raises DataError for an address that is not read, or whose file system is not installed.
    """
    import fsspec

    protocol, rest = address.split("://", 1)
    protocol = protocol.lower()
    if protocol not in READ or (by_remote and protocol in WITH_KEYS):
        where = " from a list at an address" if by_remote else ""
        raise DataError(f"{address}: {protocol}:// is not read{where}; use one of {', '.join(sorted(READ))}, or a path")
    with asked(address):
        try:
            kind = fsspec.get_filesystem_class(protocol)
            if protocol in WEB:
                from vggfeat.sources.web import Web as kind
        except ImportError as error:
            package = PACKAGES.get(protocol)
            need = f"needs {package}: pip install {package}" if package else reason(error)
            raise DataError(f"{address}: {need}") from error
        # not fsspec.url_to_fs, which reads a::b as two addresses
        address = f"{protocol}://{rest}"
        system = kind(use_listings_cache=False, **kind._get_kwargs_from_urls(address))
        return system, str(kind._strip_protocol(address))


@contextmanager
def asked(address: str) -> Iterator[None]:
    """Turn what a file system raises into a DataError that begins with the address."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{address}: cannot be read ({reason(error)})") from error


def reason(error: Exception) -> str:
    """What a file system says, in one line."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, OSError):  # fsspec raises it for a silent server, too
        error = cause
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, FileNotFoundError):  # its text is often only the path
        return f"No such file ({text})" if text else "No such file"
    return text or type(error).__name__
