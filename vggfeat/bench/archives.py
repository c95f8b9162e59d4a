"""The official archives of a data set: fetched, verified, and unpacked so that nothing leaves the folder."""

import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from zlib import error as ZlibError

from vggfeat._util import fetch
from vggfeat._util.printable import reason_of
from vggfeat._util.progress import progress
from vggfeat.data.base import Archive, Origin, data_folder
from vggfeat.data.readers import ORIGINS
from vggfeat.errors import DataError, UsageError

MEMBERS = 200_000  # of an archive, at most
# Photos hardly shrink in an archive: one that grows more than this is a decompression bomb.
GROWTH = 4
SLACK = 2**20  # bytes, for archives of a few files
# What the readers raise for damaged archives. Headers that lead to headers end in a RecursionError.
DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, KeyError, EOFError, ZlibError, ValueError, OverflowError, RecursionError
)  # fmt: skip


def download(name: str, root: str | Path | None = None, *, origins: Mapping[str, Origin] = ORIGINS) -> Path:
    """Fetch the public archives that a data set lacks, and unpack them in its folder.

    What exists already is left alone. The archives stay beside the data and may be deleted. A call that was killed
    continues where it stopped.

    Parameters
    ----------
    name : str
        Name of the benchmark.
    root : str or path, optional
        Folder of the data set. Default: $VGGFEAT_DATA/<name>.
    origins : mapping of str to Origin
        Name of the benchmark -> archives of its data set.

    Returns
    -------
    Path
        The folder of the data set.

    Raises
    ------
    UsageError
        If the data set has no public archives.
    FetchError
        If a server or the disk fails.
    DataError
        If an archive has a wrong checksum, is damaged, or has members outside its folder.
    """
    if name not in origins:
        raise UsageError(f"{name} has nothing to download")
    origin = origins[name]
    top = data_folder(origin.name, root)
    with fetch.locked(top / ".download"):
        for archive in origin.archives:
            _get(archive, origin, top)
    return top


def _get(archive: Archive, origin: Origin, top: Path) -> None:
    file = top / fetch.file_name(archive.url)
    unfinished = top / f".{file.name}.unpacking"
    if not unfinished.exists() and any((top / place / archive.sign).exists() for place in (".", *origin.places)):
        return
    fetch.download(archive.url, file, md5=archive.md5)
    if complaint := fetch.mismatch(file, md5=archive.md5):
        raise DataError(f"{file}: {complaint}; delete it and download it again")
    unfinished.touch()
    unpack(file, top, archive.inner)
    unfinished.unlink()


def unpack(file: Path, folder: Path, inner: str | None = None, *, members: int = MEMBERS) -> None:
    """Unpack the files and folders of a tar (or of the tar `inner` in a zip) below `folder`.

    Links and devices are passed over: none of the data sets needs one, and a link could lead out of the folder.
    Raises DataError for a damaged archive, a member with an absolute path or with `..`, a member that an existing link
    would lead out of the folder, and an archive of more than `members` members or of too many bytes.
    """
    if not hasattr(tarfile, "data_filter"):
        raise DataError(f"{file}: Python before 3.11.4 cannot unpack it safely; take a later one, or unpack it by hand")
    limit = GROWTH * file.stat().st_size + SLACK
    unpacked = 0
    with _tar(file, inner) as archive, progress(None, f"unpacking {file.name}", "B", unit_scale=True) as bar:
        for number, member in enumerate(archive, start=1):
            unpacked += max(member.size, 0)
            if number > members or unpacked > limit:
                raise DataError(f"{file}: unpacks to more than {members:,} files or {limit:,} bytes; download it again")
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts or "\\" in member.name:
                raise DataError(f"{file}: its member {member.name!r} leads out of the folder; download it again")
            if member.isreg() or member.isdir():
                archive.extract(member, folder, set_attrs=False, filter="data")
                bar.update(member.size)


@contextmanager
def _tar(file: Path, inner: str | None) -> Iterator[tarfile.TarFile]:
    """The tar, to be read from front to back. Raises DataError if it is damaged."""
    try:
        if inner is None:
            with tarfile.open(file, "r|*") as archive:
                yield archive
        else:
            with zipfile.ZipFile(file) as outer, outer.open(inner) as stream, tarfile.open(None, "r|*", stream) as tar:
                yield tar
    except tarfile.FilterError as error:
        raise DataError(f"{file}: a member leads out of the folder ({reason_of(error)}); download it again") from error
    except DAMAGE as error:
        raise DataError(f"{file}: cannot be unpacked ({reason_of(error)}); delete it and download it again") from error
