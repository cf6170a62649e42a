"""Time functions: warm until stable, side by side in rounds, with intervals that assume no distribution."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Call = Callable[[], object]
Clock = Callable[[], float]  # seconds

ROUNDS = 10  # of every function once; the 2nd and 9th of ten ordered ratios hold the median with 97.9 %
WINDOW = 3  # calls of warm-up that are looked at together
SAME = 0.05  # of a median: windows that differ by less count as the same, drifts below it as none
PATIENCE = 2  # times the timing itself, that a warm-up takes at most
MANY = 500  # calls of a burst: more would only fill the memory


@dataclass(frozen=True)
class Timing:
    """The time of one call, in ms.

    p50, p95, p99: the smallest calls that 50, 95 and 99 % of all calls do not exceed; of fewer than 100 calls p99 is
        the slowest
    interval: holds the median with 95 % or more, by order statistics of the rounds' medians: neighbouring calls are
        too alike to count as independent; None below six rounds
    n: calls that were timed
    warm_up: calls before them
    warm: whether the warm-up ended because calls got no faster, rather than for want of time
    drift: percent by which the last third's median is above the first third's, where it is no chance; else 0
    """

    p50: float
    p95: float
    p99: float
    interval: tuple[float, float] | None
    n: int
    warm_up: int
    warm: bool
    drift: float


@dataclass(frozen=True)
class Ratio:
    """How many times faster than the first function: the median of the rounds, and its interval as in `Timing`."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class SideBySide:
    """Timings by name, in the order given, and the ratio of each to the first."""

    timings: Mapping[str, Timing]
    ratios: Mapping[str, Ratio]


def time_call(call: Call, *, seconds: float = 1.0, clock: Clock = time.perf_counter) -> Timing:
    """Time one function; see `time_side_by_side`."""
    return time_side_by_side({"": call}, seconds=seconds, clock=clock).timings[""]


def time_side_by_side(
    calls: Mapping[str, Call],
    *,
    seconds: float = 1.0,
    clock: Clock = time.perf_counter,
    after_round: Callable[[], None] = lambda: None,
) -> SideBySide:
    """Time functions in interleaved rounds, so that what slows the machine for a while slows all of them.

    Args:
        calls: the functions; ratios are to the first
        seconds: for each function, and up to twice as much for its warm-up; a slow one takes what 26 calls take
        after_round: called ten times

    Each function is warmed up by itself first. A round is a burst of each; every second round goes backwards, so that a
    steady drift favours none. The calls that begin in a burst's first tenth are not counted: they find the caches, and
    the threads of other libraries, as the function before has left them. A round's ratio is that of the
    medians of its two bursts.
    """
    warmed = {name: warm_up(call, seconds=PATIENCE * seconds, clock=clock) for name, call in calls.items()}
    bursts: dict[str, list[list[float]]] = {name: [] for name in calls}
    order = list(calls)
    for number in range(ROUNDS):
        for name in order if number % 2 == 0 else reversed(order):
            bursts[name].append(_burst(calls[name], seconds / ROUNDS, clock))
        after_round()
    first = bursts[order[0]]
    return SideBySide(
        {name: _summarise(bursts[name], *warmed[name]) for name in order},
        {name: _ratio(first, bursts[name]) for name in order},
    )


def race(calls: Mapping[str, Call], *, seconds: float, clock: Clock = time.perf_counter) -> dict[str, float]:
    """Milliseconds of each function's median call: which is the fastest, not how fast it is.

    Args:
        calls: the functions, which have been called before: nothing is warmed up
        seconds: for each function; a slow one takes what two calls take

    They take turns, forwards and backwards, as in `time_side_by_side`.
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for number in range(ROUNDS):
        for name in order if number % 2 == 0 else reversed(order):
            start = clock()
            while number < 2 or sum(took[name]) < seconds:
                took[name].append(_time(calls[name], clock))
                if clock() >= start + seconds / ROUNDS:
                    break
    return {name: 1000 * median(times) for name, times in took.items()}


def warm_up(call: Call, *, seconds: float, clock: Clock = time.perf_counter) -> tuple[int, bool]:
    """Call until it gets no faster: (calls, whether it got there).

    A window is three calls; it is no faster when its median is not more than 5 % below the least median before it. The
    end is reached with the second such window in a row, or when `seconds` are over: then the last window decides, and
    two windows there are in any case.
    """
    end, best, flat, windows = clock() + seconds, math.inf, 0, 0
    while flat < 2 and (windows < 2 or clock() < end):
        middle = median([_time(call, clock) for _ in range(WINDOW)])
        flat = flat + 1 if middle > best * (1 - SAME) else 0
        best, windows = min(best, middle), windows + 1
    return windows * WINDOW, flat > 0


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that `percent` of them do not exceed."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def median_interval(values: Sequence[float], coverage: float = 0.95) -> tuple[float, float] | None:
    """The narrowest two order statistics, as far from either end, between which the true median lies.

    Of n independent values the number below the median is binomial with n halves (David & Nagaraja, Order Statistics,
    section 7.1): no distribution is assumed. None where even the two extremes hold it too seldom, with fewer than six.
    """
    ordered, n = sorted(values), len(values)
    outside, rank = 0.0, 0  # the chance that fewer than `rank` values lie below, on both sides
    while rank < n // 2:
        chance = 2 * math.exp(_log_choose(n, rank) - n * math.log(2))
        if outside + chance > 1 - coverage:
            break
        outside, rank = outside + chance, rank + 1
    return (ordered[rank - 1], ordered[n - rank]) if rank else None


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _burst(call: Call, seconds: float, clock: Clock) -> list[float]:
    start = clock()
    took: list[float] = []
    while clock() < start + seconds / 10:  # the first call at least
        call()
    while not took or (clock() < start + seconds and len(took) < MANY):
        took.append(_time(call, clock))
    return took


def _time(call: Call, clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start


def _summarise(bursts: list[list[float]], calls_before: int, warm: bool) -> Timing:
    took = [1000 * seconds for burst in bursts for seconds in burst]
    middle, slow, slowest = (percentile(took, percent) for percent in (50, 95, 99))
    interval = median_interval([1000 * median(burst) for burst in bursts])
    return Timing(middle, slow, slowest, interval, len(took), calls_before, warm, _drift(took))


def _drift(took: list[float]) -> float:
    third = len(took) // 3
    first, last = took[:third], took[-third:] if third else []
    between = median_interval(first), median_interval(last)
    if between[0] is None or between[1] is None:
        return 0.0
    apart = between[0][1] < between[1][0] or between[1][1] < between[0][0]
    change = median(last) / median(first) - 1
    return 100 * change if apart and abs(change) > SAME else 0.0


def _ratio(reference: list[list[float]], bursts: list[list[float]]) -> Ratio:
    ratios = [median(a) / median(b) for a, b in zip(reference, bursts, strict=True)]
    return Ratio(median(ratios), median_interval(ratios))
