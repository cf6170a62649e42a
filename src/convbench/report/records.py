"""Run folders read back as typed, checked records; nothing else in `report` touches the disk but the page itself.

`<runs>/<suite>/<run>/` holds record.json, metrics.jsonl (one epoch a line), worst.png (the worst-classified images),
classes.png (images of the easiest and the hardest classes) and explain/ (pictures of what its network looks at).
`<runs>/<suite>/suite.json`, where there is one, gives the suite's title, its claim and the runs it should have, so that
a missing run is seen to be missing, what the seeds decide, and entries of the ImageNet challenge to show beside them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from convbench.errors import ConvbenchError, RequestError, unknown
from convbench.report.detectors import DetectorProfile
from convbench.report.found import Detected
from convbench.report.profiles import Profile
from convbench.report.results import (
    ChallengeEntry,
    Cost,
    Data,
    Decision,
    Extremes,
    Machine,
    Published,
    Result,
    Seconds,
    Subject,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """record.json as it stands: what, on what, with what, and what came out.

    A run that is done has learnt from `data` and has a `result`, or was costed and measured and has a `profile`; of a
    detector these are `detected` and `detector`.
    """

    schema: Literal[1]
    suite: str
    name: str
    title: str
    status: Literal["done", "failed", "running"]
    error: str | None
    subject: Subject
    recipe: dict[str, Any] | None
    preprocessing: dict[str, Any] | None
    data: Data | None
    seed: int | None
    result: Result | None
    cost: Cost | None
    published: Published | None
    seconds: Seconds | None
    machine: Machine | None
    versions: dict[str, str]
    commit: str | None
    command: str | None
    started: str | None
    finished: str | None
    profile: Profile | None = None
    detector: DetectorProfile | None = None
    detected: Detected | None = None
    extremes: Extremes | None = None

    def __post_init__(self) -> None:
        if self.status != "done" or self.detected is not None:
            return
        if self.profile is not None:
            if self.published is None or self.published.error is None:
                raise ValueError("a run that has a `profile` has a `published` error beside it")
            return
        if self.detector is not None:
            if self.published is None or self.published.ap is None:
                raise ValueError("a run that has a `detector` has a `published` ap beside it")
            return
        if self.result is None or self.data is None:
            raise ValueError("a run that is done has `data` and a `result`, or a `profile`")
        k = len(self.data.classes)
        if len(self.result.per_class) != k or [len(row) for row in self.result.confusion] != [k] * k:
            raise ValueError(f"expected `per_class` and `confusion` over the {k} classes of `data`")
        if not all(0 <= index < k for bad in self.result.worst for index in (bad.label, bad.predicted)):
            raise ValueError(f"expected the labels of `worst` to lie in 0..{k - 1}")
        shown = (*self.extremes.easiest, *self.extremes.hardest) if self.extremes else ()
        if not all(0 <= index < k for one in shown for index in (one.label, *one.predicted)):
            raise ValueError(f"expected the labels of `extremes` to lie in 0..{k - 1}")


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.jsonl; errors in percent, a detector's AP50 from 0 to 1."""

    epoch: int
    loss: float
    lr: float
    train_error: FiniteFloat | None
    test_error: FiniteFloat | None
    seconds: float
    images_per_s: float
    validation_error: FiniteFloat | None = None
    test_ap50: FiniteFloat | None = None


@dataclass(frozen=True)
class Run:
    """A run folder: `record` is None where record.json is missing, `worst` is the contact sheet if there is one.

    classes: the sheet of the easiest and the hardest classes
    explained: the pictures that `convbench explain` left in it
    found: photographs with what a detector found in them
    """

    name: str
    record: Record | None
    epochs: tuple[Epoch, ...] = ()
    worst: Path | None = None
    classes: Path | None = None
    explained: tuple[Path, ...] = ()
    found: Path | None = None


