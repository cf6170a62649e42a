"""The tables of a comparison: the networks by efficiency, for page and terminal, and the deck's table put right."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.comparison import Entry, compare, explain, findings, other_work
from convbench.report.profiles import Cell, Timed, median
from convbench.report.records import Record

UNKNOWN = "–"
WHOLE_WIDTH = 128  # characters that the table with all its columns takes

LAYERS = ("conv_layers", "full_layers", "kernels")
PARAMS = ("conv_params", "full_params", "params")  # in millions
MACS = ("conv_macs", "full_macs", "macs")  # in 10^9
ERRORS = ("top1_error", "top5_error")


@dataclass(frozen=True)
class Row:
    """One network as text. For one image, except images_per_s; faster: than eager, in pairs.

    source, url: of its published errors
    """

    run: str
    title: str
    source: str
    url: str | None
    rank: str
    front: bool
    fast_front: bool
    params: str
    macs: str
    top1: str
    top5: str
    mark: str
    eager: str
    fastest: str
    interval: str
    engine: str
    faster: str
    images_per_s: str


@dataclass(frozen=True)
class Corrected:
    """One cell of the deck's table: ours, and where the deck has another number that, its verdict and why."""

    text: str
    deck: str = ""
    verdict: str = ""
    reason: str = ""


@dataclass(frozen=True)
class DeckRow:
    """One network's row of the deck's table; `mark` as of its errors' protocol."""

    run: str
    title: str
    cells: tuple[Corrected, ...]
    mark: str


def rows(entries: Iterable[Entry]) -> list[Row]:
    """The networks in the order given."""
    return [_row(one) for one in entries]


def deck_rows(entries: Iterable[Entry]) -> list[DeckRow]:
    """The deck's table for these networks, in the order given: every number of ours, and the deck's where it is not."""
    return [_deck_row(one) for one in entries]


def print_comparison(records: Iterable[Record], console: Console | None = None) -> None:
    """Print the networks by efficiency, on a narrow terminal without parameters and eager, and what follows."""
    entries, console = compare(records), console or Console()
    if not console.is_terminal and console.file is sys.stdout:
        console.width = WHOLE_WIDTH  # a file or a pipe has no width of its own
    whole = console.width >= WHOLE_WIDTH
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", no_wrap=True)
    headings = {"rank": "rank", "params": "params M", "macs": "GMACs", "top1": "top-1 %", "top5": "top-5 %"}
    headings |= {"eager": "eager ms", "fastest": "ms", "faster": "faster", "images_per_s": "images/s"}
    narrow = ("rank", "macs", "top1", "fastest")
    shown = [name for name in headings if whole or name in narrow]
    for name in shown:
        table.add_column(headings[name], justify="right", no_wrap=True)
    table.add_column("engine", no_wrap=True)
    table.add_column("error of", no_wrap=True)
    for row in rows(entries):
        figures = [getattr(row, name) for name in shown]
        style = "green" if row.front else "dim" if row.mark else ""
        table.add_row(Text(row.title), *figures, row.engine, Text(row.mark), style=style)
    console.print(table)
    sentences = findings(entries)
    if busy := other_work(entries):
        sentences.append(f"Other work kept up to {busy:.0f} % of the machine busy: the milliseconds may be too long.")
    for sentence in sentences:
        console.print(Text(f"\n{sentence}"))


def _row(one: Entry) -> Row:
    ratio = one.fastest.ratio_to_eager if one.fastest else None
    latency = one.fastest.latency_ms if one.fastest else None
    speed = one.batched.images_per_s if one.batched else None
    return Row(
        run=one.record.name,
        title=one.title,
        source=one.published.source or "",
        url=one.published.url,
        rank=UNKNOWN if one.rank is None else str(one.rank),
        front=one.front,
        fast_front=one.fast_front,
        params=three_digits(one.params / 1e6),
        macs=three_digits(one.macs / 1e9),
        top1=_error(one.error),
        top5=_error(one.published.top5_error),
        mark=one.published.mark or "",
        eager=milliseconds(one.eager),
        fastest=milliseconds(one.fastest),
        interval="–".join(three_digits(end) for end in latency.interval) if latency else UNKNOWN,
        engine=one.fastest.engine if one.fastest else UNKNOWN,
        faster=f"{ratio.value:.1f}×" if ratio else UNKNOWN,
        images_per_s=f"{speed:.0f}" if speed else UNKNOWN,
    )


def deck_cells(one: Entry) -> dict[str, Corrected]:
    """The network's row of the deck's table by its columns; parameters in millions, multiply-adds in 10⁹."""
    counts = one.profile.counts
    texts = {name: str(getattr(counts, name)) for name in LAYERS}
    texts |= {name: three_digits(getattr(counts, name) / 1e6) for name in PARAMS}
    texts |= {name: three_digits(getattr(counts, name) / 1e9) for name in MACS}
    texts |= {"top1_error": _error(one.error), "top5_error": _error(one.published.top5_error)}
    said = {cell.column: cell for cell in one.profile.deck if cell.own}
    return {name: _corrected(name, text, said.get(name)) for name, text in texts.items()}


def _deck_row(one: Entry) -> DeckRow:
    return DeckRow(one.record.name, one.title, tuple(deck_cells(one).values()), one.published.mark or "1 crop")


def _corrected(column: str, text: str, cell: Cell | None) -> Corrected:
    """With the deck's number where that is not right; where it is right by another protocol than ours, too."""
    if cell is None or (cell.verdict == "right" and (column not in ERRORS or cell.deck == text)):
        return Corrected(text)
    return Corrected(text, cell.deck, cell.verdict, explain(cell))


def _error(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1f}"


def milliseconds(timed: Timed | None) -> str:
    """The median of a batch, as text."""
    return three_digits(median(timed)) if timed else UNKNOWN


def three_digits(value: float) -> str:
    """Three significant digits, and more only before the point."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:#.3g}".rstrip(".")
