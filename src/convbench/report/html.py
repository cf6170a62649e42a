"""One self-contained HTML file from run folders: no request, tables that sort, light and dark, screen and paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from convbench.files import make_folder, write_whole
from convbench.report import tables
from convbench.report.records import read_suites
from convbench.report.sections import section


def write_report(runs: Path, out: Path, suites: Sequence[str] = ()) -> Path:
    """Write the report on the suites under `runs` (those named, else all) to the file `out`; returns `out`.

    The same runs give the same bytes, wherever they lie. A report that was there before is replaced whole or, when
    anything goes wrong, not at all. Raises RequestError when there is nothing to report on or no folder can be made
    for `out`, ConvbenchError when a run's file is broken or the disk is full.
    """
    sections = [section(suite, number) for number, suite in enumerate(read_suites(runs, suites), start=1)]
    page = templates().get_template("report.html.j2").render(sections=sections)
    make_folder(out.parent)
    write_whole(out, page.encode())
    return out


def templates(*packages: str) -> Environment:
    """The report's templates, after those of the packages."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name) for name in (*packages, "convbench.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"duration": tables.duration, "pairs": _pairs, "weights": tables.weights_of}
    return made


def _pairs(settings: dict[str, Any], prefix: str = "") -> str:
    """Nested settings on one line: `epochs 20, optimizer.name sdlm`."""
    texts = [
        _pairs(value, f"{prefix}{key}.") if isinstance(value, dict) else f"{prefix}{key} {value}"
        for key, value in settings.items()
        if value is not None
    ]
    return ", ".join(filter(None, texts))
