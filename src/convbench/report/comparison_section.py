"""What the page shows of a suite's comparison of networks, ready for the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from convbench.report.bubbles import Bubble, Kind, bubble_chart
from convbench.report.comparison import Entry, compare, findings, other_work, wrong_cells
from convbench.report.drawing import Figure, figure_of
from convbench.report.efficiency import UNKNOWN, DeckRow, Row, deck_rows, milliseconds, rows
from convbench.report.profiles import Timed
from convbench.report.records import Record


@dataclass(frozen=True)
class Chart:
    """Error against one cost."""

    cost: str
    figure: Figure


@dataclass(frozen=True)
class EngineRow:
    """One network at one batch size: for each engine the median in milliseconds, or its status, and why."""

    run: str
    title: str
    batch_size: int
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that the page says of networks that were costed and measured.

    fastest: how many networks each engine is fastest for; busy: percent of other work, where it is worth a warning
    wrong: the deck's numbers that are wrong, beside the truth; checked: how many of its numbers were checked
    """

    what: str
    findings: tuple[str, ...]
    charts: tuple[Chart, ...]
    rows: tuple[Row, ...]
    fastest: str
    busy: float | None
    deck_rows: tuple[DeckRow, ...]
    wrong: tuple[tuple[str, str], ...]
    checked: int
    engines: tuple[str, ...]
    engine_rows: tuple[EngineRow, ...]


def comparison(records: Sequence[Record]) -> Comparison:
    """Everything that the page says of the networks of `records`, which are in the suite's order."""
    entries = compare(records)
    order = [record.name for record in records]
    as_listed = sorted(entries, key=lambda one: order.index(one.record.name))
    results = [one for entry in as_listed for one in entry.profile.measurements.results]
    fastest = Counter(one.fastest.engine for one in entries if one.fastest)
    engines = tuple(dict.fromkeys(one.engine for one in results))
    return Comparison(
        what=f"{len(entries)} networks, each counted layer by layer and measured by {len(engines)} engines.",
        findings=tuple(findings(entries)),
        charts=tuple(_charts(entries)),
        rows=tuple(rows(entries)),
        fastest=", ".join(f"{engine} for {n}" for engine, n in fastest.most_common()),
        busy=other_work(entries),
        deck_rows=tuple(deck_rows(as_listed)),
        wrong=tuple(wrong_cells(as_listed)),
        checked=len({cell.says for one in entries for cell in one.profile.deck}),
        engines=engines,
        engine_rows=tuple(row for one in as_listed for row in _engine_rows(one, engines)),
    )


def _charts(entries: Sequence[Entry]) -> list[Chart]:
    """Against multiply-adds, and against latency; one with fewer than two networks is left out."""
    counted = [_bubble(one, one.macs / 1e9, one.front) for one in entries]
    timed = [_bubble(one, one.latency_ms, one.fast_front) for one in entries if one.latency_ms]
    return [
        Chart(cost, figure_of(partial(bubble_chart, bubbles, cost, unit)))
        for cost, unit, bubbles in (("multiply-adds", "G", counted), ("latency", "ms", timed))
        if len(bubbles) > 1
    ]


def _bubble(one: Entry, cost: float, front: bool) -> Bubble:
    kind: Kind = "apart" if one.rank is None else "front" if front else "other"
    return Bubble(one.title, cost, one.error, one.params, kind)


def _engine_rows(one: Entry, engines: Sequence[str]) -> list[EngineRow]:
    found = {(timed.batch_size, timed.engine): timed for timed in one.profile.measurements.results}
    return [
        EngineRow(
            one.record.name, one.title, size, tuple(_engine_cell(found.get((size, engine))) for engine in engines)
        )
        for size in sorted({size for size, _ in found})
    ]


def _engine_cell(timed: Timed | None) -> tuple[str, str]:
    if timed is None:
        return UNKNOWN, ""
    return (milliseconds(timed) if timed.status == "ok" else timed.status), timed.reason or ""
