"""Memory that a training asks for again and again is kept by the process between its steps."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt(3)
DEFAULT_TRIM_THRESHOLD, DEFAULT_MMAP_MAX = 128 * 1024, 65_536
NEVER = 2**31 - 1


@contextmanager
def kept_memory() -> Iterator[None]:
    """While it lasts, glibc keeps freed memory for the process, and gives it back to the system at the end.

    By default it maps and unmaps each large tensor, whose pages the kernel then fills with zeros anew, in each step:
    on two cores this took a third of AlexNet's step in bf16. Where another allocator is at work, nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, DEFAULT_MMAP_MAX)
        libc.mallopt(TRIM_THRESHOLD, DEFAULT_TRIM_THRESHOLD)
        libc.malloc_trim(0)
