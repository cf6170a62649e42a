"""Detectors that were costed and measured, compared: the rows of the tables, what follows from them, and in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.comparison import BUSY, rank
from convbench.report.detectors import DeckFigure, DetectorProfile
from convbench.report.efficiency import UNKNOWN, milliseconds, three_digits
from convbench.report.findings import PERCENT
from convbench.report.records import Record

FAMILIES = {"ssd": "SSD", "faster_rcnn": "Faster R-CNN"}
PARTS = ("backbone", "extra layers", "heads", "RPN", "per-proposal head")
COUNTS = ("macs", "params")  # metrics of the deck that are counted here
SCALE = {"macs": 1e9, "params": 1e6}
WHOLE_WIDTH = 120  # characters that the terminal's table with all its columns takes
MATRIX = ("detector", "parameters, 10⁶", "deck", "multiply-adds, 10⁹", "deck", "AP published, %", "AP ours, %")
TIMES = ("eager, ms", "of which finding", "fastest, ms", "engine")


@dataclass(frozen=True)
class Entry:
    """One detector. ap: published, percent; front: whether none has as high an ap for as few multiply-adds"""

    record: Record
    profile: DetectorProfile
    ap: float
    front: bool

    @property
    def title(self) -> str:
        return self.record.title

    @property
    def latency_ms(self) -> float | None:
        """Of eager, which times every detector; None where nothing was timed."""
        timed = self.profile.measurements.eager(1) if self.profile.measurements else None
        return timed.latency_ms.p50 if timed and timed.latency_ms else None


@dataclass(frozen=True)
class Figure:
    """A count of ours beside the deck's; what the deck's is by the ledger, and why, where it is not simply right."""

    ours: str
    deck: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One detector as text; published and own precision never share a field. `finding`: what follows the passes."""

    run: str
    title: str
    source: str
    url: str | None
    params: Figure
    macs: Figure
    published: str
    own: str
    eager: str
    finding: str
    fastest: str
    engine: str


@dataclass(frozen=True)
class SplitRow:
    """(parameters, multiply-adds) of each part of a detector, as text; one that it has not is empty."""

    run: str
    title: str
    cells: tuple[tuple[str, str], ...]


def matrix(records: Iterable[Record]) -> list[Entry]:
    """The detectors in the order given."""
    known = [(one, one.detector, one.published.ap) for one in records if one.detector and one.published]
    ranks = rank([(profile.macs, -(ap or 0.0)) for _, profile, ap in known])
    return [
        Entry(record, profile, ap or 0.0, place == 1) for (record, profile, ap), place in zip(known, ranks, strict=True)
    ]


def rows(entries: Iterable[Entry]) -> list[Row]:
    """The table that stands beside the deck's."""
    return [_row(one) for one in entries]


def split_rows(entries: Iterable[Entry]) -> list[SplitRow]:
    """Where the parameters are, and the multiply-adds."""
    return [_split_row(one) for one in entries]


