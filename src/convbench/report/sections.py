"""What the page shows of one suite: the charts, rows, sentences and pictures, ready for the template."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from convbench.errors import ConvbenchError
from convbench.report import charts, tables
from convbench.report.comparison_section import Comparison, comparison
from convbench.report.drawing import Figure, figure_of
from convbench.report.findings import best, findings
from convbench.report.found import LearntRow, learnt_rows
from convbench.report.matrix_section import Matrix, matrix_section
from convbench.report.records import Record, Run, Split, Suite, measured

SHEET_COLUMNS = 12  # images in a row of worst.png
CLASS_ROWS = 10  # methods in the strip of errors per class
KINDS: tuple[Kind, ...] = ("network", "rival", "ensemble")


@dataclass(frozen=True)
class Tile:
    """One badly classified image, as a data URI, with the names of its true and its predicted class."""

    image: str
    true: str
    predicted: str


@dataclass(frozen=True)
class Titled:
    """A chart under the title of its run."""

    title: str
    chart: Markup


@dataclass(frozen=True)
class CostChart:
    """Error against one cost, of which `unknown` runs have no count and so are not in the chart."""

    unit: str
    unknown: int
    figure: Figure


@dataclass(frozen=True)
class Gallery:
    """The worst images of one run."""

    title: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Explained:
    """What one run's network looks at: pictures by their names."""

    title: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Unfinished:
    """A run without a result, and why."""

    title: str
    status: str
    reason: str


@dataclass(frozen=True)
class Place:
    """Where `runs` of the runs were made: `record` is one of them."""

    runs: int
    record: Record


@dataclass(frozen=True)
class Section:
    """Everything the page says about one suite; what there is nothing to show of is empty or None."""

    suite: Suite
    what: tuple[str, ...]
    findings: tuple[str, ...]
    comparison: Comparison | None
    matrix: Matrix | None
    rows: tuple[tables.Row, ...]
    compared: Figure | None
    costs: tuple[CostChart, ...]
    curves: tuple[Titled, ...]
    classes: Figure | None
    confusion: Titled | None
    galleries: tuple[Gallery, ...]
    explained: tuple[Explained, ...]
    learnt: tuple[LearntRow, ...]
    found: tuple[tuple[str, str], ...]
    unfinished: tuple[Unfinished, ...]
    places: tuple[Place, ...]


def section(suite: Suite) -> Section:
    """Everything the page says about `suite`."""
    done = suite.done
    trained = [run for run in done if any(epoch.test_error is not None for epoch in run.epochs)]
    domain = charts.curve_domain(trained)
    network = best(done, "network")
    compared = comparison(suite.profiled) if suite.profiled else None
    found = matrix_section(suite.detectors) if suite.detectors else None
    trained_here = [*done, *suite.learnt_to_find]
    leaders = [run for run in (best(done, kind) for kind in KINDS) if run and run.worst]
    return Section(
        suite=suite,
        what=tuple(_what(done, suite.learnt_to_find, compared, found)),
        findings=(*_findings(done), *(one for part in (compared, found) if part for one in part.findings)),
        comparison=compared,
        matrix=found,
        rows=tuple(tables.rows(run.record for run in done if run.record)),
        compared=figure_of(partial(charts.published_beside_measured, done)) if done else None,
        costs=tuple(_costs(done)),
        curves=tuple(Titled(_title(run), charts.curve(run, domain)) for run in trained),
        classes=figure_of(partial(charts.per_class, done[:CLASS_ROWS])) if done else None,
        confusion=Titled(_title(network), charts.confusion(network)) if network else None,
        galleries=tuple(Gallery(_title(run), _tiles(run, run.worst)) for run in leaders if run.worst),
        explained=tuple(
            Explained(_title(run), tuple((file.stem, _uri(file.read_bytes())) for file in run.explained))
            for run in done
            if run.explained
        ),
        learnt=tuple(learnt_rows(suite.learnt_to_find)),
        found=tuple((_title(run), _uri(run.found.read_bytes())) for run in suite.learnt_to_find if run.found),
        unfinished=tuple(_unfinished(suite)),
        places=tuple(_places([*(run.record for run in trained_here if run.record), *suite.profiled, *suite.detectors])),
    )


