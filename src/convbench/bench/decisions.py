"""What the seeds of a suite's runs say to its statements."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convbench.bench.store import RunFolder
from convbench.bench.suite import Statement, Suite, seeded_name

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Decision:
    """A statement and what was measured to it.

    better, worse: the metric of each run's seeds: percent, or epochs
    difference: of the means, worse less better: above 0 speaks for the statement; low, high: its 95 % interval
    verdict: "holds" or "fails" where the interval leaves out 0, else "undecided"
    """

    says: str
    metric: str
    better: tuple[float, ...]
    worse: tuple[float, ...]
    difference: float
    low: float
    high: float
    verdict: Literal["holds", "fails", "undecided"]


def decide(suite: Suite, root: Path) -> list[Decision]:
    """The decisions on those of the suite's statements whose runs are all done, below `root`."""
    decisions = []
    for statement in suite.statements:
        better, worse = (measured(suite, root, name, statement) for name in (statement.better, statement.worse))
        if better is None or worse is None:
            continue
        difference, low, high = compare(worse, better)
        verdict: Literal["holds", "fails", "undecided"] = "holds" if low > 0 else "fails" if high < 0 else "undecided"
        values = tuple(better), tuple(worse)
        decisions.append(Decision(statement.says, statement.metric, *values, difference, low, high, verdict))
    return decisions


def measured(suite: Suite, root: Path, run: str, statement: Statement) -> list[float] | None:
    """The statement's metric of each seed of a run; None where one is not done."""
    names = [run] if suite.seeds == 1 else [seeded_name(run, seed) for seed in range(suite.seeds)]
    values = []
    for name in names:
        record = RunFolder(root / name).read_record()
        if record is None or record["status"] != "done":
            return None
        if statement.metric == "top1_error":
            values.append(float(record["result"]["top1_error"]))
        else:
            assert statement.target is not None
            values.append(epochs_to(root / name / "metrics.jsonl", statement.target))
    return values


def epochs_to(metrics: Path, target: float) -> float:
    """The first epoch after which the test error is `target` percent or less; one more than all where none is."""
    epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
    return next((one["epoch"] for one in epochs if one["test_error"] <= target), len(epochs) + 1)


def compare(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """(difference of the means, its interval) by Welch's t, for unlike variances; unbounded for single values."""
    from scipy import stats

    difference = sum(first) / len(first) - sum(second) / len(second)
    if min(len(first), len(second)) < 2:
        return difference, -math.inf, math.inf
    if len({*first}) == len({*second}) == 1:  # no variance at all: Welch's formula divides by it
        return difference, difference, difference
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