def differences(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """(what the deck says, what is counted and why it differs) of each count that is not the deck's."""
    return [
        (f"{one.says}: {one.deck}", _explain(one))
        for entry in entries
        for one in entry.profile.deck
        if one.metric in COUNTS and one.verdict != "right"
    ]


def findings(entries: Sequence[Entry]) -> list[str]:
    """Sentences on the detectors, the chief one first."""
    front = sorted((one for one in entries if one.front), key=lambda one: one.profile.macs)
    if len(entries) < 2:
        return []
    told = "; ".join(f"{one.title}, with {one.ap:.1f}{PERCENT} for {one.profile.macs / 1e9:.1f}G" for one in front)
    sentences = [
        f"{len(front)} of {len(entries)} detectors {'is' if len(front) == 1 else 'are'} beaten by none in both average "
        "precision and multiply-adds.",
        f"From the cheapest, they are {told}.",
    ]
    counts = [one for entry in entries for one in entry.profile.deck if one.metric in COUNTS]
    if counts:
        right = sum(one.verdict == "right" for one in counts)
        sentences.append(f"Of the deck’s {len(counts)} counts, {right} are ours at the digits that it prints.")
    shares = {one.title: _share(one.profile, "per-proposal head") for one in entries}
    most = max(shares, key=lambda title: shares[title])
    if shares[most]:
        sentences.append(
            f"A second stage costs by the proposal: of {most}’s multiply-adds, {100 * shares[most]:.0f}{PERCENT} are "
            "its head’s."
        )
    return sentences


def conditions(entries: Sequence[Entry]) -> list[str]:
    """What the times are of: the boxes that may be looked at, the proposals, and other work on the machine."""
    finds = [one.profile.finds for one in entries if one.profile.finds]
    if not finds:
        return []
    candidates, found = ([getattr(one, name) for one in finds] for name in ("candidates", "found"))
    said = [f"{_range(candidates)} boxes were certain enough for the suppression, {_range(found)} were found"]
    if proposals := [one.proposals for one in finds if one.proposals is not None]:
        said.append(f"the heads looked at {_range(proposals)} proposals")
    loads = [one.profile.measurements.machine.load.other or 0.0 for one in entries if one.profile.measurements]
    sentences = [f"{'; '.join(said)}."]
    if max(loads, default=0.0) > BUSY:
        sentences.append(f"Other work kept up to {max(loads):.0f}{PERCENT} of the machine busy: times may be too long.")
    return sentences


def markdown(entries: Sequence[Entry]) -> tuple[str, str]:
    """The two tables for a document: beside the deck's, with times where they were measured; and by part."""
    timed = any(one.profile.measurements for one in entries)
    lines = [
        (
            *(
                row.title,
                row.params.ours,
                _marked(row.params),
                row.macs.ours,
                _marked(row.macs),
                row.published,
                row.own,
            ),
            *((row.eager, row.finding, row.fastest, row.engine) if timed else ()),
        )
        for row in rows(entries)
    ]
    parts = [(row.title, *(f"{p} / {m}" if p else "" for p, m in row.cells)) for row in split_rows(entries)]
    return _table([(*MATRIX, *(TIMES if timed else ())), *lines]), _table([("detector", *PARTS), *parts])


def print_matrix(records: Iterable[Record], console: Console | None = None) -> None:
    """Print the detectors beside the deck's figures, then the parts of their multiply-adds, and what follows."""
    entries, console = matrix(records), console or Console()
    if not console.is_terminal and console.file is sys.stdout:
        console.width = WHOLE_WIDTH  # a file or a pipe has no width of its own
    whole = console.width >= WHOLE_WIDTH
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("detector", no_wrap=True)
    headings = ("params M", "deck", "GMACs", "deck", "AP %", "our AP", "eager ms")
    for heading in (*headings, *(("finding", "ms") if whole else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    if whole:
        table.add_column("engine", no_wrap=True)
    for entry, row in zip(entries, rows(entries), strict=True):
        cells = (row.params.ours, row.params.deck, row.macs.ours, row.macs.deck, row.published, row.own, row.eager)
        rest = (row.finding, row.fastest, row.engine) if whole else ()
        table.add_row(Text(row.title), *cells, *rest, style="green" if entry.front else "")
    console.print(table)
    for sentence in (*findings(entries), *(f"{said}: {truth}" for said, truth in differences(entries))):
        console.print(Text(f"\n{sentence}"))
    for sentence in conditions(entries):
        console.print(Text(f"\n{sentence}"))


def _row(one: Entry) -> Row:
    measured, finds = one.profile.measurements, one.profile.finds
    fastest = measured.fastest(1) if measured else None
    published = one.record.published
    return Row(
        run=one.record.name,
        title=one.title,
        source=", ".join(filter(None, (published.source, published.protocol))) if published else "",
        url=published.url if published else None,
        params=_figure(one, "params"),
        macs=_figure(one, "macs"),
        published=f"{one.ap:.1f}",
        own=UNKNOWN if one.profile.ap is None else f"{one.profile.ap:.1f}",
        eager=milliseconds(measured.eager(1) if measured else None),
        finding=three_digits(finds.ms) if finds else UNKNOWN,
        fastest=milliseconds(fastest),
        engine=fastest.engine if fastest else UNKNOWN,
    )


def _figure(one: Entry, metric: str) -> Figure:
    said = one.profile.deck_figure(metric)
    ours = f"{getattr(one.profile, metric) / SCALE[metric]:.2f}"
    return Figure(ours, said.deck, said.verdict, said.reason) if said else Figure(ours, UNKNOWN, "", "")


def _split_row(one: Entry) -> SplitRow:
    parts = {part.name: part for part in one.profile.parts}
    cells = (
        (f"{part.params / 1e6:.2f}", f"{part.macs / 1e9:.2f}") if (part := parts.get(name)) else ("", "")
        for name in PARTS
    )
    return SplitRow(one.record.name, one.title, tuple(cells))


def _share(profile: DetectorProfile, part: str) -> float:
    """Of all multiply-adds, those of one part."""
    return sum(one.macs for one in profile.parts if one.name == part) / profile.macs


def _explain(one: DeckFigure) -> str:
    """The count, and the reason, which may begin with it."""
    reason = one.reason.removeprefix("as printed there; ")
    return reason if reason.startswith(one.counted.partition(";")[0]) else f"{one.counted} counted: {reason}"


def _marked(figure: Figure) -> str:
    """The deck's number, slanted where it is not ours."""
    return figure.deck if figure.verdict in ("right", "") else f"*{figure.deck}*"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose first line is its head and whose figures stand on the right."""
    rule = ["---", *("---:" for _ in lines[0][1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], rule, *lines[1:]))
