"""A trial as a picture: the test error of every run and seed, epoch by epoch, and where each ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from convbench.files import make_folder, write_whole
from convbench.report.picture import fewer_colours

if TYPE_CHECKING:
    from convbench.claims import Trial

SCALE = 2.0  # pixels of the picture for one of the chart
WIDTH, HEIGHT = 420, 300
TEXT, FAINT, FONT = "#1c1c1c", "#767676", "Helvetica, Arial, sans-serif"


def write_trial_picture(trial: Trial, out: Path) -> Path:
    """Write the picture of `trial` to the PNG file `out`; returns `out`."""
    names = list(trial.runs)
    colour = alt.Color("run:N", scale=alt.Scale(domain=names, scheme="tableau10"), legend=None)
    points = curves_of(trial)
    passes = sorted({point["epoch"] for point in points})
    curves = alt.Chart(alt.Data(values=points)).encode(color=colour)
    dots = alt.OverlayMarkDef(size=16, opacity=0.85)  # one alone is a run of one pass
    lines = curves.mark_line(strokeWidth=1.4, opacity=0.85, point=dots).encode(
        x=alt.X("epoch:Q", title="passes", axis=alt.Axis(values=passes, format="d", grid=False)),
        y=alt.Y("error:Q", title="test error, %", scale=alt.Scale(zero=False)),
        detail="seed:N",
    )
    ends = alt.Chart(alt.Data(values=ends_of(trial)))
    y = alt.Y("run:N", sort=names, title=None, axis=alt.Axis(domain=False, ticks=False, labelLimit=240, labelPadding=8))
    x = alt.X(
        "error:Q", title="test error at the end, %: each seed, and their mean", scale=alt.Scale(zero=False, padding=8)
    )
    seeds = ends.mark_circle(size=46, opacity=0.75).encode(x=x, y=y, color=colour)
    means = ends.mark_tick(thickness=2, size=18, color=TEXT).encode(x=alt.X("mean(error):Q"), y=y)
    title = alt.TitleParams(trial.title, subtitle=trial.cut, anchor="start", subtitleColor=FAINT, offset=14)
    chart = (
        alt.hconcat(
            lines.properties(width=WIDTH, height=HEIGHT),
            (seeds + means).properties(width=WIDTH, height=HEIGHT),
            spacing=30,
        )
        .properties(title=title, background="white", padding=16)
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_axis(labelColor=TEXT, titleColor=FAINT, titleFontWeight="normal", gridColor="#ececec")
    )
    make_folder(out.parent)
    write_whole(out, fewer_colours(vl_convert.vegalite_to_png(chart.to_dict(), scale=SCALE)))
    return out


def curves_of(trial: Trial) -> list[dict[str, Any]]:
    """The test error of each run, seed and epoch."""
    return [
        {"run": run, "seed": outcome.seed, "epoch": epoch, "error": error}
        for run, outcomes in trial.runs.items()
        for outcome in outcomes
        for epoch, error in enumerate(outcome.curve, 1)
    ]


def ends_of(trial: Trial) -> list[dict[str, Any]]:
    """The test error of each run and seed after its training."""
    return [{"run": run, "error": outcome.top1_error} for run, outcomes in trial.runs.items() for outcome in outcomes]
