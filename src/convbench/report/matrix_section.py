"""What the page shows of a suite's comparison of detectors, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from convbench.report.drawing import Figure, figure_of
from convbench.report.matrix import (
    FAMILIES,
    PARTS,
    Entry,
    Row,
    SplitRow,
    conditions,
    differences,
    findings,
    matrix,
    rows,
    split_rows,
)
from convbench.report.matrix_chart import INKS, Mark, precision_chart
from convbench.report.records import Record

BACKBONES = {"vgg16": "VGG-16", "inception_v2_slim": "Inception v2", "mobilenet_v1": "MobileNet"}


@dataclass(frozen=True)
class Chart:
    """Average precision against one cost."""

    cost: str
    figure: Figure


@dataclass(frozen=True)
class Matrix:
    """Everything that the page says of detectors that were costed and measured.

    inks: (backbone, colour) and families: (name, whether its marks are hollow), for the key of the charts
    differences: the deck's counts that are not ours, and why; conditions: of the times; empty where none were taken
    proposals: of an image, that the multiply-adds are of; 1 where no detector has a second stage
    """

    what: str
    findings: tuple[str, ...]
    charts: tuple[Chart, ...]
    inks: tuple[tuple[str, str], ...]
    families: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]
    parts: tuple[str, ...]
    split_rows: tuple[SplitRow, ...]
    differences: tuple[tuple[str, str], ...]
    conditions: tuple[str, ...]
    proposals: int


def matrix_section(records: Sequence[Record]) -> Matrix:
    """Everything that the page says of the detectors of `records`, which are in the suite's order."""
    entries = matrix(records)
    backbones = list(dict.fromkeys(one.profile.backbone for one in entries))
    inks = {name: INKS[place % len(INKS)] for place, name in enumerate(backbones)}
    families = list(dict.fromkeys(one.profile.family for one in entries))
    return Matrix(
        what=f"{len(entries)} detectors, each counted part by part; average precisions are published ones.",
        findings=tuple(findings(entries)),
        charts=tuple(_charts(entries, inks)),
        inks=tuple((BACKBONES.get(name, name), ink) for name, ink in inks.items()),
        families=tuple((FAMILIES.get(name, name), name != "ssd") for name in families),
        rows=tuple(rows(entries)),
        parts=PARTS,
        split_rows=tuple(split_rows(entries)),
        differences=tuple(differences(entries)),
        conditions=tuple(conditions(entries)),
        proposals=max(part.times for one in entries for part in one.profile.parts),
    )


def _charts(entries: Sequence[Entry], inks: dict[str, str]) -> list[Chart]:
    """Against multiply-adds, and against latency; one with fewer than two detectors is left out."""
    counted = [_mark(one, one.profile.macs / 1e9, inks) for one in entries]
    timed = [_mark(one, one.latency_ms, inks) for one in entries if one.latency_ms]
    return [
        Chart(cost, figure_of(partial(precision_chart, marks, cost, unit)))
        for cost, unit, marks in (("multiply-adds", "G", counted), ("latency", "ms", timed))
        if len(marks) > 1
    ]


def _mark(one: Entry, cost: float, inks: dict[str, str]) -> Mark:
    profile = one.profile
    family = FAMILIES.get(profile.family, profile.family).replace("Faster", "F.")
    backbone = BACKBONES.get(profile.backbone, profile.backbone)
    return Mark(
        title=one.title,
        short=f"{family} {profile.side} {backbone[0]}",
        group=f"{profile.family} {profile.backbone}",
        cost=cost,
        ap=one.ap,
        params=profile.params,
        ink=inks[profile.backbone],
        is_hollow=profile.family != "ssd",
    )
