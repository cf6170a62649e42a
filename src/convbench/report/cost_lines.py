"""The lines of a cost's table, for page and terminal: each layer with the elementwise ones behind it, or by modules."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from convbench.counting import Row

ONE_SCREEN = 40  # lines; a longer table is shown by modules


@dataclass
class Line:
    """What stands on one line: a row, a layer with the elementwise ones behind it, or a whole module."""

    name: str
    rows: list[Row]
    kind: str = ""

    @property
    def last(self) -> Row:
        """The row whose output is the line's: a layer that stands alone with the elementwise ones behind it."""
        shaped = [row for row in self.rows if row.output_shape and row.bytes_written]
        return (shaped or self.rows)[-1]

    def sum_of(self, quantity: str) -> int:
        return sum(getattr(row, quantity) for row in self.rows)

    @property
    def stored_values(self) -> int:
        return sum(row.activations for row in self.rows if row.is_stored)

    @property
    def intensity(self) -> float | None:
        moved = self.sum_of("bytes_read") + self.sum_of("bytes_written")
        return sum(sum(row.operations.values()) for row in self.rows) / moved if moved else None


def merge_rows(rows: Sequence[Row]) -> list[Line]:
    """Elementwise layers stand with the one before them, unless they change its shape, as a concatenation does.

    A line that holds all layers of a module has its name.
    """
    lines: list[Line] = []
    for row in rows:
        is_new_shape = row.bytes_written and lines and row.output_shape != lines[-1].last.output_shape
        if row.is_stored or is_new_shape or not lines:
            lines.append(Line(row.name, [row], row.kind))
        else:
            lines[-1].rows.append(row)
            lines[-1].kind += f" {row.kind}"
    members = Counter(_parent(row) for row in rows)
    for line in lines:
        module = _parent(line.rows[0])
        if module and sum(_parent(row) == module for row in line.rows) == members[module]:
            line.name = module
    return lines


def _parent(row: Row) -> str:
    return row.name.rpartition(".")[0]


def shorten(lines: list[Line]) -> list[Line]:
    """Lines that fit on a screen: neighbours become one at the deepest level of names at which there are few enough."""
    depth = max((line.name.count(".") for line in lines), default=0)
    shorter = lines
    while len(shorter) > ONE_SCREEN and depth > 0:
        shorter = [_join(name, list(group)) for name, group in groupby(lines, partial(_module_of, depth=depth))]
        depth -= 1
    return shorter


def _module_of(line: Line, depth: int) -> str:
    """The first `depth` parts of its name."""
    return ".".join(line.name.split(".")[:depth])


def _join(name: str, lines: list[Line]) -> Line:
    if len(lines) == 1:
        return lines[0]
    rows = [row for line in lines for row in line.rows]
    layers = sum(row.macs > 0 for row in rows)
    return Line(name, rows, f"{layers} layers")