def _title(run: Run) -> str:
    return run.record.title if run.record else run.name


def _splits(runs: Sequence[Run], which: str) -> list[Split]:
    """The distinct training or test splits, in the order in which the runs name them."""
    data = (run.record.data for run in runs if run.record)
    return list(dict.fromkeys(getattr(each, which) for each in data if each))


def _what(runs: Sequence[Run], learnt: Sequence[Run], *compared: Comparison | Matrix | None) -> list[str]:
    said = [part.what for part in compared if part]
    for these, name in ((runs, "method"), (learnt, "detector")):
        if these:
            train, test = (
                " and ".join(f"{split.name} {split.split} ({split.n:,} images)" for split in _splits(these, which))
                for which in ("train", "test")
            )
            count = f"1 {name}" if len(these) == 1 else f"{len(these)} {name}s"
            said.append(f"{count}, trained on {train}, tested on {test}.")
    return said or ["No run of this suite is done."]


def _findings(runs: Sequence[Run]) -> list[str]:
    """Only errors on the same test set are compared; where there are several, each set speaks for itself."""
    tests = _splits(runs, "test")
    if len(tests) < 2:
        return findings(runs)
    groups = {
        test: [run for run in runs if run.record and run.record.data and run.record.data.test == test] for test in tests
    }
    return [
        f"On {test.name} {test.split}: {sentence}" for test, group in groups.items() for sentence in findings(group)
    ]


def _costs(runs: Sequence[Run]) -> list[CostChart]:
    """The charts of error against cost; one is left out when fewer than two runs know that cost."""
    drawn = []
    for cost, unit in charts.COSTS.items():
        known = [run for run in runs if charts.cost_of(run, cost)]
        if len(known) > 1:
            figure = figure_of(partial(charts.error_against, known, cost))
            drawn.append(CostChart(unit, len(runs) - len(known), figure))
    return drawn


def _tiles(run: Run, sheet: Path) -> tuple[Tile, ...]:
    """Cut the contact sheet into its images, so that each can stand over its own caption on any width."""
    result, data = measured(run), run.record.data if run.record else None
    assert data is not None
    tiles = []
    try:
        with Image.open(sheet) as image:
            side = image.height // math.ceil(len(result.worst) / SHEET_COLUMNS) if result.worst else 0
            for number, bad in enumerate(result.worst):
                top, left = side * (number // SHEET_COLUMNS), side * (number % SHEET_COLUMNS)
                buffer = io.BytesIO()
                image.crop((left, top, left + side, top + side)).save(buffer, "png")
                tiles.append(Tile(_uri(buffer.getvalue()), data.classes[bad.label], data.classes[bad.predicted]))
    except OSError as error:
        raise ConvbenchError(f"{sheet}: expected a PNG contact sheet of {len(result.worst)} images: {error}") from None
    return tuple(tiles)


def _uri(png: bytes) -> str:
    """The picture itself as an address, so that the page needs no other file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _unfinished(suite: Suite) -> list[Unfinished]:
    reasons = {
        "failed": "no error line was recorded",
        "running": "not finished: the suite's command resumes it",
    }
    unfinished = []
    for run in suite.runs:
        if run.record is None:
            unfinished.append(Unfinished(run.name, "missing", "no record.json: it was never run here"))
        elif run.record.status != "done":
            status = run.record.status
            unfinished.append(Unfinished(run.record.title, status, run.record.error or reasons[status]))
    return unfinished


def _places(made: Sequence[Record]) -> list[Place]:
    """The distinct machines, versions and commits, most runs first."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in made:
        key = (record.machine, tuple(sorted(record.versions.items())), record.commit)
        groups.setdefault(key, []).append(record)
    return [Place(len(records), records[0]) for records in sorted(groups.values(), key=len, reverse=True)]
