"""Detectors that were costed and measured, compared: the rows of the tables, what follows from them, and in words."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.comparison import BUSY, rank
from convbench.report.detectors import Latency, Matrix
from convbench.report.efficiency import UNKNOWN, three_digits
from convbench.report.findings import PERCENT
from convbench.report.records import Record

FAMILIES = {"ssd": "SSD", "faster_rcnn": "Faster R-CNN"}
PARTS = ("backbone", "extra layers", "heads", "proposal network", "head of a region")
SCALE = {"macs": 1e9, "params": 1e6}
NAMES = {"macs": "multiply-adds, 10⁹", "params": "parameters, 10⁶"}
WHOLE_WIDTH = 120  # characters that the terminal's table with all its columns takes
MATRIX = ("detector", "parameters, 10⁶", "deck", "multiply-adds, 10⁹", "deck", "AP published, %", "AP ours, %")
TIMES = ("eager, ms", "of which boxes", "fastest, ms", "engine")


@dataclass(frozen=True)
class Entry:
    """One detector. front: whether no other has as high a published precision for as few multiply-adds"""

    record: Record
    known: Matrix
    front: bool

    @property
    def title(self) -> str:
        return self.record.title

    @property
    def ap(self) -> float:
        """Published, percent."""
        return self.known.published.ap

    @property
    def latency_ms(self) -> float | None:
        """Of eager, which times every detector; None where nothing was timed."""
        return self.known.eager.p50 if self.known.eager else None


@dataclass(frozen=True)
class Figure:
    """A count of ours beside the deck's; what the deck's is by the ledger, and why, where it is not simply right."""

    ours: str
    deck: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One detector as text; published and own precision never share a field. `boxes`: what follows the network."""

    title: str
    params: Figure
    macs: Figure
    published: str
    own: str
    eager: str
    boxes: str
    fastest: str
    engine: str


@dataclass(frozen=True)
class SplitRow:
    """(parameters, multiply-adds) of each part of a detector, as text; one that it has not is empty."""

    title: str
    cells: tuple[tuple[str, str], ...]


def compare_detectors(records: Iterable[Record]) -> list[Entry]:
    """Those that were counted, in the order given."""
    counted = [(record, record.matrix) for record in records if record.matrix]
    ranks = rank([(known.macs, -known.published.ap) for _, known in counted])
    return [Entry(record, known, place == 1) for (record, known), place in zip(counted, ranks, strict=True)]


def rows(entries: Iterable[Entry]) -> list[Row]:
    """The table that stands beside the deck's."""
    return [_row(one) for one in entries]


def split_rows(entries: Iterable[Entry]) -> list[SplitRow]:
    """Where the parameters are, and the multiply-adds."""
    return [_split_row(one) for one in entries]


def differences(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """(what the deck says, what is counted and why it differs) of each count that is not the deck's."""
    return [
        (f"{entry.title}, {NAMES[one.metric]}: {one.deck}", f"{_count(entry.known, one.metric)} counted: {one.reason}")
        for entry in entries
        for one in entry.known.deck
        if one.verdict != "right"
    ]


def findings(entries: Sequence[Entry]) -> list[str]:
    """Sentences on the detectors, the chief one first."""
    front = sorted((one for one in entries if one.front), key=lambda one: one.known.macs)
    if len(entries) < 2:
        return []
    told = "; ".join(f"{one.title}, with {one.ap:.1f}{PERCENT} for {one.known.macs / 1e9:.1f}G" for one in front)
    sentences = [
        f"{len(front)} of {len(entries)} detectors are beaten by none in both average precision and multiply-adds.",
        f"From the cheapest, they are {told}.",
    ]
    counts = [one for entry in entries for one in entry.known.deck]
    if counts:
        right = sum(one.verdict == "right" for one in counts)
        sentences.append(
            f"Of the deck’s {len(counts)} counts, {right} are ours at the digits that it prints, rounded or cut."
        )
    shares = {one.title: _share(one.known, PARTS[-1]) for one in entries}
    most = max(shares, key=lambda title: shares[title])
    if shares[most]:
        sentences.append(
            f"A second stage costs by the proposal: of {most}’s multiply-adds, {100 * shares[most]:.0f}{PERCENT} are "
            "its head’s."
        )
    return sentences


def conditions(entries: Sequence[Entry]) -> list[str]:
    """What the times are of: the boxes that may come to the suppression, those left, and other work on the machine."""
    eager = [one.known.eager for one in entries if one.known.eager]
    if not eager:
        return []
    candidates, found = (_range([getattr(one, name) for one in eager]) for name in ("candidates", "found"))
    sentences = [f"Up to {candidates} boxes may come to the suppression; {found} were left."]
    most = max((one.known.load.other or 0.0 for one in entries if one.known.load), default=0.0)
    if most > BUSY:
        sentences.append(f"Other work kept up to {most:.0f}{PERCENT} of the machine busy: times may be too long.")
    return sentences


def markdown(entries: Sequence[Entry]) -> tuple[str, str]:
    """The two tables for a document: beside the deck's, with times where they were measured; and by part."""
    timed = any(one.known.latencies for one in entries)
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
            *((row.eager, row.boxes, row.fastest, row.engine) if timed else ()),
        )
        for row in rows(entries)
    ]
    parts = [(row.title, *(f"{p} / {m}" if p else "" for p, m in row.cells)) for row in split_rows(entries)]
    return _table([(*MATRIX, *(TIMES if timed else ())), *lines]), _table([("detector", *PARTS), *parts])


