"""The ImageNet challenge by year: who won it, with what error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
from markupsafe import Markup

from convbench.report.drawing import NARROW, WIDE, render
from convbench.report.results import ChallengeEntry

INKS = {"hand-made features": "var(--rival)", "networks": "var(--network)", "person": "var(--muted)"}
BAR = 13  # pixels
DIGITS = 44  # pixels that an error takes behind its bar


def challenge_chart(entries: Sequence[ChallengeEntry], *, wide: bool) -> Markup:
    """A bar for each entry's top-5 error, by year; winners filled, the others hollow, a person's error as a line."""
    shown = [one for one in entries if one.kind != "person"]
    left, step = (262, 25) if wide else (0, 39)
    width = (WIDE if wide else NARROW) - left - DIGITS - (230 if wide else 0)
    top = max(one.top5_error for one in shown)
    drop = 0 if wide else 18  # on a phone the name stands above its bar
    years: set[int] = set()
    data = []
    for row, one in enumerate(shown):
        middle, end = row * step + step / 2 if wide else row * step + drop + BAR / 2, one.top5_error / top * width
        entry: dict[str, Any] = {"y": middle - BAR / 2, "y2": middle + BAR / 2, "middle": middle, "x": 0, "x2": end}
        entry |= {"ink": INKS[one.kind], "tint": 0.75 if one.won else 0.14, "name": one.name}
        entry |= {"year": "" if one.year in years else str(one.year), "error": f"{one.top5_error:g}"}
        entry |= {"what": one.protocol.partition(",")[0], "head": row * step + 8, "name_x": 44}
        data.append(entry)
        years.add(one.year)
    y = alt.Y("middle:Q" if wide else "head:Q", scale=None, axis=None)
    base = alt.Chart(alt.Data(values=data))
    place = {"baseline": "middle", "fontSize": 12}
    x = alt.X("x:Q", scale=None, axis=None)
    layers = [
        *_person(entries, width / top, step * len(shown)),
        base.mark_rect(strokeWidth=1).encode(
            x=x,
            x2="x2:Q",
            y=alt.Y("y:Q", scale=None, axis=None),
            y2="y2:Q",
            fill=alt.Fill("ink:N", scale=None),
            stroke=alt.Stroke("ink:N", scale=None),
            fillOpacity=alt.FillOpacity("tint:Q", scale=None),
        ),
        base.mark_text(align="left", dx=7, color="var(--ink)", **place).encode(
            x=alt.X("x2:Q", scale=None), y=alt.Y("middle:Q", scale=None), text="error:N"
        ),
    ]
    year = {"color": "var(--muted)", "align": "left", **place}
    if wide:
        layers += [
            base.mark_text(**year).encode(x=alt.value(-left), y=y, text="year:N"),
            base.mark_text(align="left", color="var(--ink)", limit=left - 60, **place).encode(
                x=alt.value(-left + 48), y=y, text="name:N"
            ),
            base.mark_text(align="left", dx=DIGITS, color="var(--muted)", **{**place, "fontSize": 11.5}).encode(
                x=alt.X("x2:Q", scale=None), y=y, text="what:N"
            ),
        ]
    else:
        layers += [
            base.mark_text(**year).encode(x=alt.value(0), y=y, text="year:N"),
            base.transform_calculate(label="datum.name + ' · ' + datum.what")
            .mark_text(align="left", color="var(--ink)", limit=NARROW - 46, **{**place, "fontSize": 11.5})
            .encode(x=alt.X("name_x:Q", scale=None), y=y, text="label:N"),
        ]
    height = step * len(shown)
    label = "Top-5 error in percent of the ImageNet challenge's entries, by year"
    return render(alt.layer(*layers), (width + DIGITS + (230 if wide else 0), height + 18), (left, 2, 0, 2), label)


def _person(entries: Sequence[ChallengeEntry], scale: float, height: float) -> list[alt.Chart]:
    people = [one for one in entries if one.kind == "person"]
    data = [
        {"x": one.top5_error * scale, "y": 0, "y2": height, "text": f"{one.name}, {one.top5_error:g}"} for one in people
    ]
    base = alt.Chart(alt.Data(values=data))
    x = alt.X("x:Q", scale=None, axis=None)
    return [
        base.mark_rule(color="var(--muted)", strokeDash=[3, 3], strokeWidth=1, opacity=0.6).encode(
            x=x, y=alt.Y("y:Q", scale=None, axis=None), y2="y2:Q"
        ),
        base.mark_text(color="var(--muted)", align="left", dx=5, fontSize=11.5, baseline="middle", dy=9).encode(
            x=x, y=alt.Y("y2:Q", scale=None), text="text:N"
        ),
    ]
