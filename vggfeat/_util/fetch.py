"""Downloads: resumed and checked, whole or not at all, by one of several processes at once."""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit

from vggfeat._util.files import lock, no_link
from vggfeat._util.printable import hidden, reason_of
from vggfeat._util.progress import progress as progress_bar
from vggfeat._util.web import Failed, Interrupted, Watch, request, why_failed, words
from vggfeat.errors import FetchError

ATTEMPTS = 4  # for each address, as long as each attempt receives some bytes
CHUNK = 1 << 16  # bytes
MAX_BYTES = 4 * 2**30  # of a file, at most
SLOWEST = 1 << 14  # bytes in `patience` seconds, at least


class _Bounds(NamedTuple):
    """How much may come, how slowly, and whether a bar is shown."""

    max_bytes: int
    timeout: float
    patience: float
    shown: bool


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
    patience: float = 60.0,
    max_bytes: int = MAX_BYTES,
) -> Path:
    """Download a file to `path`, unless it exists; return `path`.

    urls : addresses of the same file, http or https, tried in order; the mirrors in $VGGFEAT_MIRROR are tried first.
        They may hold user and password, which no message shows.
    sha256, md5, sha256_prefix : checksums, hexadecimal. A file with another checksum is kept as `path` + ".bad".
    timeout : seconds without a byte after which an attempt ends.
    patience : seconds after which an attempt ends if fewer than SLOWEST bytes came in them.
    max_bytes : an address that sends more is given up, whatever size it declared.

    The bytes are kept in `path` + ".part" until the file is whole. If a checksum is given, a later call resumes from
    there; without one it could not tell whether the two pieces belong together. A second process waits for the first.
    A link or device in the place of `path` + ".part" is removed, not followed.

    Raises FetchError if no address gives the file (it lists each with its reason) or `path` cannot be written.
    """
    path, sums = Path(path), _sums(sha256, md5, sha256_prefix)
    if not path.exists():
        with locked(path):
            if not path.exists():  # another process may have been faster
                addresses = [urls] if isinstance(urls, str) else list(urls)
                bounds = _Bounds(max_bytes, timeout, patience, progress)
                _from_any([*_mirrors(addresses), *addresses], path, sums, bounds)
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
            f"{path}: cannot be written ({reason_of(error)}); make it writable, "
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


def file_name(url: str) -> str:
    """The name of the file at an address. Raises FetchError if it is not one plain name."""
    try:
        name = PurePosixPath(urlsplit(url).path).name
    except ValueError:
        name = ""
    if name in ("", "..") or "\\" in name or "%2f" in name.lower() or not name.isprintable():
        raise FetchError(f"{hidden(url)}: has no usable file name at its end; give the address of a file")
    return name


def _mirrors(addresses: list[str]) -> list[str]:
    bases = [base.strip() for base in os.environ.get("VGGFEAT_MIRROR", "").split(",") if base.strip()]
    if not bases:
        return []
    name = file_name(addresses[0])
    return [re.sub(r"/*(?=[?#]|$)", f"/{name}", base, count=1) for base in bases]


def _from_any(addresses: list[str], path: Path, sums: list[tuple[str, str]], bounds: _Bounds) -> None:
    part, reasons = _beside(path, ".part"), []
    for url in addresses:
        try:
            _from_one(url, part, sums, bounds)
            part.replace(path)
            return
        except Failed as failure:
            reasons.append(f"{hidden(url)}: {failure}")
    raise FetchError(f"{path.name}: cannot be fetched ({'; '.join(reasons)}); download it by hand and put it at {path}")


def _from_one(url: str, part: Path, sums: list[tuple[str, str]], bounds: _Bounds) -> None:
    if not sums:
        part.unlink(missing_ok=True)
    continued = _size(part) > 0
    _persist(url, part, bounds)
    complaint = _mismatch(part, sums)
    if complaint and continued:  # the bytes that were there may be the wrong ones
        part.unlink()
        _persist(url, part, bounds)
        complaint = _mismatch(part, sums)
    if complaint:
        raise Failed(f"{complaint} (kept as {part.replace(part.with_suffix('.bad'))})")


def _persist(url: str, part: Path, bounds: _Bounds) -> None:
    for _ in range(ATTEMPTS - 1):
        with suppress(Interrupted):
            return _receive(url, part, bounds)
    return _receive(url, part, bounds)


def _receive(url: str, part: Path, bounds: _Bounds) -> None:
    """Bring `part` to its full length; resume it if the server can."""
    watch, have = Watch(bounds.patience, SLOWEST), _size(part)
    with watch.watching():
        response = _request(url, have if have <= bounds.max_bytes else 0, bounds.timeout, watch)
        if response is None:
            return
        with response:
            start, total = _extent(response)
            if start not in (0, have):
                part.unlink(missing_ok=True)
                raise Interrupted(f"the server sent bytes from {start}, not from {have}")
            if total is not None and total > bounds.max_bytes:
                raise Failed(f"it has {total:,} bytes, more than {bounds.max_bytes:,}")
            bar = progress_bar(total, part.stem, "B", initial=start, unit_scale=True, disable=not bounds.shown)
            with bar, open(part, "ab" if start else "wb", opener=no_link) as file:
                while chunk := _read(response, watch):
                    if file.tell() + len(chunk) > bounds.max_bytes:
                        file.truncate(0)
                        raise Failed(f"it has more than {bounds.max_bytes:,} bytes")
                    file.write(chunk)
                    bar.update(len(chunk))
                file.flush()
                os.fsync(file.fileno())
                _check_end(file.tell(), total, watch)


def _check_end(found: int, total: int | None, watch: Watch) -> None:
    """Raise Interrupted if the file has not all its bytes."""
    if watch.too_slow:
        raise Interrupted(f"the server is too slow; {found} bytes were received")
    if total is not None and found != total:
        raise Interrupted(f"the connection ended after {found} of {total} bytes")


def _size(part: Path) -> int:
    """The bytes that are there. A link, a pipe, and a file that has a second name are removed."""
    with suppress(FileNotFoundError):
        found = part.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            return found.st_size
        part.unlink()
    return 0


def _request(url: str, have: int, timeout: float, watch: Watch) -> HTTPResponse | None:
    """The server's answer; None if it says that the file has no more than the `have` bytes."""
    headers = {"User-Agent": "vggfeat"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        return request(url, headers, timeout, watch)
    except HTTPError as error:
        error.close()
        if not have:
            raise Failed(f"the server answers 416 {words(error.reason)}") from None
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return None
    return _request(url, 0, timeout, watch)


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """The place in the file of the answer's first byte (-1: unknown), and the file's length if the server gives it."""
    if response.status == 206:
        content = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", content)
        return (int(found[1]), None if found[2] == "*" else int(found[2])) if found else (-1, None)
    if response.status != 200:
        raise Failed(f"the server answers {response.status}")
    return 0, response.length


def _read(response: HTTPResponse, watch: Watch) -> bytes:
    try:
        chunk = response.read1(CHUNK)
    except (OSError, HTTPException, ValueError) as error:
        # Not an OSError, which `locked` takes for an error of the disk.
        raise (Interrupted if watch.received else Failed)(why_failed(watch, error)) from None
    watch.received += len(chunk)
    return chunk


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