def print_matrix(records: Iterable[Record], console: Console | None = None) -> None:
    """Print the detectors beside the deck's figures, then the parts of their multiply-adds, and what follows."""
    entries, console = compare_detectors(records), console or Console()
    if not console.is_terminal and console.file is sys.stdout:
        console.width = WHOLE_WIDTH  # a file or a pipe has no width of its own
    whole = console.width >= WHOLE_WIDTH
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("detector", no_wrap=True)
    headings = ("params M", "deck", "GMACs", "deck", "AP %", "our AP", "eager ms")
    for heading in (*headings, *(("boxes ms", "fastest") if whole else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    if whole:
        table.add_column("engine", no_wrap=True)
    for entry, row in zip(entries, rows(entries), strict=True):
        cells = (row.params.ours, row.params.deck, row.macs.ours, row.macs.deck, row.published, row.own, row.eager)
        rest = (row.boxes, row.fastest, row.engine) if whole else ()
        table.add_row(Text(row.title), *cells, *rest, style="green" if entry.front else "")
    console.print(table)
    for sentence in (*findings(entries), *(f"{said}: {truth}" for said, truth in differences(entries))):
        console.print(Text(f"\n{sentence}"))
    for sentence in conditions(entries):
        console.print(Text(f"\n{sentence}"))


def _row(one: Entry) -> Row:
    eager, fastest = one.known.eager, one.known.fastest
    return Row(
        title=one.title,
        params=_figure(one, "params"),
        macs=_figure(one, "macs"),
        published=f"{one.ap:.1f}",
        own=UNKNOWN if one.known.ap is None else f"{one.known.ap:.1f}",
        eager=_milliseconds(eager),
        boxes=three_digits(eager.boxes_p50) if eager else UNKNOWN,
        fastest=_milliseconds(fastest),
        engine=fastest.engine if fastest else UNKNOWN,
    )


def _milliseconds(latency: Latency | None) -> str:
    return three_digits(latency.p50) if latency else UNKNOWN


def _figure(one: Entry, metric: str) -> Figure:
    said, ours = one.known.deck_figure(metric), _count(one.known, metric)
    return Figure(ours, said.deck, said.verdict, said.reason) if said else Figure(ours, UNKNOWN, "", "")


def _count(known: Matrix, metric: str) -> str:
    """In the deck's unit, with a digit more than it has."""
    return f"{getattr(known, metric) / SCALE[metric]:.2f}"


def _split_row(one: Entry) -> SplitRow:
    parts = {part.name: part for part in one.known.parts}
    cells = (
        (f"{part.params / 1e6:.2f}", f"{part.macs / 1e9:.2f}") if (part := parts.get(name)) else ("", "")
        for name in PARTS
    )
    return SplitRow(one.title, tuple(cells))


def _share(known: Matrix, part: str) -> float:
    """Of all multiply-adds, those of one part."""
    return sum(one.macs for one in known.parts if one.name == part) / known.macs


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
