"""What other counters say of a network, on the terminal: each total, and under it what makes it differ from ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from convbench.counting.referees import Comparison, Difference, Opinion


def print_referees(comparison: Comparison) -> None:
    """The count here, what each referee says with every difference by name, and what is printed elsewhere."""
    shape = "x".join(map(str, comparison.input_shape))
    print(f"{comparison.network}, one {shape} image in evaluation\n")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(f"{comparison.macs:,}", Text("multiply-adds counted here", "bold"))
    for opinion in comparison.opinions:
        table.add_row()
        _add(table, opinion)
    if comparison.published:
        table.add_row()
        for source, figure in comparison.published.items():
            table.add_row(Text(figure), Text(f"in print: {source}"))
    Console().print(table)
    print(f"\n{_verdict(comparison)}")


def _add(table: Table, opinion: Opinion) -> None:
    title = f"{opinion.referee} {opinion.version}"
    if opinion.total is None:
        table.add_row("", Text(f"{title} fails: {opinion.failed}", "red"))
        return
    table.add_row(f"{opinion.total:,}", Text(f"{title}, {opinion.unit}: {opinion.rule}", "bold"))
    for difference in opinion.differences:
        table.add_row(f"{difference.amount:+,}", Text(_in_words(difference)))
    if opinion.unexplained:
        table.add_row(f"{opinion.unexplained:+,}", Text("unexplained", "red"))
    if opinion.total == opinion.ours:
        table.add_row("", "the same as here")


def _in_words(difference: Difference) -> str:
    calls = "" if difference.calls == 1 else f" ({difference.calls:,} times)"
    return f"{difference.operator}{calls}: {difference.what}"


def _verdict(comparison: Comparison) -> str:
    unexplained = [one.referee for one in comparison.opinions if one.unexplained]
    failed = [one.referee for one in comparison.opinions if one.total is None]
    if unexplained:
        return f"Not explained to the last operation: {', '.join(unexplained)}."
    silent = f"No answer from {', '.join(failed)}. " if failed else ""
    return f"{silent}Every difference is explained to the last operation."
