"""A trial in the page's own colours: the test error of every run and seed, epoch by epoch, and where each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
from markupsafe import Markup

from convbench.report.drawing import NARROW, WIDE, render
from convbench.report.trials import curves_of, ends_of

if TYPE_CHECKING:
    from convbench.claims import Trial

INKS = ("network", "rival", "ensemble", "heat", "published")  # of the runs, in their order
HEIGHT, STEP = 260, 34  # of the curves, and of a run among the ends


def trial_curves(trial: Trial, *, wide: bool) -> Markup:
    """A line for each run and seed."""
    values = curves_of(trial)
    last = max((item["epoch"] for item in values), default=1)
    lines = (
        alt.Chart(alt.Data(values=values))
        .mark_line(strokeWidth=1.4, opacity=0.85)
        .encode(
            x=alt.X(
                "epoch:Q",
                scale=alt.Scale(domain=[min(1, last - 1), last], nice=False),
                axis=alt.Axis(title=None, grid=False, format="d", tickMinStep=1, tickCount=8),
            ),
            y=alt.Y("error:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=None, tickCount=6)),
            color=_colour(trial),
            detail="seed:N",
        )
    )
    return render(alt.layer(lines), (_width(wide) - 46, HEIGHT), (34, 8, 12, 24), f"Test error per pass: {trial.title}")


def trial_ends(trial: Trial, *, wide: bool) -> Markup:
    """A row for each run: its seeds as points, their mean as a stroke; the names are the key of the curves, too."""
    names = list(trial.runs)
    data = alt.Data(values=[{**item, "row": names.index(item["run"])} for item in ends_of(trial)])
    limits = [-0.5, len(names) - 0.5]
    y = alt.Y("row:Q", scale=alt.Scale(domain=limits, reverse=True, nice=False), axis=None)
    axis = alt.Axis(title=None, tickCount=5, orient="bottom")
    base = alt.Chart(data).encode(y=y, color=_colour(trial))
    x_scale = alt.Scale(zero=False)
    seeds = base.mark_circle(size=46, opacity=0.75).encode(x=alt.X("error:Q", scale=x_scale, axis=axis))
    means = base.mark_tick(thickness=2, size=18).encode(x=alt.X("mean(error):Q", scale=x_scale))
    labels = (
        alt.Chart(alt.Data(values=[{"row": row, "run": name} for row, name in enumerate(names)]))
        .mark_text(fontSize=12, align="right", dx=-12, baseline="middle", limit=160)
        .encode(y=y, x=alt.value(0), text="run:N", color=_colour(trial))
    )
    left = 172
    size = (_width(wide) - left - 16, STEP * len(names))
    return render(alt.layer(seeds, means, labels), size, (left, 8, 16, 24), f"Test error at the end: {trial.title}")


def _width(wide: bool) -> int:
    return WIDE // 2 - 16 if wide else NARROW


def _colour(trial: Trial) -> alt.Color:
    names = list(trial.runs)
    inks = [f"var(--{INKS[place % len(INKS)]})" for place in range(len(names))]
    return alt.Color("run:N", scale=alt.Scale(domain=names, range=inks), legend=None)
