"""What all charts share: altair, rendered at build time to SVG whose colours are the page's CSS variables.

Every chart has a fixed size in pixels and is never scaled, so that its text stays the size of the page's text; where
one size cannot serve a phone and a desk, the page holds both and shows one.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt
from markupsafe import Markup, escape

BASE = "https://vega.github.io/vega-datasets/"  # what vega puts before every link
WIDE, NARROW = 1040, 342  # inner width of the page on a desk and on a phone of 390 px


@dataclass(frozen=True)
class Figure:
    """A chart for the desk and the same for the phone."""

    wide: Markup
    narrow: Markup


def figure_of(draw: Callable[..., Markup]) -> Figure:
    """What `draw` draws with wide=True, and with wide=False."""
    return Figure(wide=draw(wide=True), narrow=draw(wide=False))


def log_domain(values: Iterable[float | None]) -> tuple[float, float]:
    """The ends of a logarithmic axis that shows `values`; what is None or 0 has no place on it."""
    known = [value for value in values if value]
    return min(known, default=1.0) / 1.15, max(known, default=10.0) * 1.15


def log_ticks(low: float, high: float, digits: Sequence[int] = (1, 2, 5)) -> list[float]:
    """The numbers between `low` and `high` whose only digit is one of `digits`."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    return [tick for tick in every if low <= tick <= high]


def error_ticks(low: float, high: float) -> list[float]:
    """Round numbers for an axis of errors between `low` and `high`: few, but three where there are three."""
    for digits in ((1, 2, 5), (1, 2, 3, 5, 7), tuple(range(1, 10))):
        if len(ticks := log_ticks(low, high, digits)) >= 3:
            return ticks
    step = 10 ** math.floor(math.log10((high - low) / 2))
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def render(
    chart: alt.LayerChart,
    size: tuple[float, float],
    padding: tuple[int, int, int, int],
    label: str,
    links: Mapping[str, str] | None = None,
) -> Markup:
    """Render at a fixed size; fonts and colours are the page's.

    padding: left, top, right, bottom
    label: what it shows, for those who do not see it
    links: of the addresses that it leads to, what each is called
    """
    left, top, right, bottom = padding
    chart = chart.properties(
        width=size[0],
        height=size[1],
        padding={"left": left, "top": top, "right": right, "bottom": bottom},
        autosize=alt.AutoSizeParams(type="none"),
        background="transparent",
    )
    chart = chart.configure(aria=False).configure_view(stroke=None)
    chart = chart.configure_axis(
        domain=False,
        ticks=False,
        gridColor="var(--rule)",
        labelColor="var(--muted)",
        labelFontSize=11,
        labelPadding=6,
    )
    text = io.StringIO()
    chart.save(text, format="svg")
    drawn = re.sub(r' (?:xmlns(?::xlink)?|font-family|class|aria-hidden|pointer-events)="[^"]*"', "", text.getvalue())
    drawn = drawn.replace(f'href="{BASE}', 'href="')  # links lead to where the page is
    for address, name in (links or {}).items():
        drawn = re.sub(rf'(<a [^>]*href="{re.escape(address)}"[^>]*>)', rf"\1<title>{escape(name)}</title>", drawn)
    role = "group" if links else "img"  # what is in an image is hidden, links as well
    return Markup(drawn.replace("<svg", Markup('<svg role="{}" aria-label="{}"').format(role, label), 1))
