"""What the page and the terminal show of detectors that learnt."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import FiniteFloat
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from convbench.report.records import Run

CLASSES = 10  # of a run, in its row
WHOLE_WIDTH = 125  # characters of the table where nothing else gives it a width


@dataclass(frozen=True)
class Voc:
    """Pascal VOC's AP of each class, by the area under the curve; None where there is nothing to find."""

    area: dict[str, FiniteFloat | None]


@dataclass(frozen=True)
class Detected:
    """COCO's figures, 0 to 1; -1 where there is nothing to find."""

    ap: FiniteFloat
    ap50: FiniteFloat
    ap75: FiniteFloat
    per_class: dict[str, FiniteFloat]
    voc: Voc
    n: int


@dataclass(frozen=True)
class LearntRow:
    """A detector that learnt: texts."""

    run: str
    title: str
    images: str
    figures: tuple[str, str, str, str]
    classes: str


def learnt_rows(runs: Sequence[Run]) -> list[LearntRow]:
    """The best first."""
    rows = []
    for run in runs:
        record = run.record
        assert record is not None and record.detected is not None
        found = record.detected
        known = [value for value in found.voc.area.values() if value is not None]
        best = sorted(found.per_class, key=lambda name: -found.per_class[name])[:CLASSES]
        rows.append(
            LearntRow(
                record.name,
                record.title,
                f"{found.n:,}",
                (*(f"{100 * one:.1f}" for one in (found.ap, found.ap50, found.ap75)), f"{100 * _mean(known):.1f}"),  # type: ignore[arg-type]
                ", ".join(f"{name} {100 * found.per_class[name]:.0f}" for name in best),
            )
        )
    return rows


def print_learnt(runs: Sequence[Run], console: Console) -> None:
    """AP and Pascal VOC's mAP of each detector, percent, and where its photographs with boxes lie."""
    if not console.is_terminal and console.file is sys.stdout:
        console.width = WHOLE_WIDTH  # a file or a pipe has no width of its own
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("detector", overflow="fold")
    for heading in ("AP %", "AP50 %", "AP75 %", "VOC mAP %", "images"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("AP of classes, %", overflow="fold")
    for row in learnt_rows(runs):
        table.add_row(Text(row.title), *row.figures, row.images, Text(row.classes))
    console.print(table)
    for run in runs:
        if run.found is not None:
            console.print(Text(f"boxes drawn: {run.found}"), soft_wrap=True)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
