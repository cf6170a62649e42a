"""What a check of photographs found, on one page of the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convbench.report.predictions import bar

LISTED = 10  # files or classes of a kind that are named; --json has them all


def print_check(check: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `DataCheck.to_dict` says: counts, balance, sizes, odd and bad files, copies."""
    console = console or Console()
    for name, split in check["splits"].items():
        bad = f", {len(split['bad']):,} of them bad" if split["bad"] else ", all readable"
        _say(console, f"{name}: {split['n']:,} photographs{bad}, fingerprint {split['fingerprint']}", "bold")
        _say(console, f"from {split['source']}")
        if split["largest"]:
            _say(
                console,
                f"{split['median_megapixels']:.2f} megapixels in the middle, at most {split['largest_megapixels']:.2f} "
                f"({split['largest']})",
            )
        console.print()
    _print_classes(check["splits"], console)
    _print_bars("shorter side", {name: split["shorter"] for name, split in check["splits"].items()}, console)
    _print_bars("odd, but read", {name: split["odd"] for name, split in check["splits"].items()}, console)
    if check["others"]:
        suffixes = ", ".join(f"{suffix} {count:,}" for suffix, count in check["others"].items())
        _say(console, f"other files, which are not looked at: {suffixes}\n")
    _print_copies(check["copies"], console)
    for name, split in check["splits"].items():
        if split["bad"]:
            share = len(split["bad"]) / split["n"]
            _say(console, f"bad files of {name}: {len(split['bad']):,}, {share:.2%}", "bold red")
            _list(console, [f"{one['path']}: {one['reason']}" for one in split["bad"]])
            console.print()


def _print_classes(splits: Mapping[str, Any], console: Console) -> None:
    """A bar for each class, the largest first; of many, the ends."""
    first = next(iter(splits.values()))["per_class"]
    order = sorted(first, key=lambda name: -first[name])
    balances = ", ".join(
        f"{name} {split['balance']:.2f}" if split["balance"] else f"{name} has an empty class"
        for name, split in splits.items()
    )
    _say(console, f"{len(order):,} classes; the largest over the smallest: {balances}")
    shown = order if len(order) <= 2 * LISTED else [*order[:LISTED], *order[-LISTED:]]
    _print_bars(
        "class", {name: {one: split["per_class"][one] for one in shown} for name, split in splits.items()}, console
    )
    if len(shown) < len(order):
        _say(console, f"and {len(order) - len(shown):,} classes between these; --json has them all\n")


def _print_bars(heading: str, columns: Mapping[str, Mapping[str, int]], console: Console) -> None:
    """A row for each name; for each split its number, and a bar in proportion to the largest of that split."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    if not names:
        return
    if heading == "shorter side":
        names.sort(key=lambda label: int(label.replace("-", " ").split()[0]))
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(heading, overflow="fold")
    for split in columns:
        table.add_column(split, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
    for name in names:
        cells = list[Text]()
        for column in columns.values():
            count, most = column.get(name, 0), max(column.values(), default=0)
            cells += [Text(f"{count:,}"), Text(bar(100 * count / most) if count else "", "cyan")]
        table.add_row(Text(name), *cells)
    console.print(table)
    console.print()


def _print_copies(copies: Sequence[Mapping[str, Any]], console: Console) -> None:
    kinds = {
        "leaks: the same pixels in training and test": [one for one in copies if len(one["splits"]) > 1],
        "contradictions: the same pixels in two classes": [one for one in copies if len(one["classes"]) > 1],
        "repetitions: the same pixels twice in a split": [
            one for one in copies if len(one["splits"]) == len(one["classes"]) == 1
        ],
    }
    for title, group in kinds.items():
        _say(console, f"{title}: {len(group):,}", "bold red" if group and "repetitions" not in title else "bold")
        _list(console, [" = ".join(one["files"]) for one in group])
    console.print()


def _list(console: Console, lines: Sequence[str]) -> None:
    for line in lines[:LISTED]:
        _say(console, f"  {line}")
    if len(lines) > LISTED:
        _say(console, f"  and {len(lines) - LISTED:,} more; --json has them all")


def _say(console: Console, line: str, style: str = "") -> None:
    """Text, not markup: names of files have square brackets."""
    console.print(Text(line, style), soft_wrap=True)
