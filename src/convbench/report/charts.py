"""The charts of runs that learnt: errors beside published ones, against cost, over epochs, and within classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
from markupsafe import Markup

from convbench.report.drawing import NARROW, WIDE, error_ticks, log_domain, log_ticks, render
from convbench.report.extremes import MOST_CLASSES
from convbench.report.findings import PUBLISHED_UNCERTAINTY
from convbench.report.placement import Box, place
from convbench.report.records import Run, measured
from convbench.report.results import Result
from convbench.report.seeds import title_of

WIDEST = 7.4  # pixels of a letter or digit of a class's name, in the widest of the page's fonts
KINDS = ("network", "rival", "ensemble")
COLOURS = [f"var(--{kind})" for kind in KINDS]
SHAPES = ["circle", "square", "triangle-up"]

COSTS = {"params": "parameters", "macs": "multiply-adds"}

COLOUR = alt.Color("kind:N", scale=alt.Scale(domain=KINDS, range=COLOURS), legend=None)
SHAPE = alt.Shape("kind:N", scale=alt.Scale(domain=KINDS, range=SHAPES), legend=None)


def published_beside_measured(runs: Sequence[Run], *, wide: bool) -> Markup:
    """One row a method: the published error hollow on its band of +- 0.1, the measured one filled on its interval."""
    data = [_method(row, run) for row, run in enumerate(runs)]
    low, high = log_domain(value for item in data for value in (item["low"], item["high"], item["published"]))
    left, step = (250, 23) if wide else (4, 36)
    height = step * len(data)
    width = (WIDE if wide else NARROW) - left - 16
    x_scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(values=error_ticks(low, high), title=None, orient="top")
    y = alt.Y("row:Q", scale=alt.Scale(domain=[-0.5, len(data) - 0.5], reverse=True, nice=False), axis=None)
    base = alt.Chart(alt.Data(values=data)).encode(y=y)
    band = base.mark_rule(strokeWidth=11, opacity=0.22, color="var(--published)").encode(
        x=alt.X("published_low:Q", scale=x_scale, axis=axis), x2="published_high:Q"
    )
    interval = base.mark_rule(strokeWidth=1.8).encode(x=alt.X("low:Q", scale=x_scale), x2="high:Q", color=COLOUR)
    dot = base.mark_point(filled=True, size=46, opacity=1).encode(
        x=alt.X("error:Q", scale=x_scale), color=COLOUR, shape=SHAPE
    )
    hollow = base.mark_point(
        filled=False, size=88, strokeWidth=1.5, opacity=1, shape="diamond", color="var(--published)"
    ).encode(x=alt.X("published:Q", scale=x_scale))
    text = {"fontSize": 12, "color": "var(--ink)", "baseline": "middle", "limit": 236 if wide else width}
    place_text = {"align": "right", "dx": -12} if wide else {"align": "left", "dy": -14}
    name = base.mark_text(**text, **place_text).encode(x=alt.value(0), text="title:N")
    chart = alt.layer(band, interval, hollow, dot, name)
    label = "Published error beside measured error with its 95 % interval, one row a method"
    return render(chart, (width, height), (left, 24, 16, 4), label)


def cost_of(run: Run, cost: str) -> int | None:
    """One of COSTS of the run, None where it is unknown."""
    return getattr(run.record.cost, cost) if run.record and run.record.cost else None


def error_against(runs: Sequence[Run], cost: str, *, wide: bool) -> Markup:
    """Error over one of COSTS, both axes logarithmic, for runs that know that cost."""
    data = [{**_method(0, run), "x": cost_of(run, cost)} for run in runs]
    width, height = (WIDE // 2 - 16 - 50 if wide else NARROW - 46), 380 if wide else 400
    x_low, x_high = min(item["x"] for item in data) / 1.6, max(item["x"] for item in data) * 1.6
    low, high = log_domain(value for item in data for value in (item["error"], item["published"]))

    def pixel(x: float, y: float) -> tuple[float, float]:
        across, up = math.log(x / x_low) / math.log(x_high / x_low), math.log(y / low) / math.log(high / low)
        return width * across, height * (1 - up)

    hollow_at = [Box.around(*pixel(item["x"], item["published"])) for item in data if item["published"]]
    points = [pixel(item["x"], item["error"]) for item in data]
    boxes = place(points, [item["title"] for item in data], (width, height), hollow_at)
    labels: list[dict[str, Any]] = []
    for item, (at, _), box in zip(data, points, boxes, strict=True):
        if box is not None:
            # Held by the side that faces its point, so that a wider font than expected grows away from the point.
            side = "left" if box.left > at else "right" if box.right < at else "center"
            edge = {"left": box.left, "right": box.right, "center": (box.left + box.right) / 2}[side]
            across, up = edge / width, 1 - (box.top + box.bottom) / 2 / height
            position = {"x": x_low * (x_high / x_low) ** across, "y": low * (high / low) ** up}
            labels.append({**position, "title": item["title"], "side": side})
    x_axis = alt.Axis(values=log_ticks(x_low, x_high, (1,)), format="~s", title=None)
    y_axis = alt.Axis(values=error_ticks(low, high), title=None)
    x = alt.X("x:Q", scale=alt.Scale(type="log", domain=[x_low, x_high], nice=False), axis=x_axis)
    y_scale = alt.Scale(type="log", domain=[low, high], nice=False)
    base = alt.Chart(alt.Data(values=data))
    dumb_bell = base.mark_rule(strokeWidth=1, opacity=0.45).encode(
        x=x, y=alt.Y("error:Q", scale=y_scale, axis=y_axis), y2="published:Q", color=COLOUR
    )
    hollow = base.mark_point(filled=False, size=60, strokeWidth=1.4, opacity=0.9).encode(
        x=x, y=alt.Y("published:Q", scale=y_scale), color=COLOUR, shape=SHAPE
    )
    dot = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=x, y=alt.Y("error:Q", scale=y_scale), color=COLOUR, shape=SHAPE
    )
    names = [
        alt.Chart(alt.Data(values=[item for item in labels if item["side"] == side]))
        .mark_text(fontSize=10.5, color="var(--ink)", baseline="middle", align=side)
        .encode(x=alt.X("x:Q"), y=alt.Y("y:Q"), text="title:N")
        for side in ("left", "right", "center")
    ]
    chart = alt.layer(dumb_bell, hollow, dot, *names)
    return render(chart, (width, height), (34, 8, 12, 24), f"Error in percent against {COSTS[cost]}")


def curve(run: Run, domain: tuple[float, float]) -> Markup:
    """Error per epoch: test in the colour of its kind, train in grey, the published error dashed."""
    assert run.record is not None
    series = [("train", "var(--muted)", 1.2), ("test", f"var(--{run.record.subject.kind})", 1.8)]
    last = max(epoch.epoch for epoch in run.epochs)
    x = alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[min(1, last - 1), last], nice=False),
        axis=alt.Axis(values=sorted({1, last}), title=None, grid=False, format="d"),
    )
    y_scale = alt.Scale(type="log", domain=list(domain), nice=False)
    y_axis = alt.Axis(values=error_ticks(*domain), title=None)
    layers = []
    for name, colour, stroke in series:
        values = [(epoch.epoch, getattr(epoch, f"{name}_error")) for epoch in run.epochs]
        data = [{"epoch": n, "error": max(error, domain[0])} for n, error in values if error is not None]
        line = alt.Chart(alt.Data(values=data)).mark_line(
            color=colour, strokeWidth=stroke, point={"color": colour, "size": 14} if len(data) < 8 else False
        )
        layers.append(line.encode(x=x, y=alt.Y("error:Q", scale=y_scale, axis=y_axis)))
    published = run.record.published.error if run.record.published else None
    if published:
        rule = alt.Chart(alt.Data(values=[{"error": published}])).mark_rule(
            color="var(--published)", strokeDash=[3, 3], strokeWidth=1.2
        )
        layers.append(rule.encode(y=alt.Y("error:Q", scale=y_scale)))
    return render(alt.layer(*layers), (128, 96), (32, 6, 6, 20), f"Error per epoch of {title_of(run)}")


def curve_domain(runs: Iterable[Run]) -> tuple[float, float]:
    """One error axis for all the panels of `curve`, so that they can be compared."""
    errors = [error for run in runs for epoch in run.epochs for error in (epoch.train_error, epoch.test_error)]
    figures = [run.record.published.error for run in runs if run.record and run.record.published]
    # A training error of 0.0 cannot be drawn on a log axis: the axis ends one decade below the best test error.
    floor = min((epoch.test_error for run in runs for epoch in run.epochs if epoch.test_error), default=1.0) / 10
    return log_domain(max(error, floor) for error in (*errors, *figures) if error is not None)


def per_class(runs: Sequence[Run], *, wide: bool) -> Markup:
    """A strip a method, all on the same classes: the error within each true class, darker is worse."""
    shown = _hardest(measured(runs[0]))
    classes = [measured(runs[0]).per_class[index].name for index in shown]
    errors = [[measured(run).per_class[index].error for index in shown] for run in runs]
    top = max((error for row in errors for error in row if error is not None), default=0.0) or 1.0
    data = [
        {"row": row, "class": column, "error": error, "shade": 0.04 + 0.6 * error / top}
        for row, of_run in enumerate(errors)
        for column, error in enumerate(of_run)
        if error is not None
    ]
    names = [{"row": row, "title": title_of(run)} for row, run in enumerate(runs)]
    left, step, cell_height = (250, 27, 25) if wide else (2, 48, 22)
    right = _right_room(classes)
    cell = min(52.0, ((WIDE if wide else NARROW) - left - right) / len(shown))
    size = (cell * len(shown), step * len(runs))
    y = alt.Y("row:Q", scale=alt.Scale(domain=[-0.5, len(runs) - 0.5], reverse=True, nice=False), axis=None)
    x_scale = alt.Scale(domain=[-0.5, len(shown) - 0.5], nice=False)
    drop = 0 if wide else 9  # on a phone the method's name stands above its strip
    base = alt.Chart(alt.Data(values=data)).encode(x=alt.X("class:Q", scale=x_scale, axis=None), y=y)
    cells = base.mark_rect(color="var(--heat)", width=cell - 2, height=cell_height, yOffset=drop).encode(
        opacity=alt.Opacity("shade:Q", scale=None)
    )
    figures = base.mark_text(fontSize=11 if cell > 30 else 9.5, color="var(--ink)", dy=drop).encode(
        text=alt.Text("error:Q", format=".1f")
    )
    where = {"align": "right", "dx": -12} if wide else {"align": "left", "dy": -12}
    labels = alt.Chart(alt.Data(values=names)).mark_text(
        fontSize=12, color="var(--ink)", baseline="middle", limit=236 if wide else NARROW, **where
    )
    layers = alt.layer(cells, figures, labels.encode(x=alt.value(0), y=y, text="title:N"), _heads(classes, x_scale))
    return render(layers, size, (left, _head_room(classes), right, 2), "Error in percent within each class")


def confusion(run: Run) -> Markup:
    """Rows are the true classes, columns the predicted ones; the diagonal is grey, mistakes are coloured."""
    result = measured(run)
    shown = _hardest(result)
    classes = [result.per_class[index].name for index in shown]
    counts: list[dict[str, Any]] = [
        {"row": row, "class": column, "n": result.confusion[true][predicted]}
        for row, true in enumerate(shown)
        for column, predicted in enumerate(shown)
    ]
    top = max((item["n"] for item in counts if item["row"] != item["class"]), default=0) or 1
    for item in counts:
        right = item["row"] == item["class"]
        item["colour"] = "var(--muted)" if right else "var(--heat)"
        item["shade"] = 0.1 if right else 0.04 + 0.66 * math.sqrt(item["n"] / top) * bool(item["n"])
        item["text"] = f"{item['n']}" if item["n"] else ""
    left, right = max(16, round(WIDEST * max(map(len, classes))) + 9), _right_room(classes)
    cell = min(32.0, (NARROW - left - right) / len(shown))
    side = cell * len(shown)
    limits = [-0.5, len(shown) - 0.5]
    x_scale = alt.Scale(domain=limits, nice=False)
    y = alt.Y("row:Q", scale=alt.Scale(domain=limits, reverse=True, nice=False), axis=None)
    base = alt.Chart(alt.Data(values=counts)).encode(x=alt.X("class:Q", scale=x_scale, axis=None), y=y)
    cells = base.mark_rect(width=cell - 1.5, height=cell - 1.5).encode(
        color=alt.Color("colour:N", scale=None), opacity=alt.Opacity("shade:Q", scale=None)
    )
    figures = base.mark_text(fontSize=10.5 if cell > 24 else 7.5, color="var(--ink)").encode(text="text:N")
    labels = alt.Chart(alt.Data(values=[{"row": row, "title": name} for row, name in enumerate(classes)]))
    sides = labels.mark_text(fontSize=11.5, align="right", dx=-7, color="var(--muted)").encode(
        x=alt.value(0), y=y, text="title:N"
    )
    layers = alt.layer(cells, figures, sides, _heads(classes, x_scale))
    return render(
        layers,
        (side, side),
        (left, _head_room(classes), right, 2),
        "Confusion matrix, rows true, columns predicted",
    )


def _method(row: int, run: Run) -> dict[str, Any]:
    record, result = run.record, measured(run)
    assert record is not None
    # An error of 0 has no place on a log axis: it is drawn at half an image.
    floor = 50 / result.n
    published = record.published.error if record.published else None
    return {
        "row": row,
        "title": title_of(run),
        "kind": record.subject.kind,
        "error": max(result.top1_error, floor),
        "low": max(result.interval[0], floor),
        "high": max(result.interval[1], floor),
        "published": published or None,
        "published_low": max(published - PUBLISHED_UNCERTAINTY, floor) if published else None,
        "published_high": published + PUBLISHED_UNCERTAINTY if published else None,
    }


def _hardest(result: Result) -> list[int]:
    """The classes to show: all of them in their order, or the hardest when there are too many."""
    order = sorted(range(len(result.per_class)), key=lambda index: (-(result.per_class[index].error or 0.0), index))
    return sorted(order[:MOST_CLASSES])


def _heads(classes: Sequence[str], x_scale: alt.Scale) -> alt.Chart:
    data = [{"class": column, "title": name} for column, name in enumerate(classes)]
    text = {"align": "center"} if _short(classes) else {"align": "left", "angle": 300}
    marks = alt.Chart(alt.Data(values=data)).mark_text(fontSize=11.5, color="var(--muted)", **text)
    return marks.encode(x=alt.X("class:Q", scale=x_scale), y=alt.value(-10), text="title:N")


def _head_room(classes: Sequence[str]) -> int:
    return 22 if _short(classes) else 18 + round(math.sin(math.radians(60)) * WIDEST * max(map(len, classes)))


def _right_room(classes: Sequence[str]) -> int:
    """For the last class's name, which leans over the edge."""
    return 4 if _short(classes) else 4 + 3 * len(classes[-1])


def _short(classes: Sequence[str]) -> bool:
    return max(map(len, classes)) <= 3
