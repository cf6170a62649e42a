"""What records say of detectors: those that learnt, with their rows on the page, and those counted and timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import FiniteFloat

from convbench.report.profiles import Load, Verdict

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
class DeckFigure:
    """A count that the lecture deck shows. metric: "macs" or "params"; reason: why ours is another, or agrees"""

    metric: str
    deck: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Matrix:
    """A detector that was counted by its parts and timed.

    family, backbone: such as "ssd" and "vgg16"; side: of its images, in pixels
    ap: ours in percent, of weights that learnt from the same data; None where there are none
    latencies: eager's, and the fastest engine's where that is another; none before it was timed
    """

    family: str
    backbone: str
    parts: tuple[Part, ...]
    side: int
    published: Printed
    source: str
    deck: tuple[DeckFigure, ...]
    latencies: tuple[Latency, ...]
    load: Load | None = None
    ap: FiniteFloat | None = None

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts)

    @property
    def macs(self) -> int:
        return sum(part.macs for part in self.parts)

    @property
    def fastest(self) -> Latency | None:
        return min(self.latencies, key=lambda one: one.p50, default=None)

    @property
    def eager(self) -> Latency | None:
        return next((one for one in self.latencies if one.engine == "eager"), None)

    def deck_figure(self, metric: str) -> DeckFigure | None:
        """The deck's number of this metric; None where it has none."""
        return next((one for one in self.deck if one.metric == metric), None)


@dataclass(frozen=True)
class LearntRow:
    """A detector that learnt: texts."""

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
                record.title,
                f"{found.n:,}",
                (*(f"{100 * one:.1f}" for one in (found.ap, found.ap50, found.ap75)), f"{100 * _mean(known):.1f}"),  # type: ignore[arg-type]
                ", ".join(f"{name} {100 * found.per_class[name]:.0f}" for name in best),
            )
        )
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
