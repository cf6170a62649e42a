"""Pages from templates, which share pieces with the report's."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment

from convbench.report.html import templates

SECTIONS = (("networks", "Networks"), ("look", "Look"), ("digits", "Digits"), ("runs", "Runs"), ("claims", "Claims"))


@cache
def environment() -> Environment:
    """Templates of the explorer, then of the report."""
    made = templates("convbench.web")
    made.globals["sections"] = SECTIONS
    return made


def page(
    template: str, section: str, title: str, *, status: int = 200, unfinished: bool = False, **values: Any
) -> HTMLResponse:
    """The page of a template.

    section: the one that the navigation marks
    unfinished: whether parts of it, which the template marks, are still being made: the page then asks for them again
    """
    content = environment().get_template(template).render(section=section, title=title, unfinished=unfinished, **values)
    return HTMLResponse(content, status)
