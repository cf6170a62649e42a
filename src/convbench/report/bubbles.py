"""Bubble charts: error against a cost, the area of a bubble in proportion to the parameters.

After Canziani, Paszke & Culurciello 2016, arXiv:1605.07678, figure 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import altair as alt
from markupsafe import Markup

from convbench.report.drawing import NARROW, WIDE, log_ticks, render
from convbench.report.placement import CHARACTER, Box, place

Kind = Literal["front", "other", "apart"]

LARGEST = 150e6  # parameters of a bubble with the largest radius
RADIUS = {True: 30.0, False: 18.0}  # that radius in pixels, on a desk and on a phone
SIZES = (5e6, 25e6, 125e6)  # parameters of the bubbles in the key
ERRORS = (10, 15, 20, 25, 30, 35, 40, 50, 60, 80)  # ticks, percent
EDGE = 10  # pixels to the right of the plot that a tick's number may use
REACH = 5  # heights of a label that it may stand away from its bubble

KINDS: tuple[Kind, ...] = ("front", "other", "apart")
INKS = {"front": "var(--network)", "other": "var(--rival)", "apart": "var(--muted)"}
TINTS = {"front": 0.3, "other": 0.14, "apart": 0.0}

X, Y = (alt.X("x:Q", scale=None, axis=None), alt.Y("y:Q", scale=None, axis=None))  # pixels, as they are


@dataclass(frozen=True)
class Bubble:
    """One network: on the Pareto front, another, or set apart because its error has another protocol.

    href: where it leads, "" for nowhere
    """

    title: str
    cost: float
    error: float
    params: float
    kind: Kind
    href: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis, logarithmic or even: `low` and `high` lie at the pixels `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    is_even: bool = False

    def pixel(self, value: float) -> float:
        if self.is_even:
            share = (value - self.low) / (self.high - self.low)
        else:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * share


def bubble_chart(bubbles: Sequence[Bubble], cost: str, unit: str, *, wide: bool) -> Markup:
    """Top-1 error in percent over `cost` in `unit`, both axes logarithmic, with the Pareto front as a line of steps.

    Labels choose their places in the order of KINDS, and within a kind by error; one that finds none is left out.
    """
    bubbles = sorted(bubbles, key=lambda one: (KINDS.index(one.kind), one.error))
    width, height = (WIDE if wide else NARROW) - 50, 540 if wide else 470
    costs, errors = [one.cost for one in bubbles], [one.error for one in bubbles]
    across = Axis(min(costs) / 1.4, max(costs) * 1.5, 0, width)
    up = Axis(min(errors) / 1.1, max(errors) * 1.1, height, 0)
    points = [(across.pixel(one.cost), up.pixel(one.error)) for one in bubbles]
    radii = [bubble_radius(one.params, wide=wide) for one in bubbles]
    key = bubble_key(width - 3 * key_step(wide=wide), 0, wide=wide)  # upper right: nothing costs much and errs much
    front = sorted((x, y) for one, (x, y) in zip(bubbles, points, strict=True) if one.kind == "front")
    boxes = place(
        points,
        [one.title for one in bubbles],
        (width, height),
        [key_box(width - 3 * key_step(wide=wide), 0, wide=wide), *_lines(front)],
        radii=[radius + 1 for radius in radii],
        reach=REACH,
    )
    discs = [
        {"x": x, "y": y, "r": radius, "ink": INKS[one.kind], "tint": TINTS[one.kind], "dash": one.kind == "apart"}
        | ({"href": one.href} if one.href else {})
        for one, (x, y), radius in zip(bubbles, points, radii, strict=True)
    ]
    labels = [
        label_of(one.title, point, radius, box)
        for one, point, radius, box in zip(bubbles, points, radii, boxes, strict=True)
        if box is not None
    ]
    chart = alt.layer(
        *draw_lines(across, up, unit, [tick for tick in ERRORS if up.low <= tick <= up.high], wide=wide),
        _steps(front),
        draw_discs(key),
        draw_discs(discs[::-1]),
        draw_leaders([label for label in labels if label["led"]]),
        *draw_texts([*labels, *key]),
    )
    label, links = f"Top-1 error in percent against {cost}", {one.href: one.title for one in bubbles if one.href}
    return render(chart, (width, height), (38, 8, 12, 24), label, links)


def bubble_radius(params: float, *, wide: bool) -> float:
    """In pixels: the area of a bubble is in proportion to the parameters."""
    return RADIUS[wide] * math.sqrt(params / LARGEST)


def key_step(*, wide: bool) -> float:
    """Pixels from one of the key's bubbles to the next."""
    return 2 * RADIUS[wide] + 6


def key_box(left: float, top: float, *, wide: bool) -> Box:
    """What the key covers, its text included."""
    return Box(left - 2, top, left + len(SIZES) * key_step(wide=wide), top + 2 * RADIUS[wide] + 16)


def bubble_key(left: float, top: float, *, wide: bool) -> list[dict[str, Any]]:
    """Grey bubbles in a row, with their parameters below."""
    step = key_step(wide=wide)
    return [
        {
            "x": left + step * (number + 0.5),
            "y": top + RADIUS[wide],
            "r": bubble_radius(params, wide=wide),
            "ink": "var(--muted)",
            "tint": 0.12,
            "dash": False,
            "title": f"{params / 1e6:.0f}M",
            "side": "center",
            "text_x": left + step * (number + 0.5),
            "text_y": top + 2 * RADIUS[wide] + 8,
        }
        for number, params in enumerate(SIZES)
    ]


