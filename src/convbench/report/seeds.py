"""Runs of one method from several seeds: which belong together, what they say together, and which stands for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from convbench.report.records import Run, measured

SEEDED = re.compile(r"(?P<method>.+)-seed-(?P<seed>\d+)")  # the folder of a run with one of several seeds
UNKNOWN = "–"


@dataclass(frozen=True)
class Method:
    """A method's finished runs, by seed; two at least."""

    name: str
    title: str
    runs: tuple[Run, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        return tuple(measured(run).top1_error for run in self.runs)

    @property
    def middle(self) -> Run:
        """The run whose error is the median; the better of two in the middle."""
        ordered = sorted(self.runs, key=lambda run: (measured(run).top1_error, run.name))
        return ordered[(len(ordered) - 1) // 2]


@dataclass(frozen=True)
class SeedRow:
    """One method as text, errors in percent."""

    title: str
    published: str
    mean: str
    low: str
    high: str
    n: str
    runs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Band:
    """A method's test error at one epoch: the mean over its seeds, the lowest and the highest, percent."""

    epoch: int
    mean: float
    low: float
    high: float


def seeded_title(name: str, title: str) -> str:
    """The title of the run in the folder `name`; with its seed, where the run is one of several.

    >>> seeded_title("plain-20-seed-1", "plain, 20 layers")
    'plain, 20 layers, seed 1'
    """
    seeded = SEEDED.fullmatch(name)
    return f"{title}, seed {seeded['seed']}" if seeded and seeded["seed"] not in title.split() else title


def title_of(run: Run) -> str:
    """The run's title, as `seeded_title` gives it; its folder's name where there is no record."""
    return seeded_title(run.name, run.record.title) if run.record else run.name


def methods(runs: Sequence[Run]) -> list[Method]:
    """The methods of finished `runs` that have several seeds, the lowest mean error first."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if seeded := SEEDED.fullmatch(run.name):
            found.setdefault(seeded["method"], []).append(run)
    several = [
        Method(name, own[0].record.title if own[0].record else name, tuple(sorted(own, key=_seed)))
        for name, own in found.items()
        if len(own) > 1
    ]
    return sorted(several, key=lambda method: (mean(method.errors), method.name))


def middle_runs(runs: Sequence[Run]) -> list[Run]:
    """`runs` in their order, but of a method with several seeds only the middle one."""
    left_out = {run.name for method in methods(runs) for run in method.runs if run is not method.middle}
    return [run for run in runs if run.name not in left_out]


def seed_rows(found: Sequence[Method]) -> list[SeedRow]:
    """The table of methods, in the order given."""
    return [_row(method) for method in found]


def band(method: Method) -> list[Band]:
    """The test errors of the epochs that all seeds of the method were judged at."""
    curves = [
        {epoch.epoch: epoch.test_error for epoch in run.epochs if epoch.test_error is not None} for run in method.runs
    ]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    at = {epoch: [curve[epoch] for curve in curves] for epoch in shared}
    return [Band(epoch, mean(errors), min(errors), max(errors)) for epoch, errors in at.items()]


def _row(method: Method) -> SeedRow:
    record, errors = method.runs[0].record, method.errors
    published = record.published.error if record and record.published else None
    return SeedRow(
        title=method.title,
        published=UNKNOWN if published is None else str(published),
        mean=f"{mean(errors):.2f}",
        low=f"{min(errors):.2f}",
        high=f"{max(errors):.2f}",
        n=str(len(errors)),
        runs=tuple((str(_seed(run)), run.name) for run in method.runs),
    )


def _seed(run: Run) -> int:
    seeded = SEEDED.fullmatch(run.name)
    assert seeded is not None
    return int(seeded["seed"])
