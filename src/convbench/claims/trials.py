"""What trainings said here: statements of papers and deck, each decided by the seeds of a suite's runs.

A trial is what `convbench run` left in a suite's folder, made small: each run's errors by seed and epoch. Those kept
with the program are in `convbench/trials`. Verdicts are not kept: they are computed from these errors, each time.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from convbench.errors import RequestError
from convbench.notebook import figure, interval, table
from convbench.schema import parse

CONFIDENCE = 0.95
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Statement:
    """A sentence about two runs of a suite, which their seeds decide.

    says: the sentence, as it is if `better` is
    better, worse: runs
    metric: "top1_error", or "epochs", the passes until the test error is `target` percent or less
    claim: the id of the deck's claim that it speaks to; empty where the deck says nothing of it
    """

    says: str
    better: str
    worse: str
    metric: Literal["top1_error", "epochs"] = "top1_error"
    target: float | None = None
    claim: str = ""

    def __post_init__(self) -> None:
        if (self.metric == "epochs") != (self.target is not None):
            raise RequestError(
                f"statement {self.says!r}: expected a target error with the metric epochs, and only then"
            )


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrialRun:
    """A run from one seed. top1_error: percent, after the training; curve: the test error after each epoch."""

    seed: int
    top1_error: float
    curve: tuple[float, ...]
    seconds: float
    commit: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Decision:
    """A statement and what was measured to it.

    better, worse: the metric of each run's seeds: percent, or epochs
    difference: of the means, worse less better: above 0 speaks for the statement; low, high: its 95 % interval
    verdict: "holds" or "fails" where the interval leaves out 0, else "undecided"
    """

    suite: str
    says: str
    claim: str
    metric: str
    better: tuple[float, ...]
    worse: tuple[float, ...]
    difference: float
    low: float
    high: float
    verdict: Literal["holds", "fails", "undecided"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an unbounded interval is null."""
        ends = {end: value if math.isfinite(value := getattr(self, end)) else None for end in ("low", "high")}
        return asdict(self) | ends


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Trial:
    """A suite of trainings that was run.

    cut: what it leaves out of the papers' trainings
    runs: those of which all seeds are done
    recipes: of each run, with its settings put in
    data: fingerprints by split; machine, versions: as in a run's record
    remark: what must be known of the runs beside their figures, put in by hand
    """

    suite: str
    title: str
    cut: str
    statements: tuple[Statement, ...]
    runs: dict[str, tuple[TrialRun, ...]]
    recipes: dict[str, dict[str, Any]]
    data: dict[str, str]
    machine: dict[str, Any]
    versions: dict[str, str]
    remark: str = ""

    @property
    def minutes(self) -> float:
        """Of all runs, by their own clocks, one after the other."""
        return sum(outcome.seconds for outcomes in self.runs.values() for outcome in outcomes) / 60

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """On those statements whose runs are done."""
        ready = (one for one in self.statements if one.better in self.runs and one.worse in self.runs)
        return tuple(self._decide(statement) for statement in ready)

    def _repr_html_(self) -> str:
        """What is decided, in a notebook."""
        rows = [
            (one.says, f"{figure(one.difference)} ({interval((one.low, one.high))})", one.verdict)
            for one in self.decisions
        ]
        note = f"Cut: {self.cut}" if self.cut else ""
        return table(self.title, ("statement", "difference, 95 % interval", "verdict"), rows, note)

    def _decide(self, statement: Statement) -> Decision:
        better, worse = (
            [measured(outcome, statement) for outcome in self.runs[run]] for run in (statement.better, statement.worse)
        )
        difference, low, high = compare(worse, better)
        return Decision(
            suite=self.suite,
            says=statement.says,
            claim=statement.claim,
            metric=statement.metric,
            better=tuple(better),
            worse=tuple(worse),
            difference=difference,
            low=low,
            high=high,
            verdict="holds" if low > 0 else "fails" if high < 0 else "undecided",
        )


def measured(outcome: TrialRun, statement: Statement) -> float:
    """The statement's metric: percent; or the epoch that reaches the target, one more than all where none does."""
    if statement.target is None:
        return outcome.top1_error
    reached = (epoch for epoch, error in enumerate(outcome.curve, 1) if error <= statement.target)
    return next(reached, len(outcome.curve) + 1)


def compare(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """(difference of the means, its interval) by Welch's t, for unlike variances; unbounded for single values."""
    from scipy import stats

    difference = sum(first) / len(first) - sum(second) / len(second)
    if min(len(first), len(second)) < 2:
        return difference, -math.inf, math.inf
    if len({*first}) == len({*second}) == 1:  # no variance at all: Welch's formula divides by it
        return difference, difference, difference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of seeds that all agree, as they may on whole passes
        interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(CONFIDENCE)
    return difference, float(interval.low), float(interval.high)


def describe_decision(decision: Decision) -> str:
    """A line for people."""
    unit = "points" if decision.metric == "top1_error" else "epochs"
    better, worse = (f"{sum(values) / len(values):.2f}" for values in (decision.better, decision.worse))
    return (
        f"{decision.verdict}: {decision.says} ({better} against {worse}, {decision.difference:+.2f} {unit}, "
        f"{decision.low:+.2f} to {decision.high:+.2f}, {len(decision.better)} seeds)"
    )


@cache
def read_trials() -> tuple[Trial, ...]:
    """Those that are kept with the program, by the names of their suites."""
    folder = resources.files("convbench").joinpath("trials")
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".json")), key=lambda file: file.name)
    return tuple(parse(Trial, json.loads(file.read_text()), f"trials: {file.name}") for file in files)
