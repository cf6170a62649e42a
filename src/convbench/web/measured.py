"""What the runs' folder says of measured networks: the records of comparison suites, read again when they change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convbench.report.efficiency import UNKNOWN, milliseconds, three_digits
from convbench.report.profiles import Measurements, Timed
from convbench.report.records import Record
from convbench.report.results import Machine
from convbench.web.kept_records import KeptRecords


@dataclass(frozen=True)
class EngineRow:
    """One engine at one batch size as text; why: where it has no times."""

    engine: str
    batch_size: int
    median: str
    interval: str
    faster: str
    images_per_s: str
    why: str


@dataclass(frozen=True)
class MeasuredRun:
    """One run of a comparison. machine: on which, and when; busy: percent of it that other work took."""

    suite: str
    name: str
    machine: str
    busy: float | None
    rows: tuple[EngineRow, ...]


class Measured:
    """The records with a profile, of all suites under a folder of runs."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self._kept = KeptRecords()

    def records(self) -> list[Record]:
        """Of networks and detectors that were costed and measured, suite by suite; broken ones are left out, as the
        runs' page tells of them."""
        found = [self._kept.get(path) for path in sorted(self.runs.glob("*/*/record.json"))]
        return [one for one in found if one and one.status == "done" and _measurements(one) is not None]

    def of(self, network: str) -> list[MeasuredRun]:
        """The measurements of one network or detector, as it was published."""
        return [
            _run(record, measurements)
            for record in self.records()
            if record.subject.name == network
            and not record.subject.arguments
            and (measurements := _measurements(record)) is not None
        ]


def _measurements(record: Record) -> Measurements | None:
    profile = record.profile or record.detector
    return profile.measurements if profile else None


def describe_machine(machine: Machine | None) -> str:
    """In a few words."""
    if machine is None:
        return "an unknown machine"
    return f"{machine.cores} cores of {machine.cpu}, {machine.memory_gib:g} GiB, {machine.os}"


def _run(record: Record, measurements: Measurements) -> MeasuredRun:
    day = f"; {record.finished[:10]}" if record.finished else ""
    return MeasuredRun(
        suite=record.suite,
        name=record.name,
        machine=describe_machine(record.machine) + day,
        busy=measurements.machine.load.other,
        rows=engine_rows(measurements),
    )


def engine_rows(measurements: Measurements) -> tuple[EngineRow, ...]:
    """What was timed, by the size of its batch."""
    return tuple(_row(timed) for timed in sorted(measurements.results, key=lambda one: one.batch_size))


def _row(timed: Timed) -> EngineRow:
    if timed.latency_ms is None:
        nothing = (UNKNOWN,) * 4
        return EngineRow(timed.engine, timed.batch_size, *nothing, timed.reason or timed.status)
    ratio, speed = timed.ratio_to_eager, timed.images_per_s
    return EngineRow(
        engine=timed.engine,
        batch_size=timed.batch_size,
        median=milliseconds(timed),
        interval="–".join(three_digits(end) for end in timed.latency_ms.interval),
        faster=f"{three_digits(ratio.value)}×" if ratio else UNKNOWN,
        images_per_s=three_digits(speed) if speed else UNKNOWN,
        why="",
    )
