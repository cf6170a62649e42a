"""The networks and detectors on the terminal: the list of all, and the story of each on one screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.published_figures import (
    UNKNOWN,
    listed,
    measured_on,
    told_errors,
    told_facts,
    told_precisions,
)
from convbench.report.retelling import describe_detectors, describe_network, describe_networks

__all__ = ["describe_detectors", "describe_network", "describe_networks", "print_networks", "print_story"]

LIST_WIDTH, STORY_WIDTH = 120, 104  # characters where no terminal says; longer lines of prose are hard to read
FOOTER = (
    "M: millions. Errors are a single network's, as its own paper gives them. One crop, ten crops and dense evaluation "
    "differ by more than many neighbours in this list do: compare within a protocol.\n"
    "¹ without 1,700 blacklisted images, which flatters by 0.2 to 0.3   ² unverified: the paper was not at hand\n"
    "AP: average precision of COCO, over overlaps of 0.5 to 0.95, by table 13 of Howard et al. 2017.\n"
    "The story of one: convbench models NAME"
)


def print_networks(family: str | None = None, console: Console | None = None) -> None:
    """The networks, a line each: year, counts, published errors with their protocol; a dash where there are none. Then
    the detectors, with their average precision.

    With `family`, that family's only; RequestError for an unknown one.
    """
    console = console or _console(LIST_WIDTH)
    networks, detectors = describe_networks(family), describe_detectors(family)
    if networks:
        table = _listing("network", "top-1\n%", "top-5\n%")
        for entry in _with_gaps(table, networks):
            table.add_row(
                *_counts(entry),
                str(entry.get("top1_error", entry.get("error", UNKNOWN))),
                str(entry.get("top5_error", UNKNOWN if "error" not in entry else "")),
                Text(measured_on(entry)),
            )
        console.print(table)
        console.print()
    if detectors:
        table = _listing("detector", "AP\n%")
        for entry in _with_gaps(table, detectors):
            table.add_row(*_counts(entry), str(entry["ap"]), f"COCO minival, {entry['input'][-1]} pixels")
        console.print(table)
        console.print()
    console.print(Text(FOOTER, "dim"))


def _listing(what: str, *measures: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(what, no_wrap=True)
    for heading in ("year", "params,\nM", "multiply-\nadds, M", *measures):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("measured on")
    return table


def _with_gaps(table: Table, entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The entries in turn, with an empty row in the table between families."""
    above = None
    for entry in entries:
        if above not in (None, entry["family"]):
            table.add_row()
        above = entry["family"]
        yield entry


def _counts(entry: dict[str, Any]) -> tuple[str, ...]:
    millions = f"{entry['params'] / 1e6:,.3f}", f"{entry['macs'] / 1e6:,.1f}"
    return entry["name"], str(entry.get("year", UNKNOWN)), *millions


def print_story(name: str, console: Console | None = None) -> None:
    """A network or a detector on one screen: its paper, the idea, the paper's table, departures, errors, relatives.

    Raises RequestError for an unknown name.
    """
    story = describe_network(name)
    console = console or _console(STORY_WIDTH)
    console.width = min(console.width, STORY_WIDTH)
    console.print(Text.assemble((story["title"], "bold"), f"  {name}"))
    if "paper" in story:
        if story["published_in"]:
            console.print(Text(story["published_in"]["title"], "italic"))
        arxiv = f"arXiv:{story['arxiv']}" if "arxiv" in story else ""
        public = "" if str(story["year"]) in story["paper"] else f"public in {story['year']}"
        console.print(Text(listed(story["paper"], arxiv, public)))
    if story["about"]:
        console.print()
        console.print(_marked(story["about"]))
    console.print()
    console.print(_grid([(_bold(label), text) for label, text in told_facts(story)]))
    for table in story["tables"]:
        console.print()
        if table["caption"]:
            console.print(_marked(table["caption"]))
        console.print(_named(Text(table["text"], no_wrap=True), name), crop=False, overflow="ignore")
    if story["departures"]:
        console.print(Text("\nDepartures", "bold"))
        console.print(_grid([("-", _marked(departure)) for departure in story["departures"]], gap=1))
    if errors := told_errors(story["figures"]):
        console.print(Text("\nPublished errors", "bold"))
        console.print(_grid(errors))
    if precisions := told_precisions(story["figures"]):
        console.print(Text("\nPublished average precision", "bold"))
        console.print(_grid(precisions))
    console.print()
    relatives = _named(Text(" ".join(story["relatives"])), name)
    console.print(_grid([(_bold("relatives"), relatives), (_bold("try"), "\n".join(story["commands"]))]))


def _grid(rows: Sequence[tuple[str | Text, ...]], *, gap: int = 2) -> Table:
    grid = Table.grid(padding=(0, gap, 0, 0))
    grid.add_column(no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))  # square brackets are no markup
    return grid


def _bold(text: str) -> Text:
    return Text(text, "bold")


def _marked(text: str) -> Text:
    """Prose with what stands in backticks set off."""
    return Text.assemble(*((part, "cyan" if i % 2 else "") for i, part in enumerate(text.split("`"))))


def _named(text: Text, name: str) -> Text:
    """`text` with the network's own name set off."""
    text.highlight_regex(rf"(?<!\w){name}(?!\w)", "bold green")
    return text


def _console(width: int) -> Console:
    """The terminal, or `width` characters where the output goes to a file or a pipe, which have none of their own."""
    console = Console()
    if not console.is_terminal and console.file is sys.stdout:
        console.width = width
    return console
