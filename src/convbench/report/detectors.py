"""What the page shows of detectors: those that learnt, and a matrix of those that were counted and timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import FiniteFloat

if TYPE_CHECKING:
    from convbench.report.records import Record, Run

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
class Part:
    """params and macs of one image; times: how often the part runs for it"""

    name: str
    params: int
    macs: int
    times: int


@dataclass(frozen=True)
class Printed:
    """What the paper says: AP in percent, multiply-adds, parameters."""

    ap: FiniteFloat
    macs: FiniteFloat
    params: FiniteFloat


@dataclass(frozen=True)
class Latency:
    """Milliseconds from a prepared photograph to boxes, and of that after the network."""

    engine: str
    p50: FiniteFloat
    boxes_p50: FiniteFloat
    candidates: int
    found: int


@dataclass(frozen=True)
class Matrix:
    """A detector that was counted by its parts and timed."""

    parts: tuple[Part, ...]
    side: int
    published: Printed
    source: str
    latencies: tuple[Latency, ...]

    @property
    def fastest(self) -> Latency:
        return min(self.latencies, key=lambda one: one.p50)


@dataclass(frozen=True)
class LearntRow:
    """A detector that learnt: texts."""

    title: str
    images: str
    figures: tuple[str, str, str, str]
    classes: str


@dataclass(frozen=True)
class MatrixRow:
    """A detector of a matrix: texts. differs: which of (multiply-adds, parameters) are not as printed."""

    title: str
    ap: str
    macs: tuple[str, str]
    params: tuple[str, str]
    differs: tuple[bool, bool]
    parts: tuple[tuple[str, str, str], ...]
    latency: str
    boxes: str
    engine: str


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
                record.title,
                f"{found.n:,}",
                (*(f"{100 * one:.1f}" for one in (found.ap, found.ap50, found.ap75)), f"{100 * _mean(known):.1f}"),  # type: ignore[arg-type]
                ", ".join(f"{name} {100 * found.per_class[name]:.0f}" for name in best),
            )
        )
    return rows


def matrix_rows(records: Sequence[Record]) -> list[MatrixRow]:
    """In the order given."""
    rows = []
    for record in records:
        matrix, cost = record.matrix, record.cost
        assert matrix is not None and cost is not None and cost.macs is not None and cost.params is not None
        macs = f"{cost.macs / 1e9:.1f}", f"{matrix.published.macs / 1e9:.1f}"
        params = f"{cost.params / 1e6:.1f}", f"{matrix.published.params / 1e6:.1f}"
        cut = f"{int(cost.params / 1e5) / 10:.1f}"  # the paper cuts some, and rounds others
        rows.append(
            MatrixRow(
                record.title,
                f"{matrix.published.ap:.1f}",
                macs,
                params,
                (macs[0] != macs[1], params[1] not in (params[0], cut)),
                tuple(_part(one) for one in matrix.parts),
                f"{matrix.fastest.p50:.1f}",
                f"{matrix.fastest.boxes_p50:.1f}",
                matrix.fastest.engine,
            )
        )
    return rows


def _part(one: Part) -> tuple[str, str, str]:
    name = one.name if one.times == 1 else f"{one.name}, {one.times} times"
    return name, f"{one.macs / 1e9:.2f}", f"{one.params / 1e6:.2f}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
