"""The charts of methods with several seeds: their curves with a band over the seeds, and where each seed ended."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import altair as alt
from markupsafe import Markup

from convbench.report.drawing import NARROW, WIDE, error_ticks, log_domain, render
from convbench.report.seeds import Band, Method, band

PANEL = (326 - 40, 170)  # the plot of one method, which a phone has room for and a desk three times
AHEAD = 1.03  # of the last epoch, so that its mark is whole


def curve_domain(found: Sequence[Method]) -> tuple[float, float]:
    """One axis of errors for all the methods."""
    return log_domain(value for method in found for at in band(method) for value in (at.low, at.high))


def curve_with_band(found: Sequence[Method], method: Method, domain: tuple[float, float]) -> Markup:
    """The method's mean test error per epoch with its lowest and highest, above the means of the others in grey."""
    last = max(at.epoch for one in found for at in band(one))
    x_scale = alt.Scale(domain=[0.5, last * AHEAD], nice=False)
    y_scale = alt.Scale(type="log", domain=list(domain), nice=False)
    ticks = sorted({1, last} if last < 6 else {1, round(last / 2), last})
    x = alt.X("epoch:Q", scale=x_scale, axis=alt.Axis(values=ticks, title=None, grid=False, format="d"))
    y_axis = alt.Axis(values=error_ticks(*domain), title=None)
    own, floor = band(method), domain[0]
    colour = f"var(--{_kind(method)})"
    others = [{**at, "method": one.name} for one in found if one is not method for at in _values(band(one), floor)]
    y = alt.Y("mean:Q", scale=y_scale, axis=y_axis)
    base = alt.Chart(alt.Data(values=_values(own, floor))).encode(x=x)
    chart = alt.layer(
        alt.Chart(alt.Data(values=others))
        .mark_line(color="var(--muted)", strokeWidth=1, opacity=0.45)
        .encode(x=x, y=y, detail="method:N"),
        base.mark_area(color=colour, opacity=0.24).encode(y=alt.Y("low:Q", scale=y_scale), y2="high:Q"),
        base.mark_line(color=colour, strokeWidth=2, point={"color": colour, "size": 18}).encode(y=y),
    )
    label = f"Test error per epoch of {method.title}: mean, lowest and highest of {len(method.runs)} seeds"
    return render(chart, PANEL, (32, 6, 8, 20), label)


def where_seeds_ended(found: Sequence[Method], *, wide: bool) -> Markup:
    """One row a method: the error of each seed, and their mean as an upright line."""
    data = [
        {"row": row, "ink": f"var(--{_kind(method)})", "error": error}
        for row, method in enumerate(found)
        for error in method.errors
    ]
    means = [
        {"row": row, "title": method.title, "mean": mean(method.errors), "low": min(method.errors)}
        | {"high": max(method.errors)}
        for row, method in enumerate(found)
    ]
    left, step = (250, 28) if wide else (8, 42)
    errors = [error for method in found for error in method.errors]
    low, high = min(errors), max(errors)
    room = (high - low or high or 1.0) * 0.06
    size = ((WIDE if wide else NARROW) - left - 16, step * len(found))
    x_scale = alt.Scale(domain=[max(low - room, 0), high + room], nice=False)
    axis = alt.Axis(title=None, orient="top", tickCount=8 if wide else 4)
    y = alt.Y("row:Q", scale=alt.Scale(domain=[-0.5, len(found) - 0.5], reverse=True, nice=False), axis=None)
    drop = 0 if wide else 8
    seeds = alt.Chart(alt.Data(values=data))
    lines = alt.Chart(alt.Data(values=means)).encode(y=y)
    text: dict[str, Any] = {"fontSize": 12, "color": "var(--ink)", "baseline": "middle"}
    text |= {"align": "right", "dx": -14, "limit": 232} if wide else {"align": "left", "dx": -6, "dy": -12}
    chart = alt.layer(
        lines.mark_rule(color="var(--muted)", strokeWidth=1, yOffset=drop).encode(
            x=alt.X("low:Q", scale=x_scale, axis=axis), x2="high:Q"
        ),
        seeds.mark_circle(size=64, opacity=0.75, yOffset=drop).encode(
            x=alt.X("error:Q", scale=x_scale), y=y, color=alt.Color("ink:N", scale=None)
        ),
        lines.mark_tick(color="var(--ink)", thickness=2, size=17, yOffset=drop).encode(
            x=alt.X("mean:Q", scale=x_scale)
        ),
        lines.mark_text(**text).encode(x=alt.value(0), text="title:N"),
    )
    return render(chart, size, (left, 24, 16, 4), "Test error in percent of each seed, one row a method")


def _kind(method: Method) -> str:
    record = method.runs[0].record
    return record.subject.kind if record else "network"


def _values(bands: Sequence[Band], floor: float) -> list[dict[str, float]]:
    """For altair; an error of 0 has no place on a logarithmic axis and stands at its end."""
    return [
        {"epoch": at.epoch, **{name: max(getattr(at, name), floor) for name in ("mean", "low", "high")}} for at in bands
    ]
