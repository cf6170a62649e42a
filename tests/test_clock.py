"""Timing by a synthetic clock: warm-up, percentiles, intervals, drift and paired ratios."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator

import pytest

from convbench.timing.clock import ROUNDS, median_interval, percentile, race, time_call, time_side_by_side, warm_up


class Machine:
    """A clock that only calls move; `slowness` of the machine may depend on its time."""

    def __init__(self, slowness: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self.slowness = 0.0, slowness

    def clock(self) -> float:
        return self.now

    def takes(self, seconds: Iterator[float] | float) -> Callable[[], None]:
        def call() -> None:
            self.now += self.slowness(self.now) * (seconds if isinstance(seconds, float) else next(seconds))

        return call


def getting_faster(first: list[float], then: float) -> Iterator[float]:
    yield from first
    while True:
        yield then


def test_warm_up_ends_after_two_windows_that_are_no_faster() -> None:
    machine = Machine()
    assert warm_up(machine.takes(0.01), seconds=9, clock=machine.clock) == (9, True)  # one to compare with, two alike


def test_warm_up_goes_on_while_calls_get_faster() -> None:
    machine = Machine()
    compiling = getting_faster([1.0] * 3 + [0.5] * 3 + [0.2] * 3, 0.1)
    assert warm_up(machine.takes(compiling), seconds=60, clock=machine.clock) == (18, True)


def test_warm_up_that_never_ends_is_said() -> None:
    machine = Machine()
    ever_faster = (1.0 * 0.97**i for i in range(10_000))
    calls, warm = warm_up(machine.takes(ever_faster), seconds=15, clock=machine.clock)
    assert not warm
    assert machine.now == pytest.approx(15, abs=2)
    assert calls < 30


def test_warm_up_of_a_slow_function_takes_two_windows() -> None:
    machine = Machine()
    assert warm_up(machine.takes(5.0), seconds=1, clock=machine.clock) == (6, True)


def test_the_percentiles_are_calls_that_happened() -> None:
    assert [percentile(range(1, 101), q) for q in (50, 95, 99)] == [50, 95, 99]
    assert [percentile([3.0, 1.0, 2.0], q) for q in (50, 95, 99)] == [2, 3, 3]


@pytest.mark.parametrize(
    ("n", "ranks"),  # tables of the sign test at 95 %, as in Conover, Practical Nonparametric Statistics, A3
    [(5, None), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))],
)
def test_the_interval_of_the_median_is_that_of_the_sign_test(n: int, ranks: tuple[int, int] | None) -> None:
    assert median_interval(range(1, n + 1)) == ranks


def test_the_interval_of_the_median_covers_it_for_a_skewed_distribution() -> None:
    generator, truth = random.Random(0), math.log(2)  # the median of the exponential distribution
    intervals = [median_interval([generator.expovariate(1) for _ in range(25)]) for _ in range(2000)]
    covered = sum(low <= truth <= high for low, high in filter(None, intervals)) / len(intervals)
    assert 0.95 <= covered <= 0.97


def test_a_steady_function_is_stable_and_exact() -> None:
    machine = Machine()
    timing = time_call(machine.takes(0.004), seconds=1, clock=machine.clock)
    assert (timing.p50, timing.p95, timing.p99) == pytest.approx((4, 4, 4))
    assert timing.interval == pytest.approx((4, 4))
    assert timing.warm
    assert timing.drift == 0
    assert 200 < timing.n < 250


def test_a_slow_function_is_still_called_in_every_round() -> None:
    machine = Machine()
    timing = time_call(machine.takes(3.0), seconds=1, clock=machine.clock)
    assert timing.n == ROUNDS
    assert timing.interval is not None


def test_a_race_of_slow_functions_takes_two_calls_of_each() -> None:
    machine = Machine()
    calls = {"slow": machine.takes(3.0), "slower": machine.takes(4.0)}
    assert race(calls, seconds=1, clock=machine.clock) == pytest.approx({"slow": 3000, "slower": 4000})
    assert machine.now == pytest.approx(2 * (3 + 4))


def test_a_race_of_quick_functions_takes_its_time() -> None:
    machine = Machine(slowness=lambda now: 1.0 if now < 1.9 else 10.0)  # which holds up both
    calls = {"quick": machine.takes(0.001), "quicker": machine.takes(0.0005)}
    assert race(calls, seconds=1, clock=machine.clock) == pytest.approx({"quick": 1, "quicker": 0.5})
    assert 1.9 < machine.now < 2.2


def test_a_drift_is_found_and_noise_is_not() -> None:
    throttled = Machine(slowness=lambda now: 1.0 if now < 0.6 else 1.3)
    timing = time_call(throttled.takes(0.002), seconds=1, clock=throttled.clock)
    assert timing.drift == pytest.approx(30)
    generator, noisy = random.Random(1), Machine()
    timing = time_call(noisy.takes(generator.uniform(0.001, 0.004) for _ in range(10**6)), seconds=1, clock=noisy.clock)
    assert timing.drift == 0


def test_ratios_hold_while_the_machine_is_disturbed() -> None:
    """Half of the time everything takes three times as long: latencies are off, ratios are not."""
    machine = Machine(slowness=lambda now: 3.0 if now % 1.0 < 0.5 else 1.0)
    calls = {"slow": machine.takes(0.008), "fast": machine.takes(0.002)}
    timed = time_side_by_side(calls, seconds=0.5, clock=machine.clock)
    assert timed.ratios["slow"].value == 1
    assert timed.ratios["fast"].value == pytest.approx(4, rel=0.01)
    low, high = timed.ratios["fast"].interval or (0, 0)
    assert low <= 4 <= high
    assert timed.timings["slow"].p95 == pytest.approx(24)


def test_a_steady_drift_favours_no_function() -> None:
    """The machine gets slower all the time; rounds that alternate their direction even it out."""
    machine = Machine(slowness=lambda now: 1 + now / 10)
    calls = {name: machine.takes(0.01) for name in ("a", "b", "c")}
    timed = time_side_by_side(calls, seconds=1, clock=machine.clock)
    assert timed.ratios["c"].value == pytest.approx(1, abs=0.005)


def test_the_first_call_after_another_function_is_not_counted() -> None:
    """A function that finds the caches as another has left them takes ten times as long, once."""
    machine, last = Machine(), [""]

    def function(name: str) -> Callable[[], None]:
        def call() -> None:
            machine.now += 0.001 if last[0] == name else 0.01
            last[0] = name

        return call

    timed = time_side_by_side({"a": function("a"), "b": function("b")}, seconds=0.1, clock=machine.clock)
    assert timed.timings["a"].p99 == timed.timings["b"].p99 == pytest.approx(1)


def test_every_round_is_told() -> None:
    machine, told = Machine(), list[int]()
    time_side_by_side({"a": machine.takes(0.01)}, clock=machine.clock, after_round=lambda: told.append(1))
    assert len(told) == ROUNDS
