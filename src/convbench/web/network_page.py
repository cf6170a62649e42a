"""What a network's page shows: its architecture, its layers and what they cost, as text and drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from convbench.counting import Cost
from convbench.detection.parts import PARTS, split_cost
from convbench.detection.parts import Part as PartCost
from convbench.detection.registry import names as detectors
from convbench.report.cost_lines import Line, merge_rows, shorten
from convbench.report.costs import columns_of
from convbench.web.architecture import Layer, Part, Repeat, layers_of, read_architecture
from convbench.web.architecture_layout import Scale, scale_for
from convbench.web.architecture_svg import Look, draw_network, draw_parts

Detail = Literal["modules", "layers", "rows"]

DETAILS: dict[Detail, str] = {
    "modules": "modules, on one screen",
    "layers": "layers, each with the elementwise ones behind it",
    "rows": "every row of the trace",
}
READABLE = 130  # lines; what has more layers is shown by modules unless asked otherwise
LEVELS = 8  # of a tint
COLUMNS = ("layer", "kind", "output", "sees", "stride", "params", "", "%", "values")  # "": what is counted
FAINTEST, DARKEST = 0.07, 0.85  # of a slab


@dataclass(frozen=True)
class LineView:
    """A line of the table. cells: its texts; levels: of their tints, 0 where a cell has none; number: from 1"""

    number: int
    cells: tuple[str, ...]
    levels: tuple[int, ...]


@dataclass(frozen=True)
class Unfolded:
    """Repeated blocks one by one."""

    id: str
    title: str
    drawing: Markup


@dataclass(frozen=True)
class Strip:
    """A part of the drawing with a title of its own; a network has one without, a detector one a part."""

    title: str
    note: str
    drawing: Markup


@dataclass(frozen=True)
class CostView:
    """All that the page says of a cost.

    totals: (name, number, note); classes: of operations, likewise; headings and lines: of the table
    """

    strips: tuple[Strip, ...]
    unfolded: tuple[Unfolded, ...]
    headings: tuple[str, ...]
    lines: tuple[LineView, ...]
    totals: tuple[tuple[str, str, str], ...]
    unknown: str
    detail: Detail


def view_cost(cost: Cost, detail: Detail | None) -> CostView:
    """As the page shows it, in the detail asked for or the finest that is still readable."""
    merged = merge_rows(cost.rows)
    if detail is None:
        detail = "layers" if len(merged) <= READABLE else "modules"
    every = [Line(row.name, [row], row.kind) for row in cost.rows]
    lines = {"modules": shorten(merged), "layers": merged, "rows": every}[detail]
    strips, unfolded = _draw(cost, lines)
    headings, shown = _table(cost, lines)
    unit = cost.convention.unit_in_words
    training = f"{cost.auxiliary_params:,} more in auxiliary heads, for training" if cost.auxiliary_params else ""
    totals = [
        ("parameters", f"{cost.params:,}", training),
        (unit, f"{cost.total():,}", cost.convention.name),
        ("values", f"{cost.stored_values:,}", "that a forward pass keeps room for, elementwise layers in place"),
        ("connections", f"{cost.connections:,}", "links between units, biases included"),
    ]
    if cost.network in detectors():
        totals += [(part.name, f"{part.macs:,}", _often(part)) for part in split_cost(cost)]
    return CostView(
        strips=strips,
        unfolded=unfolded,
        headings=headings,
        lines=shown,
        totals=tuple(totals),
        unknown="; ".join(map(str, cost.unknown)),
        detail=detail,
    )


def _often(part: PartCost) -> str:
    runs = f" in {part.times} runs" if part.times > 1 else ""
    return f"multiply-adds{runs}; {part.params:,} parameters"


def _table(cost: Cost, lines: Sequence[Line]) -> tuple[tuple[str, ...], tuple[LineView, ...]]:
    """The terminal's columns, with tints for what has a share of the whole."""
    convention = cost.convention
    columns = columns_of(cost, every_column=True, with_kinds=True)
    chosen = {name or convention.unit_in_words: columns[name or convention.unit_in_words] for name in COLUMNS}
    heat = {
        "params": [line.sum_of("params") for line in lines],
        convention.unit_in_words: [sum(row.total(convention) for row in line.rows) for line in lines],
        "values": [line.stored_values for line in lines],
    }
    totals = {name: sum(numbers) for name, numbers in heat.items()}
    shown = tuple(
        LineView(
            number=place + 1,
            cells=tuple(cell(line) for cell in chosen.values()),
            levels=tuple(level(heat[name][place], totals[name]) if name in heat else 0 for name in chosen),
        )
        for place, line in enumerate(lines)
    )
    return tuple(chosen), shown


