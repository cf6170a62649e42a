"""Average precision of detectors against a cost: the colour of a mark is its backbone's, its filling its family's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import altair as alt
from markupsafe import Markup

from convbench.report.bubbles import (
    REACH,
    Axis,
    X,
    Y,
    bubble_key,
    bubble_radius,
    draw_discs,
    draw_leaders,
    draw_lines,
    draw_texts,
    key_box,
    label_of,
)
from convbench.report.drawing import NARROW, WIDE, render
from convbench.report.placement import Box, place

INKS = ("var(--network)", "var(--ensemble)", "var(--rival)", "var(--heat)")  # of the backbones, in their order
STEP = 2  # percent of average precision between two lines
SAMPLES = 30  # boxes along a line, which labels keep off


@dataclass(frozen=True)
class Mark:
    """One detector. short: its label where there is little room; those of one `group` are joined by a line"""

    title: str
    short: str
    group: str
    cost: float
    ap: float
    params: float
    ink: str
    is_hollow: bool


def precision_chart(marks: Sequence[Mark], cost: str, unit: str, *, wide: bool) -> Markup:
    """Average precision in percent over `cost` in `unit` on a logarithmic axis; upper left is better."""
    width, height = (WIDE if wide else NARROW) - 50, 460 if wide else 400
    costs, found = [one.cost for one in marks], [one.ap for one in marks]
    across = Axis(min(costs) / 1.7, max(costs) * (4.0 if wide else 2.2), 0, width)
    up = Axis(math.floor(min(found)) - 1.6, math.ceil(max(found)) + 1.2, height, 0, is_even=True)
    points = [(across.pixel(one.cost), up.pixel(one.ap)) for one in marks]
    radii = [bubble_radius(one.params, wide=wide) for one in marks]
    corner = {"left": 8.0, "top": height - (118 if wide else 76)}  # lower left: nothing is cheap and finds little
    key, lines = bubble_key(**corner, wide=wide), _lines(marks, points, radii)
    titles = [one.title if wide else one.short for one in marks]
    obstacles = [key_box(**corner, wide=wide), *(box for line in lines for box in _along(line))]
    boxes = place(points, titles, (width, height), obstacles, radii=[radius + 1 for radius in radii], reach=REACH)
    discs = [
        {"x": x, "y": y, "r": radius, "ink": one.ink, "tint": 0.0 if one.is_hollow else 0.32, "dash": False}
        for radius, one, (x, y) in sorted(zip(radii, marks, points, strict=True), key=lambda each: -each[0])
    ]
    labels = [
        label_of(title, point, radius, box)
        for title, point, radius, box in zip(titles, points, radii, boxes, strict=True)
        if box is not None
    ]
    ticks = range(STEP * math.ceil(up.low / STEP), math.ceil(up.high), STEP)
    chart = alt.layer(
        *draw_lines(across, up, unit, ticks, wide=wide),
        _drawn(lines),
        draw_discs(key),
        draw_discs(discs),
        draw_leaders([label for label in labels if label["led"]]),
        *draw_texts([*labels, *key]),
    )
    return render(chart, (width, height), (38, 8, 12, 24), f"Average precision in percent against {cost}")


@dataclass(frozen=True)
class _Line:
    """From the rim of one mark to that of another of its group."""

    start: tuple[float, float]
    end: tuple[float, float]
    ink: str


def _lines(marks: Sequence[Mark], points: Sequence[tuple[float, float]], radii: Sequence[float]) -> list[_Line]:
    placed = sorted(zip(marks, points, radii, strict=True), key=lambda each: (each[0].group, each[0].cost))
    groups = [list(group) for _, group in groupby(placed, key=lambda each: each[0].group)]
    return [
        _Line(_rim(one, other, radius), _rim(other, one, next_radius), mark.ink)
        for group in groups
        for (mark, one, radius), (_, other, next_radius) in pairwise(group)
        if math.dist(one, other) > radius + next_radius
    ]


def _rim(centre: tuple[float, float], towards: tuple[float, float], radius: float) -> tuple[float, float]:
    """The point of a mark's rim that is nearest to `towards`."""
    share = radius / math.dist(centre, towards)
    return centre[0] + (towards[0] - centre[0]) * share, centre[1] + (towards[1] - centre[1]) * share


def _along(line: _Line) -> list[Box]:
    (x, y), (x2, y2) = line.start, line.end
    shares = [number / SAMPLES for number in range(SAMPLES + 1)]
    middles = [(x + (x2 - x) * share, y + (y2 - y) * share) for share in shares]
    return [Box(x - 2, y - 2, x + 2, y + 2) for x, y in middles]


def _drawn(lines: Sequence[_Line]) -> alt.Chart:
    data = [{"x": one.start[0], "y": one.start[1], "x2": one.end[0], "y2": one.end[1], "ink": one.ink} for one in lines]
    return (
        alt.Chart(alt.Data(values=data))
        .mark_rule(strokeWidth=1.2, opacity=0.5)
        .encode(x=X, y=Y, x2="x2:Q", y2="y2:Q", color=alt.Color("ink:N", scale=None))
    )