@dataclass(frozen=True)
class Suite:
    """A suite's runs in the order in which it names them, then those that it does not name."""

    name: str
    title: str
    claim: str | None
    runs: tuple[Run, ...]
    challenge: tuple[ChallengeEntry, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def done(self) -> tuple[Run, ...]:
        """The finished runs that learnt, fewest errors first."""
        learnt = [run for run in self.finished if run.record and run.record.result]
        return tuple(sorted(learnt, key=lambda run: (measured(run).top1_error, run.name)))

    @property
    def profiled(self) -> tuple[Record, ...]:
        """The records of the networks that were costed and measured."""
        return tuple(run.record for run in self.finished if run.record and run.record.profile)

    @property
    def detectors(self) -> tuple[Record, ...]:
        """The records of the detectors that were costed and measured."""
        return tuple(run.record for run in self.finished if run.record and run.record.detector)

    @property
    def learnt_to_find(self) -> tuple[Run, ...]:
        """The detectors that learnt, the highest AP first."""
        learnt = [(run, run.record.detected.ap) for run in self.finished if run.record and run.record.detected]
        return tuple(run for run, _ in sorted(learnt, key=lambda pair: (-pair[1], pair[0].name)))

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that are done."""
        return tuple(run for run in self.runs if run.record is not None and run.record.status == "done")


@dataclass(frozen=True)
class SuiteFile:
    """suite.json: what a suite is called, what it is for, and the runs that it should have."""

    title: str | None = None
    claim: str | None = None
    runs: tuple[str, ...] = field(default=())
    challenge: tuple[ChallengeEntry, ...] = field(default=())
    decisions: tuple[Decision, ...] = field(default=())


def measured(run: Run) -> Result:
    """The result of a run that is done."""
    assert run.record is not None and run.record.result is not None, run.name
    return run.record.result


def read_record(path: Path) -> Record:
    """Read one record.json; a broken one is a one-line ConvbenchError that names the file and the field."""
    return _parse(Record, path, path.read_bytes())


def read_run(folder: Path) -> Run:
    """Read a run folder; whatever it does not hold (yet) is None or empty."""
    record, metrics, worst = folder / "record.json", folder / "metrics.jsonl", folder / "worst.png"
    found, classes = folder / "found.png", folder / "classes.png"
    return Run(
        name=folder.name,
        record=read_record(record) if record.is_file() else None,
        epochs=_read_epochs(metrics) if metrics.is_file() else (),
        worst=worst if worst.is_file() else None,
        classes=classes if classes.is_file() else None,
        explained=tuple(sorted((folder / "explain").rglob("*.png"))),
        found=found if found.is_file() else None,
    )


def read_suites(runs: Path, names: Sequence[str] = ()) -> tuple[Suite, ...]:
    """Read the suites under `runs`: those named, in that order, or all of them by name.

    Raises RequestError when the folder holds no runs or lacks a named suite, ConvbenchError when a file is broken.
    """
    folders = {path.name: path for path in sorted(runs.iterdir()) if _is_suite(path)} if runs.is_dir() else {}
    if not folders:
        raise RequestError(f"no runs in {runs}: expected <suite>/<run>/record.json, as `convbench run SUITE` writes it")
    for name in names:
        if name not in folders:
            raise unknown("suite", name, folders)
    return tuple(_read_suite(folders[name]) for name in names or folders)


def _is_suite(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_dir() for path in folder.iterdir())


def read_suite_file(folder: Path) -> SuiteFile:
    """A suite folder's suite.json; empty where there is none, ConvbenchError where it is broken."""
    path = folder / "suite.json"
    return _parse(SuiteFile, path, path.read_bytes()) if path.is_file() else SuiteFile()


def _read_suite(folder: Path) -> Suite:
    about = read_suite_file(folder)
    found = sorted(child.name for child in folder.iterdir() if child.is_dir())
    runs = tuple(read_run(folder / name) for name in dict.fromkeys((*about.runs, *found)))
    return Suite(folder.name, about.title or folder.name, about.claim, runs, about.challenge, about.decisions)


def _read_epochs(path: Path) -> tuple[Epoch, ...]:
    # A killed run leaves its last line unfinished: what stands after the last newline is not a line yet.
    lines = path.read_bytes().split(b"\n")[:-1]
    return tuple(_parse(Epoch, path, line, f"line {number}: ") for number, line in enumerate(lines, start=1))


@cache  # made for each file, they would take longer than the reading
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _parse(kind: type[T], path: Path, text: bytes, where: str = "") -> T:
    try:
        parsed: T = _adapter(cast("Hashable", kind)).validate_json(text)
    except ValidationError as error:
        first, *rest = error.errors(include_url=False)
        spot = ".".join(str(part) for part in first["loc"])
        found = f", found {first['input']!r:.40}" if first["type"] != "json_invalid" and spot else ""
        more = f" (and {len(rest)} more)" if rest else ""
        message = f"{path}: {where}{spot + ': ' if spot else ''}{first['msg']}{found}{more}"
        raise ConvbenchError(" ".join(message.split())) from None
    return parsed
