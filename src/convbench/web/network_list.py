"""What the networks' table and its bubble charts show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from convbench.bench.suite import open_suite, read_errors
from convbench.report.bubbles import Bubble, bubble_chart
from convbench.report.comparison import compare, rank
from convbench.report.drawing import Figure, figure_of
from convbench.report.efficiency import UNKNOWN, milliseconds
from convbench.report.profiles import Timed
from convbench.report.published_figures import measured_on
from convbench.report.records import Record
from convbench.report.retelling import describe_detectors, describe_networks
from convbench.web.measured import describe_machine

AUTHORS = re.compile(r"^(\w+)(?:, \w+)* & \w+")  # of a citation
COMPARISON = "imagenet-costs"  # the suite that says by which published errors networks can be compared


@dataclass(frozen=True)
class Row:
    """One network or detector as text. error: top-1, of ten classes their only one, or of a detector its AP."""

    name: str
    title: str
    family: str
    year: str
    paper: str
    arxiv: str
    params: str
    macs: str
    error: str
    top5_error: str
    measured_on: str
    latency: str
    engine: str

    @property
    def about(self) -> str:
        """What a filter looks in."""
        return f"{self.name} {self.title} {self.family} {self.paper} {self.year} {self.measured_on}".casefold()

    @property
    def short_paper(self) -> str:
        """With the first of several authors alone."""
        return AUTHORS.sub(r"\1 et al.", self.paper)

    def has(self, text: str) -> bool:
        """Whether every word of `text` stands in what it is about."""
        return all(word in self.about for word in text.casefold().split())


def network_rows(family: str | None, text: str, records: Sequence[Record]) -> list[Row]:
    """The networks of a family (all by default) that have `text`, with the latency that the records have.

    Raises RequestError for an unknown family.
    """
    fastest = _fastest(records)
    rows = [_row(one, one.get("top1_error", one.get("error")), fastest) for one in describe_networks(family)]
    return [row for row in rows if row.has(text)]


def detector_rows(family: str | None, text: str, records: Sequence[Record]) -> list[Row]:
    """The same of detectors."""
    fastest = _fastest(records)
    rows = [_row(one, one["ap"], fastest) for one in describe_detectors(family)]
    return [row for row in rows if row.has(text)]


def families() -> list[str]:
    """Networks' and detectors', in the order of the papers."""
    return list(dict.fromkeys(one["family"] for one in (*describe_networks(), *describe_detectors())))


def error_against_operations() -> Figure:
    """The networks with a published error that others can be compared by, after the suite's choice of protocols."""
    entries = {one["name"]: one for one in describe_networks()}
    specs = open_suite(COMPARISON)[1].networks
    published = [(spec, read_errors(spec)["error"]) for spec in specs]
    alike = [(spec, error) for spec, error in published if not spec.mark]
    ranks = rank([(entries[spec.network]["macs"], error) for spec, error in alike])
    front = {spec.network for (spec, _), place in zip(alike, ranks, strict=True) if place == 1}
    bubbles = [
        Bubble(
            title=spec.title,
            cost=entries[spec.network]["macs"] / 1e9,
            error=error,
            params=entries[spec.network]["params"],
            kind="apart" if spec.mark else "front" if spec.network in front else "other",
            href=f"/networks/{spec.network}",
        )
        for spec, error in published
    ]
    return figure_of(partial(bubble_chart, bubbles, "multiply-adds", "G"))


def timed_networks(records: Sequence[Record]) -> tuple[Bubble, ...]:
    """The same networks by their measured latency of one image, in milliseconds."""
    return tuple(
        Bubble(
            title=one.title,
            cost=one.latency_ms,
            error=one.error,
            params=one.params,
            kind="apart" if one.rank is None else "front" if one.fast_front else "other",
            href=f"/networks/{one.record.subject.name}",
        )
        for one in compare(_networks(records))
        if one.latency_ms is not None
    )


def error_against_latency(timed: Sequence[Bubble]) -> Figure | None:
    """None where fewer than two networks were timed."""
    return figure_of(partial(bubble_chart, timed, "latency", "ms")) if len(timed) > 1 else None


def machines(records: Sequence[Record]) -> list[str]:
    """On what the networks were measured, each once."""
    return list(dict.fromkeys(describe_machine(record.machine) for record in _networks(records)))


def _networks(records: Sequence[Record]) -> list[Record]:
    """One record a network, the last: several suites may have measured it."""
    return list({record.subject.name: record for record in records if record.profile}.values())


def _fastest(records: Sequence[Record]) -> dict[str, Timed]:
    """The fastest engine for one image by the network's name."""
    found = dict[str, Timed]()
    for record in records:
        profile = record.profile or record.detector
        timed = profile.measurements.fastest(1) if profile and profile.measurements else None
        if timed and not record.subject.arguments:
            found[record.subject.name] = timed
    return found


def _row(entry: dict[str, Any], error: float | None, fastest: dict[str, Timed]) -> Row:
    timed = fastest.get(entry["name"])
    is_detector = "ap" in entry
    return Row(
        name=entry["name"],
        title=entry["title"],
        family=entry["family"],
        year=str(entry.get("year", UNKNOWN)),
        paper=entry.get("paper", entry.get("departure", UNKNOWN)),
        arxiv=entry.get("arxiv", ""),
        params=f"{entry['params'] / 1e6:,.3f}",
        macs=f"{entry['macs'] / 1e6:,.1f}",
        error=UNKNOWN if error is None else str(error),
        top5_error=str(entry.get("top5_error", UNKNOWN)),
        measured_on=f"COCO minival, {entry['input'][-1]} pixels" if is_detector else measured_on(entry),
        latency=milliseconds(timed),
        engine=timed.engine if timed else "",
    )