def draw_lines(across: Axis, up: Axis, unit: str, ticks: Sequence[float], *, wide: bool) -> list[alt.Chart]:
    """Lines at round numbers, and upwards at `ticks`, which stand at the left and below; the last ones have units."""
    right, bottom = across.end, up.start
    columns: list[dict[str, Any]] = [
        {"x": across.pixel(tick), "y": bottom, "text": f"{tick:g}"}
        for tick in log_ticks(across.low, across.high, (1, 2, 5) if wide else (1,))
    ]
    rows = [{"x": 0, "y": up.pixel(tick), "text": f"{tick:g}"} for tick in ticks]
    columns[-1:] = [one | {"text": f"{one['text']} {unit}"} for one in columns[-1:]]
    rows[-1:] = [one | {"text": f"{one['text']} %"} for one in rows[-1:]]
    for one in columns:  # the last may stand at the very edge
        one["text_x"] = min(float(one["x"]), across.end + EDGE - CHARACTER * len(str(one["text"])) / 2)
    style = {"color": "var(--rule)", "strokeWidth": 1}
    text = {"color": "var(--muted)", "fontSize": 11, "baseline": "middle"}
    vertical, horizontal = (alt.Chart(alt.Data(values=data)) for data in (columns, rows))
    return [
        vertical.mark_rule(**style).encode(x=X, y=alt.value(0), y2=alt.value(bottom)),
        horizontal.mark_rule(**style).encode(y=Y, x=alt.value(0), x2=alt.value(right)),
        vertical.mark_text(dy=14, **text).encode(x=alt.X("text_x:Q", scale=None), y=Y, text="text:N"),
        horizontal.mark_text(dx=-7, align="right", **text).encode(x=X, y=Y, text="text:N"),
    ]


def _steps(front: Sequence[tuple[float, float]]) -> alt.Chart:
    """Right of and above this line some network on the front is better in both."""
    data = alt.Data(values=[{"x": x, "y": y} for x, y in front])
    return (
        alt.Chart(data)
        .mark_line(interpolate="step-after", color=INKS["front"], strokeWidth=1.3, opacity=0.55)
        .encode(x=X, y=Y)
    )


def _lines(front: Sequence[tuple[float, float]]) -> list[Box]:
    """Where the line runs."""
    steps = list(pairwise(front))
    flat = [Box(x, y - 1, next_x, y + 1) for (x, y), (next_x, _) in steps]
    return flat + [Box(next_x - 1, y, next_x + 1, next_y) for (_, y), (next_x, next_y) in steps]


def draw_discs(discs: Sequence[dict[str, Any]]) -> alt.Chart:
    """Where they have an "href", all of them, they lead there."""
    data = [{**disc, "area": (2 * disc["r"]) ** 2, "dash": [3, 2.5] if disc["dash"] else [1, 0]} for disc in discs]
    links = {"href": alt.Href("href:N")} if any("href" in disc for disc in discs) else {}
    return (
        alt.Chart(alt.Data(values=data))
        .mark_point(strokeWidth=1.4, opacity=1)
        .encode(
            x=X,
            y=Y,
            size=alt.Size("area:Q", scale=None),
            fill=alt.Fill("ink:N", scale=None),
            stroke=alt.Stroke("ink:N", scale=None),
            fillOpacity=alt.FillOpacity("tint:Q", scale=None),
            strokeDash=alt.StrokeDash("dash:N", scale=None),
            **links,
        )
    )


def label_of(title: str, point: tuple[float, float], radius: float, box: Box) -> dict[str, Any]:
    """Held by the side that faces its bubble, so that a wider font than expected grows away from it."""
    x, y = point
    side = "left" if box.left > x else "right" if box.right < x else "center"
    text_x = {"left": box.left, "right": box.right, "center": (box.left + box.right) / 2}[side]
    text_y = (box.top + box.bottom) / 2
    near_x, near_y = min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
    distance = math.hypot(near_x - x, near_y - y)
    return {
        "title": title,
        "side": side,
        "text_x": text_x,
        "text_y": text_y,
        "led": distance > radius + 9,
        "x": x + (near_x - x) * radius / max(distance, 1),
        "y": y + (near_y - y) * radius / max(distance, 1),
        "x2": near_x,
        "y2": near_y,
    }


def draw_leaders(labels: Sequence[dict[str, Any]]) -> alt.Chart:
    """Thin lines from bubbles to labels that stand apart."""
    return (
        alt.Chart(alt.Data(values=list(labels)))
        .mark_rule(color="var(--muted)", strokeWidth=0.7)
        .encode(x=X, y=Y, x2="x2:Q", y2="y2:Q")
    )


def draw_texts(labels: Sequence[dict[str, Any]]) -> list[alt.Chart]:
    sides = ("left", "right", "center")
    return [
        alt.Chart(alt.Data(values=[one for one in labels if one["side"] == side]))
        .mark_text(fontSize=10.5, color="var(--ink)", baseline="middle", align=side)
        .encode(x=alt.X("text_x:Q", scale=None), y=alt.Y("text_y:Q", scale=None), text="title:N")
        for side in sides
    ]
