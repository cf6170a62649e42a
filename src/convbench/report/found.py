"""What the page shows of detectors that learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import FiniteFloat

if TYPE_CHECKING:
    from convbench.report.records import Run

CLASSES = 10  # of a run, in its row


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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
