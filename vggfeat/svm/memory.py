"""How much memory can be had."""

import os
from pathlib import Path

# of control groups, version 2 and 1: the limit, what is used of it
LIMITS = [
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
]


def free_memory() -> int:
    """Bytes of main memory that this process can have: what is available, within its container's limit."""
    try:
        free = [1024 * _entries(Path("/proc/meminfo"))["MemAvailable:"]]
    except (OSError, KeyError):  # not Linux
        free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else [2**63]
    for folder, limit, used in LIMITS:
        try:
            cached = _entries(Path(folder, "memory.stat"))
            reclaimable = cached["active_file"] + cached["inactive_file"]
            free.append(int(Path(folder, limit).read_text()) - int(Path(folder, used).read_text()) + reclaimable)
        except (OSError, KeyError, ValueError):  # no such limit, or "max"
            continue
    return max(min(free), 0)


def _entries(file: Path) -> dict[str, int]:
    """The first number after each name, line by line."""
    rows = (line.split() for line in file.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
