"""Keeps memory that training frees, so that the next step does not fault it in page by page again."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Ask glibc to serve large blocks from its heap and not to return them; elsewhere nothing is done.

    A step over a large vocabulary allocates and frees blocks of tens of megabytes; by default each comes fresh
    from the kernel and costs a page fault every 4 KiB.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
