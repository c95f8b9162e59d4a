"""Whole-file writes, locks and file signatures: one way to do each."""

import errno
import glob
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from vggfeat._util.printable import reason_of, say
from vggfeat.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# The errors of a file system that has no such operation, or no locks; those of a disk that fails or is full.
NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
NO_LOCKS = NOT_SUPPORTED | {errno.ENOLCK}
DISK_ERRORS = {errno.EIO, errno.ENOSPC, errno.EDQUOT}

MAX_STEM = 180  # bytes of a name in the name of a temporary file


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
    except (OSError, ValueError):  # ValueError: a NUL in the name, or a closed file
        return None
    return Signature(found.st_ino, found.st_size, found.st_mtime_ns)


def no_link(name: str, flags: int) -> int:
    """Open a file of this name, not one that a link of this name leads to."""
    return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)


def size_and_change(file: Path) -> tuple[int | None, int | None]:
    """Size in bytes, and when a file was last changed, or its name or mode, in nanoseconds since 1970.

    The time of the content alone stays the same if a file of equal size and age is moved to its place. None for what
    is not known.
    """
    try:
        found = file.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None, None
    time = max(found.st_mtime_ns, found.st_ctime_ns)
    return found.st_size, time if time < 2**63 else None  # as Parquet holds it


@contextmanager
def replacing(file: Path, owner: str = "") -> Iterator[Path]:
    """A temporary path to write to; at the end of the block it is synced and renamed to `file`.

    If the block fails, the temporary file is removed and `file` stays as it was. After the renaming nothing is raised.
    The mode is what the umask says. A symbolic link stays a link. A device or a pipe is written directly.

    owner : ends the temporary name instead of a random ending, so that a later process can find the file. Two
        writers at the same time must not have the same owner.

    Raises OSError, with `file` as its filename.
    """
    with _naming(file):
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, "")
        if file.exists() and not file.is_file():  # renaming would put a plain file in the place of /dev/null
            yield file
            return
        target = _target(file)
        temporary = target.with_name(f".{short(target.name)}{owner or f'.{os.getpid()}-{secrets.token_hex(4)}'}.tmp")
        in_use: IO[bytes] | None = None
        try:
            temporary.unlink(missing_ok=True)
            in_use = _new(temporary)
            mode = temporary.stat().st_mode
            yield temporary
            if temporary.stat().st_mode != mode:  # some libraries make files that only their owner can read
                temporary.chmod(mode)
            _sync(temporary)
            temporary.replace(target)
            _sync_name(target)
        finally:  # also after KeyboardInterrupt
            if in_use:
                in_use.close()
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _new(temporary: Path) -> IO[bytes]:
    """Make a file, which is locked until it is closed, so that `remove_leftovers` of another process leaves it."""
    while True:
        opened = temporary.open("xb")
        if fcntl is None:  # Windows renames no file that is open
            opened.close()
            return opened
        with suppress(OSError):  # a file system without locks
            fcntl.flock(opened, fcntl.LOCK_EX)
        if signature(temporary) == signature(opened):  # else it was removed before it was locked
            return opened
        opened.close()


