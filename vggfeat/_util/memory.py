"""How much memory there is, and how glibc keeps what is freed."""

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# The limits of control groups, version 2 and 1: the limit, what is used of it.
LIMITS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
# The parameters of mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MOST = 2**31 - 1
ASSUMED = 8 * 2**30  # bytes of main memory


def total_memory() -> int:
    """Bytes of main memory of this machine; `ASSUMED` on Windows, where Python does not say."""
    if not hasattr(os, "sysconf"):
        return ASSUMED
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_memory(limits: Sequence[tuple[str, str, str]] = LIMITS) -> int:
    """Bytes of main memory that this process can get: what is available, within the limit of its container."""
    try:
        free = [1024 * _entries(Path("/proc/meminfo"))["MemAvailable:"]]
    except (OSError, KeyError):  # not Linux
        free = [total_memory()]
    for folder, limit, used in limits:
        try:
            cached = _entries(Path(folder, "memory.stat"))
            reclaimable = cached["active_file"] + cached["inactive_file"]
            free.append(
                int(Path(folder, limit).read_text(encoding="utf-8"))
                - int(Path(folder, used).read_text(encoding="utf-8"))
                + reclaimable
            )
        except (OSError, KeyError, ValueError):  # no such limit, or "max"
            continue
    return max(min(free), 0)


def _entries(file: Path) -> dict[str, int]:
    """The first number after each name, line by line."""
    rows = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for this process, in all its threads; its peak may grow somewhat.

    A net on the CPU makes and frees maps of tens of MB for every layer. By default each is a mapping of its own, which
    the system fills with zeros page by page when it is touched and takes back when it is freed.

    Does nothing without glibc, or if the environment sets malloc's parameters. The setting belongs to the process, so
    the command makes it, not the library.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_MMAP_THRESHOLD, MOST)
    mallopt(M_TRIM_THRESHOLD, MOST)
    mallopt(M_ARENA_MAX, 1)  # the arenas of threads hold 64 MB at most, and map what is larger all the same
