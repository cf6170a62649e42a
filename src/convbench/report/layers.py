"""What a network costs layer by layer: shares of multiply-adds, parameters and stored values, as rows and strips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
from markupsafe import Markup

from convbench.report.drawing import render
from convbench.report.efficiency import three_digits
from convbench.report.records import Record
from convbench.report.results import LayerCost

QUANTITIES = {"macs": "network", "params": "rival", "values": "ensemble"}  # -> the colour of its strip
UNITS = {"macs": "multiply-adds", "params": "parameters", "values": "stored values"}
WIDTH = 326  # pixels, of which a phone has room for one and a desk for three
STRIP, GAP = 19, 4
CHARACTER = 6.2  # of a layer's name, in pixels
TINTS = (0.20, 0.42)  # of neighbours


@dataclass(frozen=True)
class LayerRow:
    """One layer of one network, or a module of several; shares in percent of the network's."""

    network: str
    run: str
    place: int
    layer: LayerCost
    shares: dict[str, float]

    @property
    def shape(self) -> str:
        return "×".join(map(str, self.layer.output_shape))


@dataclass(frozen=True)
class Strips:
    """One network's chart, with its totals as text; `where`: what has the largest share of each, in words."""

    title: str
    run: str
    totals: str
    where: str
    chart: Markup


def layers_of(record: Record) -> tuple[LayerCost, ...]:
    """The record's layers; of a detector its parts, whose stored values are not recorded."""
    if record.detector:
        return tuple(LayerCost(one.name, (), one.times, one.params, one.macs, 0) for one in record.detector.parts)
    return record.cost.layers if record.cost else ()


def layer_rows(records: Iterable[Record]) -> list[LayerRow]:
    """A row a layer, network by network, from the image to the answer."""
    rows = []
    for record in records:
        layers = layers_of(record)
        totals = {name: sum(getattr(one, name) for one in layers) for name in QUANTITIES}
        for place, one in enumerate(layers, start=1):
            shares = {name: 100 * getattr(one, name) / total for name, total in totals.items() if total}
            rows.append(LayerRow(record.title, record.name, place, one, shares))
    return rows


def strips(records: Iterable[Record]) -> list[Strips]:
    """A chart for each network whose layers are recorded."""
    return [_strips(record) for record in records if layers_of(record)]


def _strips(record: Record) -> Strips:
    rows = layer_rows([record])
    known = [name for name in QUANTITIES if name in rows[0].shares]
    totals = {name: sum(getattr(row.layer, name) for row in rows) for name in known}
    largest = {name: max(rows, key=lambda row, name=name: row.shares[name]) for name in known}  # type: ignore[misc]
    where = ", ".join(
        f"{one.layer.name} has {one.shares[name]:.0f} % of the {UNITS[name]}" for name, one in largest.items()
    )
    return Strips(
        title=record.title,
        run=record.name,
        totals=" · ".join(_short(total) for total in totals.values()),
        where=where,
        chart=_chart(record.title, rows, known, where),
    )


def _chart(title: str, rows: Sequence[LayerRow], known: Sequence[str], where: str) -> Markup:
    cells, names = [], []
    for line, name in enumerate(known):
        left, top = 0.0, line * (STRIP + GAP)
        for row in rows:
            width = row.shares[name] / 100 * WIDTH
            text = row.layer.name
            cells.append(
                {
                    **{"x": left, "x2": left + max(width - 0.7, 0), "y": top, "y2": top + STRIP},
                    **{"ink": f"var(--{QUANTITIES[name]})", "tint": TINTS[row.place % 2]},
                }
            )
            if width > CHARACTER * len(text) + 6:
                names.append({"x": left + width / 2, "y": top + STRIP / 2, "text": text})
            left += width
    position: dict[str, Any] = {"x": alt.X("x:Q", scale=None, axis=None), "y": alt.Y("y:Q", scale=None, axis=None)}
    chart = alt.layer(
        alt.Chart(alt.Data(values=cells))
        .mark_rect()
        .encode(
            **position,
            x2="x2:Q",
            y2="y2:Q",
            color=alt.Color("ink:N", scale=None),
            opacity=alt.Opacity("tint:Q", scale=None),
        ),
        alt.Chart(alt.Data(values=names))
        .mark_text(fontSize=10.5, color="var(--ink)", baseline="middle")
        .encode(**position, text="text:N"),
    )
    height = len(known) * (STRIP + GAP) - GAP
    return render(chart, (WIDTH, height), (0, 0, 0, 0), f"Shares of the layers of {title}: {where}")


def _short(number: int) -> str:
    """Three digits and the letter of a thousand, a million, or 10⁹."""
    for letter, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{three_digits(number / scale)} {letter}"
    return str(number)
