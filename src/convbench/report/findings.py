"""What the records say, in words: a verdict for each published figure and a few sentences for a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import mean
from typing import Literal

from convbench.report.records import Run, measured
from convbench.report.results import Kind, Published, Result
from convbench.report.seeds import Method, title_of

PUBLISHED_UNCERTAINTY = 0.1  # percentage points on either side: LeCun et al. 1998, caption of figure 9

PERCENT = "\u00a0%"  # a figure and its sign stay on one line

Verdict = Literal["within", "better", "worse"]


def verdict(result: Result, published: Published | None) -> Verdict | None:
    """Whether the measured interval meets the published figure +- 0.1 points, else on which side it lies.

    None when there is no published figure.
    """
    if published is None or published.error is None:
        return None
    low, high = result.interval
    slack = PUBLISHED_UNCERTAINTY + 1e-9  # intervals that only touch do meet, whatever the last bit says
    if low <= published.error + slack and high >= published.error - slack:
        return "within"
    return "better" if result.top1_error < published.error else "worse"


def best(runs: Sequence[Run], kind: Kind | None = None) -> Run | None:
    """The finished run with the fewest errors, of one kind if named."""
    chosen = [run for run in runs if run.record and kind in (None, run.record.subject.kind)]
    return min(chosen, key=lambda run: (measured(run).top1_error, run.name), default=None)


def seed_findings(several: Sequence[Method]) -> list[str]:
    """A sentence on methods with several seeds, which are in the order of their mean errors."""
    if not several:
        return []
    first, errors = several[0], several[0].errors
    return [
        f"{first.title} makes the fewest errors over its seeds: {mean(errors):.2f}{PERCENT} on the mean of "
        f"{len(errors)}, from {min(errors):.2f} to {max(errors):.2f}."
    ]


def findings(runs: Sequence[Run]) -> list[str]:
    """Sentences on finished runs that share a test set, the chief one first."""
    first = best(runs)
    if first is None or first.record is None:
        return []
    sentences = [f"{title_of(first)} makes the fewest errors: {_figure(measured(first))}."]
    network, rival = best(runs, "network"), best(runs, "rival")
    if network and rival:
        sentences.append(_duel(network, measured(network), rival, measured(rival)))
    counts = Counter(verdict(measured(run), run.record.published) for run in runs if run.record)
    judged = counts["within"] + counts["better"] + counts["worse"]
    if judged:
        sentences.append(
            f"Of {judged} published {'figure' if judged == 1 else 'figures'}, {counts['within']} "
            f"{'is' if counts['within'] == 1 else 'are'} met within the uncertainty of both sides, "
            f"{counts['better']} bettered and {counts['worse']} missed."
        )
    return sentences


def _duel(network: Run, ours: Result, rival: Run, theirs: Result) -> str:
    apart = ours.interval[1] < theirs.interval[0] or theirs.interval[1] < ours.interval[0]
    return (
        f"The best single network, {title_of(network)}, errs on {ours.top1_error:.2f}{PERCENT}; "
        f"the best rival, {title_of(rival)}, on {theirs.top1_error:.2f}{PERCENT}: "
        f"their intervals {'do not overlap' if apart else 'overlap'}."
    )


def _figure(result: Result) -> str:
    low, high = result.interval
    return (
        f"{result.top1_error:.2f}{PERCENT} of {result.n:,} test images (95{PERCENT} interval {low:.2f} to {high:.2f})"
    )