def write_text(file: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Raises OSError that names `file`."""
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")  # the same bytes on all systems


def check_writable(file: Path) -> None:
    """Raise UsageError, before long work begins, if `replacing` cannot write `file`."""
    if file.is_dir():
        raise UsageError(f"{file}: is a folder; name a file")
    folder = _target(file).parent
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder for {file.name}; make it, or name another file")
    if not os.access(file if file.exists() and not file.is_file() else folder, os.W_OK):  # a device, or a plain file
        raise UsageError(f"{file}: cannot be written; name another file")


def check_folder(folder: Path) -> None:
    """Raise UsageError, before long work begins, if `folder` cannot be made, parents included, or not be written to."""
    found = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not found.is_dir():
        what = "a link that leads to no folder" if found.is_symlink() else "a file, not a folder"
        raise UsageError(f"{found}: is {what}; name another folder")
    if not os.access(found, os.W_OK | os.X_OK):
        raise UsageError(f"{found}: cannot be written; name another folder")
    try:
        longest = os.pathconf(found, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows; a file system that does not say it
        return
    if any(len(os.fsencode(name)) > longest for name in folder.parts[len(found.parts) :]):
        raise UsageError(f"{folder}: has a name of more than {longest} bytes; name another folder")


def remove_leftovers(file: Path) -> None:
    """Remove the temporary files that killed processes left beside `file`, but none that a process still writes.

    Without locks the two cannot be told apart, and all are left.
    """
    target = _target(file)
    prefix = f".{short(target.name)}."
    for left in target.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        if fcntl is None or "." in left.name[len(prefix) : -len(".tmp")]:  # of a file with a longer name
            continue
        with suppress(OSError), left.open("r+b") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def short(name: str) -> str:
    """The name, or a digest of a long name: it gets an ending, and most file systems allow 255 bytes."""
    data = os.fsencode(name)
    return name if len(data) <= MAX_STEM else hashlib.sha256(data).hexdigest()


def _target(file: Path) -> Path:
    return Path(os.path.realpath(file)) if file.is_symlink() else file


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Raise each OSError again with `file` as its filename and one line as its reason."""
    try:
        yield
    except OSError as error:
        # The texts of Arrow and HDF5 are longer than the system's.
        reason = os.strerror(error.errno) if error.errno else reason_of(error)
        raise OSError(error.errno or errno.EIO, reason, str(file)) from error


def _sync(file: Path) -> None:
    """Bring the bytes of a file to the disk."""
    try:
        descriptor = os.open(file, os.O_RDWR)  # Windows syncs no file that is open for reading only
    except PermissionError:  # of an unusual umask
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    finally:
        os.close(descriptor)


def _sync_name(file: Path) -> None:
    """Bring the new name of a file to the disk. The file is renamed already, so an error is only printed.

    Many systems cannot sync a folder, or only one that can be read. They report this by different errors.
    """
    try:
        descriptor = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            reason = os.strerror(error.errno)
            say(f"{file}: is written, but its folder cannot be synced ({reason}); check the disk")


def reserve(file: IO[bytes], size: int) -> None:
    """Take the disk space for `size` more bytes from the present place on. Raises OSError if the disk has not enough.

    A write to a map of a file without space would kill the process. Without posix_fallocate, as on macOS and Windows,
    zeros are written.
    """
    file.flush()
    try:
        os.posix_fallocate(file.fileno(), 0, file.tell() + size)
        return
    except AttributeError:
        pass
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
    zeros = bytes(2**20)
    for start in range(0, size, len(zeros)):
        file.write(zeros[: size - start])
    file.flush()
    os.fsync(file.fileno())  # some network disks say only now that they are full


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder, for the moment in which several of its files are replaced together.

    Waits for other processes. Where folders cannot be locked, the block runs unlocked.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def lock(file: Path, *, shared: bool = False, wait: str = "", per_process: bool = False) -> Iterator[IO[bytes]]:
    """Hold the lock on `file`, which is created if needed and never removed.

    shared : together with others that share it; else alone.
    wait : wait for the lock, and print this line once if another process holds it. Without it the lock is tried once.
    per_process : a lock that child processes do not inherit: it is free as soon as this process ends. It excludes
        other processes only, not other threads, and is lost when this process closes the file a second time.

    On a file system without locks, and on Windows, the block runs unlocked. Files are written whole, so that two runs
    at once cost work, but never a row. Raises Locked, or OSError if `file` cannot be created, or is a link.
    """
    with open(file, "a+b", opener=no_link) as opened:  # lockf and NFS share only files that are open for reading
        if fcntl is None:
            yield opened
            return
        acquire: Callable[[Any, int], None] = fcntl.lockf if per_process else fcntl.flock
        _take(acquire, opened, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait)
        try:
            yield opened
        finally:  # child processes may still have the file open, and would keep the lock
            with suppress(OSError):
                acquire(opened, fcntl.LOCK_UN)


def _take(acquire: Callable[[Any, int], None], opened: IO[bytes], kind: int, wait: str) -> None:
    try:
        try:
            acquire(opened, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # the system decides which of the two
            if not wait:
                raise Locked(opened.name) from None
            say(wait)
            acquire(opened, kind)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
