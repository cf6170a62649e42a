"""The claims ledger on the terminal: what the deck says beside what papers print and networks count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from convbench.claims import ClaimResult, Decision, FigureResult, Trial

WIDTH = 100  # characters, where the output is no terminal of its own width
STYLE = {"right": "green", "wrong": "red", "ambiguous": "yellow"}
DECIDED = {"holds": "green", "fails": "red", "undecided": "yellow"}


def print_claims(
    results: Sequence[ClaimResult], console: Console | None = None, *, trials: Sequence[Trial] = ()
) -> None:
    """The claims slide by slide: deck value, what it was compared with, verdict, reason; then totals by verdict.

    trials: whose decisions stand beside the claims to which they speak
    """
    console = console or _console()
    decisions = [one for trial in trials for one in trial.decisions]
    widths = {"claim": 29, "deck": 14, "compared with": 20, "verdict": 9}
    for number, (slide, claims) in enumerate(groupby(results, key=lambda one: one.slide)):
        table = _table(console, widths, rest="reason", header=number == 0)
        table.title, table.title_justify, table.title_style = Text(f"\n{slide}"), "left", "bold underline"
        for one in claims:
            reason = f"unverified: {one.reason}" if one.confidence == "recalled" else one.reason
            reason = "\n".join((reason, *_trained([each for each in decisions if each.claim == one.id])))
            cells = (one.says, one.deck, _compared(one))
            table.add_row(*map(Text, cells), _verdict(one), Text(reason))  # Text: no markup in titles
        console.print(table)
    console.print()
    for kind, what in (("statement", "audited statements"), ("detail", "further details")):
        _print_totals(console, what, [one for one in results if one.kind == kind])
    _print_totals(console, "claims", results)
    recomputed = sum(one.recomputed for one in results)
    recalled = sum(one.confidence == "recalled" for one in results)
    console.print(
        f"{recomputed} verdicts recomputed, {len(results) - recomputed} judged; {recalled} unverified: recalled"
    )


def print_figures(results: Sequence[FigureResult], console: Console | None = None) -> None:
    """The papers' counts beside ours: those that agree after the paper's rounding, the others with the reason."""
    console = console or _console()
    table = _table(console, {"network": 19, "what": 26, "published": 11, "counted": 14}, rest="agrees, or why not")
    for one in results:
        what = f"{one.metric} {one.what}".strip() + f" ({one.source})"
        reason = ("unverified: " if one.confidence == "recalled" else "") + (one.note or "agrees")
        cells = (one.network, what, one.published, one.counted)
        table.add_row(*map(Text, cells), Text(reason, "green" if one.agrees else "yellow"))
    console.print(table)
    agreeing = sum(one.agrees for one in results)
    console.print(f"\n{len(results)} published counts: {agreeing} agree, {len(results) - agreeing} do not")


def print_trials(trials: Sequence[Trial], console: Console | None = None) -> None:
    """Suite by suite: each statement, the means over the seeds, their difference with its interval, the verdict."""
    console = console or _console()
    widths = {"better": 6, "worse": 6, "difference": 33, "seeds": 5, "verdict": 9}
    for trial in trials:
        console.print(f"\n[bold underline]{trial.title}[/]")
        took = f"The runs took {trial.minutes:,.0f} min in sum. {trial.remark}".rstrip()
        console.print(f"suite {trial.suite}; {trial.cut} {took}")
        table = _table(console, widths, rest="statement")
        for one in trial.decisions:
            unit = " epochs" if one.metric == "epochs" else " points"
            means = [f"{sum(values) / len(values):.2f}" for values in (one.better, one.worse)]
            difference = f"{one.difference:+.2f} ({one.low:+.2f} to {one.high:+.2f}){unit}"
            verdict = Text(one.verdict, DECIDED[one.verdict])
            says = f"{one.says} ({f'deck: {one.claim}' if one.claim else 'the deck says nothing of it'})"
            table.add_row(*means, difference, str(len(one.better)), verdict, Text(says))
        console.print(table)


def _compared(one: ClaimResult) -> str:
    """Papers' figures and our counts, each labelled; what a judged claim should say stands alone."""
    if not one.recomputed:
        return one.published
    values = ((one.published, " published"), (one.counted, " counted"), (one.parts, ""))
    return "\n".join(value + label for value, label in values if value)


def _trained(decisions: Sequence[Decision]) -> list[str]:
    """What trainings here say to a claim: a line a suite, with its statements by verdict."""
    lines = []
    for suite, ones in groupby(decisions, key=lambda one: one.suite):
        counts = Counter[str](one.verdict for one in ones)
        lines.append(f"{suite} here: {', '.join(f'{counts[one]} {one}' for one in DECIDED if counts[one])}")
    return lines


def _verdict(one: ClaimResult) -> Text:
    changed = "" if one.verdict == one.expected else f", expected {one.expected}"
    return Text(one.verdict + changed, STYLE[one.verdict])


def _print_totals(console: Console, what: str, results: Sequence[ClaimResult]) -> None:
    if results:
        counts = Counter[str](one.verdict for one in results)
        console.print(f"{len(results)} {what}: {', '.join(f'{counts[verdict]} {verdict}' for verdict in STYLE)}")


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH  # a file or a pipe has no width of its own
    return console


def _table(console: Console, widths: dict[str, int], *, rest: str, header: bool = True) -> Table:
    """Columns by heading and width; the last takes what is left of the line."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0), show_header=header)
    left = console.width - sum(width + 1 for width in widths.values())
    for heading, width in (*widths.items(), (rest, max(left, 16))):
        table.add_column(heading, width=width, overflow="fold")
    return table
