"""Main memory: how much there is, and keeping what training frees, so that no step faults it in page by page again."""

import ctypes
import os
import platform
from contextlib import suppress
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h
_LARGEST_DYNAMIC_THRESHOLD = 32 * 2**20  # up to here glibc itself comes to keep what a process frees often


def keep_freed_memory() -> None:
    """Ask glibc to serve large blocks from its heap and not to return them; elsewhere nothing is done.

    A step over a large vocabulary allocates and frees blocks of tens of megabytes; by default each comes fresh
    from the kernel and costs a page fault every 4 KiB.
    """
    _mallopt((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> None:
    """Undo it for large blocks: they come from the kernel and go back to it, as in a process that asked for nothing."""
    _mallopt((_M_MMAP_MAX, 65536), (_M_MMAP_THRESHOLD, _LARGEST_DYNAMIC_THRESHOLD))


def release_free_memory() -> None:
    """Hand back what is free now, so that the memory a process holds is what it uses."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt(*options: tuple[int, int]) -> None:
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in options:
            libc.mallopt(option, value)


def memory() -> int | None:
    """Bytes of main memory that this process may use: the machine's, or its container's; None where nobody says."""
    limits = []
    with suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))
    return min(limits, default=None)
