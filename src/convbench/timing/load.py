"""How busy other work keeps the machine while something is timed; and how fast its clock ran."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Load:
    """What else went on, filled when the block of `watch_load` ends; None where the system does not tell.

    other: percent of all cores' time that other processes, the kernel's own work and the hypervisor (steal) took
    steal: the hypervisor's part of it
    stalled: percent of the time in which a runnable process waited for a core: a call was held up in no more of it
    load_average: processes running or waiting in the last minute
    mhz: (before, after) the mean clock of the cores
    """

    other: float | None = None
    steal: float | None = None
    stalled: float | None = None
    load_average: float | None = None
    mhz: tuple[float, float] | None = None


@dataclass(frozen=True)
class Moment:
    """Seconds since some start: of the clock, of this process on cores, of all work, of steal, of waiting."""

    clock: float
    ours: float
    busy: float
    steal: float
    waiting: float | None
    cores: int


@contextmanager
def watch_load() -> Iterator[Load]:
    """Compare the block's beginning with its end.

    >>> with watch_load() as load:
    ...     total = sum(range(1_000_000))
    >>> load.other is None or 0 <= load.other <= 100
    True
    """
    load, before, clock_before = Load(), read_moment(), mean_mhz()
    try:
        yield load
    finally:
        after, clock_after = read_moment(), mean_mhz()
        if before is not None and after is not None:
            load.other, load.steal, load.stalled = compare(before, after)
        if clock_before is not None and clock_after is not None:
            load.mhz = clock_before, clock_after
        load.load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def compare(before: Moment, after: Moment) -> tuple[float, float, float | None]:
    """(other, steal, stalled) of `Load` between two moments."""
    elapsed = max(after.clock - before.clock, 1e-9)
    whole = elapsed * after.cores
    other = after.busy - before.busy - (after.ours - before.ours)
    stalled = None
    if before.waiting is not None and after.waiting is not None:
        stalled = _percent(after.waiting - before.waiting, elapsed)
    return _percent(other, whole), _percent(after.steal - before.steal, whole), stalled


def read_moment(proc: Path = Path("/proc")) -> Moment | None:
    """Linux' counters (proc(5)): /proc/stat's first line in ticks, /proc/pressure/cpu in microseconds."""
    try:
        fields = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _waiting_for_disks, irq, softirq, steal = (
        int(field) / os.sysconf("SC_CLK_TCK") for field in fields[:8]
    )
    times = os.times()
    return Moment(
        clock=time.monotonic(),
        ours=times.user + times.system + times.children_user + times.children_system,
        busy=user + nice + system + irq + softirq + steal,
        steal=steal,
        waiting=_read_waiting(proc / "pressure" / "cpu"),
        cores=os.cpu_count() or 1,
    )


def mean_mhz() -> float | None:
    """The cores' clock now; None where it cannot be read. A virtual machine may show a constant."""
    files = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    try:
        read = [int(file.read_text()) / 1000 for file in files]
        if not read:
            lines = Path("/proc/cpuinfo").read_text().splitlines()
            read = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    except OSError:
        return None
    return sum(read) / len(read) if read else None


def _read_waiting(file: Path) -> float | None:
    try:
        some = file.read_text().split("\n", 1)[0]
    except OSError:
        return None
    return int(some.rsplit("total=", 1)[1]) / 1e6


def _percent(part: float, whole: float) -> float:
    return min(100.0, max(0.0, 100 * part / whole))
