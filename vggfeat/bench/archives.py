"""The official archives of a data set: fetched, verified, and unpacked so that nothing leaves the folder."""

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from zlib import error as ZlibError

from vggfeat._util import fetch
from vggfeat._util.progress import progress
from vggfeat.data.base import Archive, Origin, data_folder
from vggfeat.data.readers import ORIGINS
from vggfeat.errors import DataError, UsageError

MEMBERS = 200_000
# Photos hardly shrink in an archive: one that grows more than this is a trap.
GROWTH = 4
SLACK = 2**20  # bytes, for archives of a few files


def download(name: str, root: str | Path | None = None) -> Path:
    """Fetch the public archives that the data set of a benchmark lacks and unpack them in its root; returns the root.

    root : None for $VGGFEAT_DATA/<name>. What is there already is left alone; the archives stay beside the data and
    may be deleted. A killed call goes on where it stopped.

    Raises UsageError for a data set that can't be fetched, FetchError where a server or the disk fails, DataError
    for an archive with another checksum or with members that lead out of the folder.
    """
    if name not in ORIGINS:
        raise UsageError(f"{name} has nothing to download")
    origin = ORIGINS[name]
    top = data_folder(origin.name, root)
    with fetch.locked(top / ".download"):
        for archive in origin.archives:
            _get(archive, origin, top)
    return top


def _get(archive: Archive, origin: Origin, top: Path) -> None:
    file = top / PurePosixPath(archive.url).name
    unfinished = top / f".{file.name}.unpacking"
    if not unfinished.exists() and any((top / place / archive.sign).exists() for place in (".", *origin.places)):
        return
    fetch.download(archive.url, file, md5=archive.md5)
    if complaint := fetch.mismatch(file, md5=archive.md5):
        raise DataError(f"{file}: {complaint}; delete it and download it again")
    unfinished.touch()
    unpack(file, top, archive.inner)
    unfinished.unlink()


def unpack(file: Path, folder: Path, inner: str | None = None) -> None:
    """Unpack the files and folders of a tar (or of the tar `inner` in a zip) below `folder`.

    Links and devices are passed over: none of the data sets needs one, and a link could lead out. Raises DataError
    for a damaged archive, a member with an absolute path or with `..`, one that an existing link would lead out of
    the folder, and an archive that unpacks to more than it can honestly hold.
    """
    limit = GROWTH * file.stat().st_size + SLACK
    unpacked = 0
    with _tar(file, inner) as archive, progress(None, f"unpacking {file.name}", "B", unit_scale=True) as bar:
        for number, member in enumerate(archive, start=1):
            unpacked += member.size
            if number > MEMBERS or unpacked > limit:
                raise DataError(f"{file}: unpacks to more than {MEMBERS:,} files or {limit:,} bytes; get it anew")
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or "\\" in member.name:
                raise DataError(f"{file}: its member {member.name!r} leads out of the folder; get it anew")
            if member.isreg() or member.isdir():
                archive.extract(member, folder, set_attrs=False, filter="data")
                bar.update(member.size)


@contextmanager
def _tar(file: Path, inner: str | None) -> Iterator[tarfile.TarFile]:
    """The tar, to be read from front to back; what is wrong with it becomes a DataError."""
    try:
        if inner is None:
            with tarfile.open(file, "r|*") as archive:
                yield archive
        else:
            with zipfile.ZipFile(file) as outer, outer.open(inner) as stream, tarfile.open(None, "r|*", stream) as tar:
                yield tar
    except tarfile.FilterError as error:
        raise DataError(f"{file}: a member leads out of the folder ({error}); get it anew") from error
    except (tarfile.TarError, zipfile.BadZipFile, KeyError, EOFError, ZlibError, ValueError) as error:
        raise DataError(f"{file}: can't be unpacked ({error}); delete it and download it again") from error
