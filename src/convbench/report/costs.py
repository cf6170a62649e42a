"""The cost of a network on the terminal: first a screen that a person can read, every row and column when asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from convbench.report.cost_lines import Line, merge_rows, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from convbench.claims import ClaimResult
    from convbench.counting import Cost, Row

ROOM_FOR_KINDS = 100  # columns of a terminal
EVERY_COLUMN = 190
BYTES_A_VALUE = 4  # of a 32-bit float
LEGEND = "sees: pixels across the receptive field, padding included. %: of the total."
NAMES = 17  # columns of the totals' names


def print_cost(
    cost: Cost, *, every_row: bool = False, every_column: bool = False, claims: Sequence[ClaimResult] = ()
) -> None:
    """The table with its totals.

    Args:
        every_row: a line for each row; else elementwise layers stand with the layer before them, and where that is
            still longer than a screen, a module has one line
        every_column: all that is known of a row
        claims: what the deck says of these totals; those that do not hold stand below
    """
    console = Console(width=EVERY_COLUMN) if every_column else Console()
    print(f"{cost.network}, one {_times(cost.input_shape)} image\n{cost.convention.name}\n")
    lines = [Line(row.name, [row], row.kind) for row in cost.rows] if every_row else shorten(merge_rows(cost.rows))
    columns = columns_of(cost, every_column=every_column, with_kinds=console.width >= ROOM_FOR_KINDS)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for heading in columns:
        is_text = heading in ("layer", "kind")
        overflow: OverflowMethod = "ellipsis" if heading == "kind" else "fold"
        table.add_column(
            Text(heading), justify="left" if is_text else "right", overflow=overflow, no_wrap=heading == "kind"
        )
    own = {"layer": "input", "output": _times(cost.input_shape), "values": f"{math.prod(cost.input_shape):,}"}
    table.add_row(*(Text(own.get(heading, "")) for heading in columns))
    for line in lines:
        table.add_row(*(Text(cell(line)) for cell in columns.values()))
    console.print(table)
    print()
    _print_totals(cost, console)
    for claim in claims:
        if claim.verdict != "right":
            place = f"the deck's {claim.deck} ({claim.says}, slide {claim.slide})"
            console.print(Text(f"{claim.verdict}: {place}: {claim.reason}"))
    if cost.unknown:
        unknown = "; ".join(map(str, cost.unknown))
        console.print(Text(f"not counted, no rule known: {unknown}; the totals are lower bounds"))
    console.print(Text(f"\n{LEGEND}", "dim"))
    if len(lines) < len(cost.rows):
        print(f"--layers shows each of the {len(cost.rows)} rows, --wide every column")


def print_parts(parts: Sequence[dict[str, Any]]) -> None:
    """What the parts of a detector cost, which add up to its totals; how often each runs for an image."""
    print()
    for part in parts:
        macs, params, times = f"{part['macs']:,}", f"{part['params']:,}", part["times"]
        often = f", in {times} runs" if times > 1 else ""
        print(f"{part['name']:<{NAMES}} {macs} multiply-adds{often}, {params} parameters")


def columns_of(cost: Cost, *, every_column: bool, with_kinds: bool) -> dict[str, Callable[[Line], str]]:
    """The columns by their headings, and what stands in them."""
    convention, total = cost.convention, cost.total()
    counted: Callable[[Line], int] = lambda line: sum(row.total(convention) for row in line.rows)  # noqa: E731
    columns: dict[str, Callable[[Line], str]] = {"layer": lambda line: line.name}
    if with_kinds:
        columns["kind"] = lambda line: line.kind
    columns |= {
        "output": lambda line: _times(line.last.output_shape),
        "sees": lambda line: _seen(line.last),
        "params": lambda line: _number(line.sum_of("params")),
        convention.unit_in_words: lambda line: _number(counted(line)),
        "%": lambda line: f"{100 * counted(line) / total:.1f}" if counted(line) else "",
        "values": lambda line: _number(line.stored_values),
    }
    if every_column:
        columns |= {
            "stride": lambda line: _pair(line.last, "stride"),
            "offset": lambda line: _pair(line.last, "offset"),
            "connections": lambda line: _number(line.sum_of("connections")),
            "all values": lambda line: _number(line.sum_of("activations")),
            "bytes read": lambda line: _number(line.sum_of("bytes_read")),
            "written": lambda line: _number(line.sum_of("bytes_written")),
            "FLOPs a byte": lambda line: "" if line.intensity is None else f"{line.intensity:.2f}",
        }
    return columns


def _print_totals(cost: Cost, console: Console) -> None:
    """Every total with its unit, and what each class of operations contributes."""
    auxiliary = f"; {cost.auxiliary_params:,} more in auxiliary heads, for training" if cost.auxiliary_params else ""
    values = f"{_megabytes(cost.stored_values)}, elementwise layers in place"
    lines = {
        "parameters": (cost.params, f"{_megabytes(cost.params)}{auxiliary}"),
        cost.convention.unit_in_words: (cost.total(), ""),
        "connections": (cost.connections, "links between units, biases included"),
        "values": (cost.stored_values, values),
    }
    width = max(len(f"{number:,}") for number, _ in lines.values())
    for name, (number, note) in lines.items():
        console.print(Text(f"{name:<{NAMES}}{number:>{width},}  {note}".rstrip()))
    for part, operations in (("forward", cost.operations), ("backward", cost.backward), ("optimiser", cost.optimiser)):
        if operations:
            largest = sorted(operations.items(), key=lambda one: -one[1])
            classes = ", ".join(f"{name.replace('_', ' ')} {_short(number)}" for name, number in largest)
            console.print(Text(f"{f'FLOPs, {part}':<{NAMES}}{classes}"))


def _times(numbers: Iterable[int]) -> str:
    return "x".join(map(str, numbers))


def _number(number: int) -> str:
    return f"{number:,}" if number else ""


def _short(number: int) -> str:
    """Three digits and a letter: 22.2 M."""
    for letter, scale in (("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {letter}" if number < 1000 * scale else f"{number / scale:,.0f} {letter}"
    return str(number)


def _megabytes(values: int) -> str:
    """Of 32-bit floats."""
    return f"{values * BYTES_A_VALUE / 1e6:,.1f} MB"


def _seen(row: Row) -> str:
    """The side of the field, or its rows and columns where they differ."""
    if row.receptive_field is None:
        return "?" if row.operations else ""
    rows, columns = row.receptive_field.size
    return str(rows) if rows == columns else f"{rows}x{columns}"


def _pair(row: Row, part: str) -> str:
    if row.receptive_field is None:
        return ""
    rows, columns = getattr(row.receptive_field, part)
    return str(rows) if rows == columns else f"{rows},{columns}"
