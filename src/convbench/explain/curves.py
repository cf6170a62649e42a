"""Curves as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from convbench.explain.figure import Figure

WIDTH, HEIGHT, SCALE = 720, 260, 1.5


@dataclass(frozen=True)
class Curve:
    """xs: numbers, or names in their order; ys: a number for each"""

    name: str
    xs: Sequence[float | str]
    ys: Sequence[float]


def draw_curves(curves: Sequence[Curve], x: str, y: str) -> Figure:
    """Lines with dots over a shared axis, each named at its right; x and y are the axes' titles."""
    import altair as alt  # half a second, which pictures without curves need not wait for

    names = isinstance(curves[0].xs[0], str)
    rows = [
        {"curve": curve.name, "x": place, "y": value}
        for curve in curves
        for place, value in zip(curve.xs, curve.ys, strict=True)
    ]
    angled, upright = alt.Axis(title=x, labelAngle=-40, labelLimit=160), alt.Axis(title=x, values=list(curves[0].xs))
    across = alt.X("x:O", sort=None, axis=angled) if names else alt.X("x:Q", axis=upright)
    colour = alt.Color("curve:N", sort=[curve.name for curve in curves], legend=alt.Legend(title=None))
    base = alt.Chart(alt.Data(values=rows)).encode(x=across, y=alt.Y("y:Q", title=y), color=colour)
    chart = alt.layer(base.mark_line(), base.mark_point(filled=True, size=30)).properties(width=WIDTH, height=HEIGHT)
    drawn = io.BytesIO()
    chart.save(drawn, format="png", scale_factor=SCALE)
    return Figure(Image.open(drawn).convert("RGB"), f"{y} over {x}")
