"""Peak memory of this process while something runs, as the system's own counter has it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from dataclasses import dataclass
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Resident:
    """Bytes of this process in memory: now, and at the peak since the last reset."""

    now: int
    peak: int


def read_resident() -> Resident | None:
    """VmRSS and VmHWM of proc(5); None where there is no such file."""
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    except OSError:
        return None
    now, peak = (1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return Resident(now, peak)


def settle() -> int | None:
    """Give back what is free, start the peak anew, and say how many bytes are in memory; None where it cannot be had.

    Without the first, memory that was freed before would hide what is taken next.
    """
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc's; other C libraries keep less back
    try:
        CLEAR.write_text("5")
    except OSError:
        return None
    resident = read_resident()
    return resident.now if resident else None


def peak_above(before: int | None) -> int | None:
    """Bytes by which the peak since the last `settle` is above `before`.

    None where it cannot be had, or is not above: what was there before has gone, and hides what was taken.
    """
    resident = read_resident()
    return resident.peak - before if resident is not None and before is not None and resident.peak >= before else None
