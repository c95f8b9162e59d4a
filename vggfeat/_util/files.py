"""Whole-file writes, locks and file signatures: one way to do each."""

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

# A file system that can't sync a folder, or has no locks, answers with one of these.
NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
NO_LOCKS = NOT_SUPPORTED | {errno.ENOLCK}


class Locked(Exception):
    """Another process holds the lock."""


class Signature(NamedTuple):
    """What changes when a file changes: inode, size in bytes, time of the last change in nanoseconds."""

    inode: int
    size: int
    mtime_ns: int


def signature(file: Path | IO[Any]) -> Signature | None:
    """The signature of a path or an open file; None if the file cannot be inspected."""
    try:
        found = file.stat() if isinstance(file, Path) else os.fstat(file.fileno())
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return Signature(found.st_ino, found.st_size, found.st_mtime_ns)


@contextmanager
def replacing(file: Path, owner: str = "") -> Iterator[Path]:
    """A temporary path to write to; at the end of the block it is synced and renamed to `file`.

    If the block fails, the temporary file is removed and `file` stays as it was. A symbolic link stays a link.

    owner : ends the temporary name, so that its process can find what it left behind; this process by default.

    Raises OSError, with `file` as its filename.
    """
    target = file.resolve() if file.is_symlink() else file
    temporary = target.with_name(f".{target.name}{owner or f'.{os.getpid()}'}.tmp")
    try:
        temporary.open("wb").close()
        mode = temporary.stat().st_mode  # as the umask says; some libraries make files that only their owner can read
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)  # Arrow's and HDF5's own text is longer
        raise OSError(error.errno or errno.EIO, reason.splitlines()[0], str(file)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Raises OSError that names `file`."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(file: Path) -> None:
    """Remove the temporary files that killed processes left beside `file`."""
    for left in file.parent.glob(f".{file.name}.*.tmp"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def lock(file: Path, *, shared: bool = False, wait: str = "", per_process: bool = False) -> Iterator[IO[bytes]]:
    """Hold the lock on `file`, which is created if needed and never removed.

    shared : together with others that share it; else alone.
    wait : wait for the lock, and print this line once if another process holds it. Without it the lock is tried once.
    per_process : a lock that child processes don't inherit. It excludes other processes only, not other threads.

    On a file system without locks the block runs unlocked. Raises Locked, or OSError if `file` cannot be created.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(file.open("ab"))
        acquire: Callable[[Any, int], None] = fcntl.lockf if per_process else fcntl.flock
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            acquire(opened, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # which of the two is the system's choice
            if not wait:
                raise Locked(str(file)) from None
            print(wait, file=sys.stderr)
            acquire(opened, kind)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield opened
