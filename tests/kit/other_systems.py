"""What macOS and Windows lack, or refuse, is taken from this process: run it first in a process of its own.

It shows what the package needs of a system; it is no test of these systems. The libraries, which ask for the name of
the system, are imported before.
"""

import errno
import fcntl
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torchvision",
    "pandas",
    "pyarrow.parquet",
    "h5py",
    "scipy.io",
    "sklearn.svm",
    "joblib",
    "matplotlib.pyplot",
)
NO_UNIX = ("fcntl", "resource", "pwd", "grp", "termios", "syslog")
NOT_ON_MACOS = ("posix_fallocate", "sched_getaffinity", "sched_setaffinity")
NOT_ON_WINDOWS = (
    *("fork", "forkpty", "register_at_fork", "sysconf", "getuid", "geteuid", "getgid", "getegid", "fchmod", "chown"),
    *("mkfifo", "pread", "pwrite", "statvfs", "fstatvfs", "uname", "killpg", "getpgid", "setsid", "wait3", "wait4"),
)
NO_SIGNALS = ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "setitimer", "alarm")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def macos() -> None:
    """No posix_fallocate, no affinity, no /proc; processes are spawned."""
    _remove(os, NOT_ON_MACOS)
    multiprocessing.set_start_method("spawn")
    sys.addaudithook(_no_proc)


def windows() -> None:
    """No Unix modules; folders cannot be opened, nor open files renamed or removed; fewer names of files."""
    for library in LIBRARIES:
        importlib.import_module(library)
    access = fcntl.fcntl
    _remove(os, (*NOT_ON_MACOS, *NOT_ON_WINDOWS))
    _remove(signal, NO_SIGNALS)
    for name in NO_UNIX:
        sys.modules[name] = None  # type: ignore[assignment]
    multiprocessing.set_start_method("spawn")
    tempfile.TemporaryFile = partial(tempfile.NamedTemporaryFile, delete=False)  # Windows itself removes the file
    subprocess.Popen.kill = lambda process: process.send_signal(9)  # type: ignore[method-assign]
    sync = os.fsync

    def fsync(file: Any) -> None:
        if access(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "of Windows")
        sync(file)

    os.fsync = fsync
    sys.addaudithook(_no_proc)
    sys.addaudithook(_as_windows)


def _remove(module: Any, names: tuple[str, ...]) -> None:
    for name in names:
        module.__dict__.pop(name, None)


def _no_proc(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and str(arguments[0]).startswith(("/proc/", "/sys/")) and arguments[0] != MAPS:
        raise FileNotFoundError(errno.ENOENT, "of another system", str(arguments[0]))


MAPS = "/proc/self/maps"


def _as_windows(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | Path):
        path, mode, flags = arguments
        if mode is None and os.path.isdir(path):  # noqa: PTH112  (by os.open; tempfile gives a folder to `open`)
            raise PermissionError(errno.EACCES, "a folder, on Windows", str(path))
        if flags & WRITING and set(str(path)) & set('<>:"|?*'):
            raise OSError(errno.EINVAL, "no name on Windows", str(path))
    elif event in ("os.rename", "os.remove"):
        for path in arguments[: 2 if event == "os.rename" else 1]:
            if os.path.realpath(path) in _open_files():
                raise PermissionError(errno.EACCES, "is open, on Windows", str(path))


def _open_files() -> set[str]:
    """The files that this process has open or mapped."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        except OSError:  # that of listdir
            continue
    with open(MAPS) as lines:  # noqa: PTH123
        return found | {line.split(maxsplit=5)[-1].strip() for line in lines}
