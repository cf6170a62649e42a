"""A comparison's bubble charts as one PNG, in the page's light colours, for where the page itself cannot be shown."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import vl_convert
from PIL import Image

from convbench.errors import RequestError
from convbench.files import make_folder, write_whole
from convbench.report.comparison_section import comparison
from convbench.report.html import templates
from convbench.report.matrix_section import matrix_section
from convbench.report.records import Suite

SCALE = 2.0  # pixels of the picture for one of the page
COLOURS = 128  # of the picture, which make it a seventh of the size


def write_picture(suites: Sequence[Suite], out: Path) -> Path:
    """Write the charts of the one suite that compares networks, or detectors, to the file `out`; returns `out`.

    Raises RequestError where none or several of the suites do, and for another ending than .png.
    """
    if out.suffix != ".png":
        raise RequestError(f"expected a picture's name that ends in .png, found {out}")
    comparing = [suite for suite in suites if suite.profiled or suite.detectors]
    if len(comparing) != 1:
        names = ", ".join(suite.name for suite in comparing) or "none"
        raise RequestError(f"a picture shows one suite that compares networks or detectors, found {names}: name it")
    (suite,) = comparing
    records = suite.profiled or suite.detectors
    drawn = (
        templates()
        .get_template("picture.svg.j2" if suite.profiled else "matrix.svg.j2")
        .render(
            suite=suite,
            compared=comparison(records) if suite.profiled else matrix_section(records),
            machine=records[0].machine,
        )
    )
    make_folder(out.parent)
    write_whole(out, fewer_colours(vl_convert.svg_to_png(_coloured(drawn), scale=SCALE)))
    return out


def fewer_colours(png: bytes) -> bytes:
    """A drawing's PNG, much smaller and to the eye the same."""
    small = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


def _coloured(drawn: str) -> str:
    """With the page's light colours in place of its CSS variables."""
    css = resources.files("convbench.report").joinpath("templates", "report.css").read_text()
    colours = dict(re.findall(r"(--\w+): (#\w+);", css.partition("@media")[0]))
    return re.sub(r"var\((--\w+)\)", lambda match: colours[match[1]], drawn)
