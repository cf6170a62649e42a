"""The report's tables as Markdown, as CSV, and as values for JSON."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convbench.files import make_folder, write_whole
from convbench.report.efficiency import UNKNOWN
from convbench.report.grids import Grid, grids
from convbench.report.records import Suite

MARKUP = re.compile(r"([\\`*_\[\]<>|#~])")


def write_markdown(suites: Sequence[Suite], out: Path) -> Path:
    """Write all tables of `suites` to the Markdown file `out`; returns `out`."""
    make_folder(out.parent)
    write_whole(out, "\n\n".join(part for suite in suites for part in _parts(suite)).encode() + b"\n")
    return out


def write_csv(suites: Sequence[Suite], out: Path) -> list[Path]:
    """Write each table to <suite>-<table>.csv in the folder `out`; returns the files."""
    make_folder(out)
    written = []
    for suite in suites:
        for grid in grids(suite):
            path = out / f"{suite.name}-{grid.name}.csv"
            write_whole(path, _csv(grid).encode())
            written.append(path)
    return written


def plain(suites: Sequence[Suite]) -> list[dict[str, Any]]:
    """Plain values for JSON: each suite with its tables, by their names, as lists of rows."""
    return [
        {
            "suite": suite.name,
            "title": suite.title,
            "claim": suite.claim,
            "tables": {grid.name: list(grid.rows) for grid in grids(suite)},
        }
        for suite in suites
    ]


def _parts(suite: Suite) -> list[str]:
    parts = [f"# {_escaped(suite.title)}"]
    if suite.claim:
        parts.append(_escaped(suite.claim))
    for grid in grids(suite):
        parts += [f"## {_escaped(grid.title)}", _table(grid)]
    return parts


def _table(grid: Grid) -> str:
    """A source with an address is a link, so that `url` needs no column of its own."""
    columns = [name for name in grid.rows[0] if name != "url"]
    numbers = {name for name in columns if all(isinstance(row[name], int | float | None) for row in grid.rows)}
    lines = [
        [name.replace("_", " ") for name in columns],
        ["---:" if name in numbers else "---" for name in columns],
        *([_linked(row) if name == "source" else _text(row[name]) for name in columns] for row in grid.rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _linked(row: dict[str, Any]) -> str:
    text = _text(row["source"])
    return f"[{text}]({row['url']})" if row["url"] else text


def _text(value: Any) -> str:
    """Numbers with their thousands set apart, and no more than four digits where they were computed."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if 1900 < value < 2100 else f"{value:,}"
    if isinstance(value, float):
        return str(value) if len(str(value)) <= 5 else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return _escaped(str(value))


def _escaped(text: str) -> str:
    """On one line, and nothing in it is markup."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def _csv(grid: Grid) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(grid.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(grid.rows)
    return text.getvalue()