def level(number: int, total: int) -> int:
    """The tint of a share: its square root in eighths, so that a hundredth can still be told from nothing.

    >>> level(0, 100), level(1, 100), level(25, 100), level(100, 100)
    (0, 1, 4, 8)
    """
    return math.ceil(LEVELS * math.sqrt(number / total)) if number else 0


def _draw(cost: Cost, lines: Sequence[Line]) -> tuple[tuple[Strip, ...], tuple[Unfolded, ...]]:
    rows = {id(row): number for number, line in enumerate(lines, start=1) for row in line.rows}
    counts, total = [row.total(cost.convention) for row in cost.rows], cost.total()
    repeats = list[Repeat]()

    def share(layer: Layer) -> float:
        return sum(counts[place] for place in layer.rows)

    def title(layer: Layer) -> str:
        params = sum(cost.rows[place].params for place in layer.rows)
        part = f"{100 * share(layer) / max(total, 1):.1f} %"
        shape = " × ".join(map(str, layer.row.output_shape))
        unit = cost.convention.unit_in_words
        return f"{layer.name}, {layer.row.kind}: {shape}; {params:,} parameters; {share(layer):,.0f} {unit}, {part}"

    def href(repeat: Repeat) -> str:
        if repeat not in repeats:
            repeats.append(repeat)
        return f"#repeat-{repeats.index(repeat) + 1}"

    largest = 1.0

    def tint(layer: Layer) -> float:
        return FAINTEST + (DARKEST - FAINTEST) * math.sqrt(share(layer) / largest)

    look = Look(lambda layer: rows[id(layer.row)], title, tint, href)
    strips = list[Strip]()
    if cost.network in detectors():
        parts = _parts_of_detector(cost)
        largest = max(1.0, *(share(layer) for _, one, _ in parts for layer in layers_of(one)))
        scale = Scale(scale_for(cost.input_shape, ()).side, 1.2)
        for name, one, wired in parts:
            is_trunk = name == PARTS["trunk"]
            made = (
                draw_network(one, cost.input_shape, scale, look)
                if is_trunk
                else draw_parts(one, scale, look, wired=wired)
            )
            note = "" if wired else "side by side, on the maps before"
            strips.append(Strip(name, note, made.to_svg(f"{cost.network}, {name}")))
    else:
        parts_of_net = read_architecture(cost.rows)
        largest = max(1.0, *(share(layer) for layer in layers_of(parts_of_net)))
        scale = scale_for(cost.input_shape, parts_of_net)
        made = draw_network(parts_of_net, cost.input_shape, scale, look)
        strips.append(Strip("", "", made.to_svg(f"The architecture of {cost.network}")))
    unfolded = tuple(
        Unfolded(
            id=f"repeat-{number}",
            title=f"{len(repeat.blocks)} equal blocks, {repeat.name}",
            drawing=draw_parts(repeat.blocks, scale, look).to_svg(repeat.name),
        )
        for number, repeat in enumerate(repeats, start=1)
    )
    return tuple(strips), unfolded


def _parts_of_detector(cost: Cost) -> list[tuple[str, tuple[Part, ...], bool]]:
    """(name, its layers, whether each reads what the one before has made) of each part of a detector."""
    children = list(dict.fromkeys(row.name.partition(".")[0] for row in cost.rows))
    found = dict[str, list[Part]]()
    for child in children:
        if child in PARTS:
            found.setdefault(PARTS[child], []).extend(read_architecture(cost.rows, child))
    wired = {PARTS[child] for child in ("trunk", "extras")}
    return [(name, tuple(parts), name in wired) for name, parts in found.items()]
