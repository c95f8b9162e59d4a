"""Downloads: resumed and checked, whole or not at all, by one of several processes at once."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from vggfeat._util.files import lock
from vggfeat._util.progress import progress as progress_bar
from vggfeat.errors import FetchError

ATTEMPTS = 4  # for each address, as long as each attempt receives some bytes
CHUNK = 1 << 16  # bytes


class _Failed(Exception):
    """Why an address did not give the file."""


class _Interrupted(_Failed):
    """Another attempt at the same address may succeed."""


def cache_dir() -> Path:
    """The folder for downloads: $VGGFEAT_CACHE, or vggfeat in $XDG_CACHE_HOME or ~/.cache. Raises FetchError."""
    if named := os.environ.get("VGGFEAT_CACHE"):
        return Path(named)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vggfeat"
    except RuntimeError:
        raise FetchError("no home folder for the cache; name a folder in $VGGFEAT_CACHE") from None


def download(
    urls: str | Sequence[str],
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    sha256_prefix: str | None = None,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Download a file to `path`, unless it exists; return `path`.

    urls : addresses of the same file, tried in order; the mirrors in $VGGFEAT_MIRROR are tried first.
    sha256, md5, sha256_prefix : checksums, hexadecimal. A file with another checksum is kept as `path` + ".bad".
    timeout : seconds without a byte after which an attempt ends.

    The bytes are kept in `path` + ".part" until the file is whole. If a checksum is given, a later call resumes from
    there; without one it could not tell whether the two pieces belong together. A second process waits for the first.

    Raises FetchError if no address gives the file (it lists each with its reason) or `path` cannot be written.
    """
    path, sums = Path(path), _sums(sha256, md5, sha256_prefix)
    if not path.exists():
        with locked(path):
            if not path.exists():  # another process may have been faster
                addresses = [urls] if isinstance(urls, str) else list(urls)
                _from_any([*_mirrors(addresses), *addresses], path, sums, progress, timeout)
    return path


def mismatch(
    path: Path, *, sha256: str | None = None, md5: str | None = None, sha256_prefix: str | None = None
) -> str | None:
    """How the checksum of a file differs, with both values; None if it is right."""
    return _mismatch(path, _sums(sha256, md5, sha256_prefix))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `path` + ".lock"; wait for another process that holds it.

    Makes the folder. Raises FetchError for an OSError of the lock or of the block.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(_beside(path, ".lock"), wait=f"waiting for another process that fetches {path.name}"):
            yield
    except OSError as error:
        raise FetchError(
            f"{path}: cannot be written ({error.strerror or error}); make it writable, "
            "or name another folder (for weights: $VGGFEAT_CACHE)"
        ) from None


def _sums(sha256: str | None, md5: str | None, sha256_prefix: str | None) -> list[tuple[str, str]]:
    given = [("sha256", sha256), ("md5", md5), ("sha256", sha256_prefix)]
    return [(algorithm, digits.lower()) for algorithm, digits in given if digits]


def _mismatch(path: Path, sums: list[tuple[str, str]]) -> str | None:
    for algorithm, wanted in sums:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, partial(hashlib.new, algorithm, usedforsecurity=False))
        if not found.hexdigest().startswith(wanted):
            return f"its {algorithm} is {found.hexdigest()[: max(len(wanted), 32)]}, not {wanted}"
    return None


def _mirrors(addresses: list[str]) -> list[str]:
    name = PurePosixPath(urlsplit(addresses[0]).path).name
    bases = os.environ.get("VGGFEAT_MIRROR", "").split(",")
    return [f"{base.strip().rstrip('/')}/{name}" for base in bases if base.strip()]


def _from_any(addresses: list[str], path: Path, sums: list[tuple[str, str]], shown: bool, timeout: float) -> None:
    part, reasons = _beside(path, ".part"), []
    for url in addresses:
        if not sums:
            part.unlink(missing_ok=True)
        try:
            _persist(url, part, shown, timeout)
            if complaint := _mismatch(part, sums):
                bad = part.replace(_beside(path, ".bad"))
                raise _Failed(f"{complaint} (kept as {bad})")
            part.replace(path)
            return
        except _Failed as failure:
            reasons.append(f"{url}: {failure}")
    raise FetchError(f"{path.name}: cannot be fetched ({'; '.join(reasons)}); download it by hand and put it at {path}")


def _persist(url: str, part: Path, shown: bool, timeout: float) -> None:
    for _ in range(ATTEMPTS - 1):
        with suppress(_Interrupted):
            return _receive(url, part, shown, timeout)
    return _receive(url, part, shown, timeout)


def _receive(url: str, part: Path, shown: bool, timeout: float) -> None:
    """Bring `part` to its full length; resume it if the server can."""
    have = part.stat().st_size if part.exists() else 0
    response = _request(url, have, timeout)
    if response is None:
        return
    with response:
        start, total = _extent(response)
        if start not in (0, have):
            part.unlink()
            raise _Interrupted(f"the server sent bytes from {start}, not from {have}")
        bar = progress_bar(total, part.stem, "B", initial=start, unit_scale=True, disable=not shown)
        with bar, part.open("ab" if start else "wb") as file:
            while chunk := _read(response, start < file.tell()):
                file.write(chunk)
                bar.update(len(chunk))
            file.flush()
            os.fsync(file.fileno())
            if total is not None and file.tell() != total:
                raise _Interrupted(f"the connection ended after {file.tell()} of {total} bytes")


def _request(url: str, have: int, timeout: float) -> HTTPResponse | None:
    """The server's answer; None if it says that the file has no more than the `have` bytes."""
    headers = {"User-Agent": "vggfeat"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise _Failed("not an http address")
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=timeout)
        return response
    except HTTPError as error:
        with error:
            if error.code != 416 or not have:
                raise _Failed(f"the server answers {error.code} {error.reason}") from None
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return None
        return _request(url, 0, timeout)
    except URLError as error:
        raise _Failed(str(error.reason)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise _Failed(str(error) or type(error).__name__) from None


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """The place in the file of the answer's first byte (-1: unknown), and the file's length if the server gives it."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return (int(found[1]), int(found[2])) if found else (-1, None)
    if response.status != 200:
        raise _Failed(f"the server answers {response.status}")
    return 0, response.length


def _read(response: HTTPResponse, begun: bool) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        # Not an OSError, which `locked` takes for an error of the disk.
        raise (_Interrupted if begun else _Failed)(str(error) or type(error).__name__) from None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
