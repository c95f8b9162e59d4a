"""Files from outside: only regular files are opened, and no more bytes are read than are expected."""

import errno
import io
import os
import stat
from pathlib import Path


def open_regular(file: Path) -> io.BufferedReader:
    """Open a regular file to read its bytes. Opening a pipe would wait for a writer, and a device may have no end.

    Raises OSError that names the file.
    """
    try:
        if stat.S_ISREG(file.stat().st_mode):
            opened = open(file, "rb", opener=_at_once)  # noqa: SIM115  (Path.open takes no opener)
            if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return opened
            opened.close()
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(file)) from None
    raise OSError(errno.EINVAL, "not a regular file", str(file))


def read_bytes(file: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file.

    Raises OSError that names the file; ValueError, with one line that says what is wrong, for more than `max_bytes`.
    """
    with open_regular(file) as opened:
        data = opened.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"more than {max_bytes:,} bytes")
    return data


def read_text(file: Path, max_bytes: int) -> str:
    """The text of a regular file in UTF-8.

    Raises as `read_bytes`; ValueError also for another encoding.
    """
    try:
        return read_bytes(file, max_bytes).decode()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None


def _at_once(name: str, flags: int) -> int:
    """Open without waiting: a pipe may have taken the name of the file. Of a regular file this changes nothing."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
