"""Tables as a notebook shows them: what an object's `_repr_html_` is made of."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NONE = "–"  # where something is not known, or does not apply


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> str:
    """An HTML table, whole numbers and figures to the right; a cell that is None is a dash.

    note: a sentence below
    """
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = f"<p>{html.escape(note)}</p>" if note else ""
    return f"<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{lines}</table>{below}"


def facts(caption: str, known: Mapping[str, Any]) -> str:
    """A table of two columns: what, and its value."""
    lines = "".join(f"<tr><th>{html.escape(name)}</th>{_cell(value)}</tr>" for name, value in known.items())
    return f"<table><caption>{html.escape(caption)}</caption>{lines}</table>"


def figure(value: float | None, digits: int = 2) -> str:
    """A number with so many digits behind its point."""
    return NONE if value is None else f"{value:,.{digits}f}"


def interval(ends: Sequence[float] | None, digits: int = 2) -> str:
    """From one end to the other."""
    return NONE if ends is None else " to ".join(f"{end:.{digits}f}" for end in ends)


def _cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td style="text-align: right">{value:,}</td>'
    return f"<td>{html.escape(NONE if value is None else str(value))}</td>"
