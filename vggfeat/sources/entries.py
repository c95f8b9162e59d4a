"""The files and folders that a file system of fsspec lists."""

from datetime import datetime
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A file or folder. size : bytes. changed_ns : time of the last change, in nanoseconds since 1970."""

    path: str
    is_folder: bool = False
    size: int | None = None
    changed_ns: int | None = None


# The keys under which file systems give the time of the last change: local and sftp, s3, gcs, azure, memory.
_TIMES = ("mtime", "LastModified", "updated", "last_modified", "created")


def entry_of(info: Any) -> Entry:
    """A file or folder, as fsspec lists it."""
    size = info.get("size")
    return Entry(
        str(info["name"]).rstrip("/"),
        info["type"] == "directory",
        size if isinstance(size, int) else None,
        _nanoseconds(next((info[key] for key in _TIMES if info.get(key)), None)),
    )


def _nanoseconds(time: Any) -> int | None:
    """A time in one of the forms that file systems give it; None for another form."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            return None
    if isinstance(time, datetime):
        time = time.timestamp()
    return round(time * 1e9) if isinstance(time, int | float) else None
