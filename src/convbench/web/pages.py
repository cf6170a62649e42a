"""Pages from templates, which share pieces with the report's."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from convbench.report.html import FILTERS

SECTIONS = (("networks", "Networks"), ("look", "Look"), ("digits", "Digits"), ("runs", "Runs"), ("claims", "Claims"))


@cache
def environment() -> Environment:
    """Templates of the explorer, then of the report."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader("convbench.web"), PackageLoader("convbench.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["sections"] = SECTIONS
    made.filters |= FILTERS
    return made


def page(template: str, section: str, title: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The page of a template; section: the one that the navigation marks."""
    content = environment().get_template(template).render(section=section, title=title, **values)
    return HTMLResponse(content, status)
