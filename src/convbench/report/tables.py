"""The result table: one list of rows, for the page and for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.efficiency import print_comparison
from convbench.report.findings import Verdict, verdict
from convbench.report.found import print_learnt
from convbench.report.matrix import print_matrix
from convbench.report.records import Record, Suite
from convbench.report.results import Result
from convbench.report.seeds import seeded_title

UNKNOWN = "–"
FIGURE_SPACE = "\u2007"  # as wide as a digit: keeps the decimal points of 12.0 and 0.95 in one column
WHOLE_WIDTH = 125  # characters that the table with all its columns takes
STYLE = {"within": "green", "better": "cyan", "worse": "red", None: "dim"}


@dataclass(frozen=True)
class Row:
    """One finished run as text; published and measured figures never share a field.

    source, url: of the published figures; weights: where those that were measured come from
    """

    run: str
    title: str
    kind: str
    published: str
    source: str
    url: str | None
    note: str
    measured: str
    interval: str
    verdict: Verdict | None
    n: str
    params: str
    macs: str
    rejection_published: str
    rejection_measured: str
    train_time: str
    train_seconds: float | None
    weights: str


def rows(records: Iterable[Record]) -> list[Row]:
    """The rows of the finished runs, fewest errors first."""
    finished = [record for record in records if record.status == "done" and record.result]
    return [_row(record) for record in sorted(finished, key=_order)]


def weights_of(record: Record) -> str:
    """Where the weights of a finished run come from: trained here, from imported ones, or as initialised."""
    profile = record.profile or record.detector
    if profile is not None:
        return profile.measurements.weights if profile.measurements else "none"
    begun = (record.recipe or {}).get("initial_weights")
    return f"trained here from {Path(begun).name}" if begun else "trained here"


def print_suite(suite: Suite, console: Console | None = None) -> None:
    """Print a suite's title and its tables: of networks and detectors that it compares, of detectors that learnt, of
    all its other runs."""
    console = console or Console()
    console.print(Text(f"{suite.title}\n"), soft_wrap=True)
    if suite.profiled:
        print_comparison(suite.profiled, console)
        console.print()
    if suite.detectors:
        print_matrix(suite.detectors, console)
        console.print()
    if suite.learnt_to_find:
        print_learnt(suite.learnt_to_find, console)
        console.print()
    told = (*suite.profiled, *suite.detectors, *(run.record for run in suite.learnt_to_find))
    others = [run.record for run in suite.runs if run.record and run.record not in told]
    if others:
        print_table(others, console)
        console.print()


def print_table(records: Iterable[Record], console: Console | None = None) -> None:
    """Print the result table, without the costs on a narrow terminal, and one line for each run without a result."""
    records, console = list(records), console or Console()
    if not console.is_terminal and console.file is sys.stdout:
        console.width = WHOLE_WIDTH  # a file or a pipe has no width of its own
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("method", overflow="fold")
    for heading in ("published %", "measured %", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    costs = ("n", "params", "multiply-adds", "train") if console.width >= WHOLE_WIDTH else ()
    for heading in costs:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows(records):
        judged = Text(row.verdict or UNKNOWN, STYLE[row.verdict])
        figures = (row.published, row.measured, row.interval)
        cost = (row.n, row.params, row.macs, row.train_time)[: len(costs)]
        # Text, not str: a title with square brackets is not markup.
        table.add_row(Text(row.title), *figures, judged, *cost)
    console.print(table)
    for record in records:
        if record.status != "done":
            console.print(Text(f"{record.name}: {record.status}: {record.error or 'no result yet'}", "red"))


def duration(seconds: float | None) -> str:
    """Seconds for people: 0.42 s, 8.3 s, 4 min 10 s, 2 h 05 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 59.95:  # from there on it would read 60.0 s
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _order(record: Record) -> tuple[float, str]:
    assert record.result is not None
    return record.result.top1_error, record.name


def _row(record: Record) -> Row:
    result, published, cost = record.result, record.published, record.cost
    assert result is not None
    return Row(
        run=record.name,
        title=seeded_title(record.name, record.title),
        kind=record.subject.kind,
        published=_percent(published.error) if published else UNKNOWN,
        source=", ".join(filter(None, (published.source, published.protocol))) if published else "",
        url=published.url if published else None,
        note=published.note or "" if published else "",
        measured=f"{result.top1_error:.2f}",
        interval=f"{result.interval[0]:.2f}–{result.interval[1]:.2f}",
        verdict=verdict(result, published),
        n=f"{result.n:,}",
        params=_count(cost.params) if cost else UNKNOWN,
        macs=_count(cost.macs) if cost else UNKNOWN,
        rejection_published=_percent(published.rejection) if published else UNKNOWN,
        rejection_measured=_rejection(result),
        train_time=duration(record.seconds.train if record.seconds else None),
        train_seconds=record.seconds.train if record.seconds else None,
        weights=weights_of(record),
    )


def _percent(value: float | None) -> str:
    """A published figure with the digits that were published: padding, unlike a zero, claims no precision."""
    if value is None:
        return UNKNOWN
    text = str(value) if "." in str(value) else f"{value}.0"
    return text + FIGURE_SPACE * (2 - len(text.partition(".")[2]))


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _rejection(result: Result) -> str:
    if result.rejection is None:
        return UNKNOWN
    return "unreachable" if result.rejection.rejected is None else f"{result.rejection.rejected:.2f}"
