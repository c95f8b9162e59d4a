"""glibc's malloc, told to keep the memory that is freed.

A net on the CPU makes and frees maps of tens of MB for every layer. By default each is a mapping of its own, which
the system fills with zeros page by page when it is touched and takes back when it is freed.
"""

import ctypes
import os
import sys

# The parameters of mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
MOST = 2**31 - 1


def keep_freed_memory() -> None:
    """Have this process reuse freed memory from now on, for all its threads; its peak may grow somewhat.

    Does nothing without glibc, nor where the environment sets malloc's parameters already. The setting is the
    process's, so it is the command that chooses it, not the library.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(M_MMAP_THRESHOLD, MOST)
    mallopt(M_TRIM_THRESHOLD, MOST)
    mallopt(M_ARENA_MAX, 1)  # the arenas of threads hold 64 MB at most, and map what is larger all the same
