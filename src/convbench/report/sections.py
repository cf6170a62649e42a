"""What the page shows of one suite: the charts, rows, sentences and pictures, ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

from convbench.report import charts, tables
from convbench.report.challenge import challenge_chart
from convbench.report.comparison_section import Comparison, comparison
from convbench.report.drawing import Figure, figure_of
from convbench.report.extremes import ExtremeClasses, extreme_classes
from convbench.report.findings import best, findings, seed_findings
from convbench.report.found import LearntRow, learnt_rows
from convbench.report.layers import LayerRow, Strips, layer_rows, strips
from convbench.report.matrix_section import Matrix, matrix_section
from convbench.report.records import Record, Run, Suite, measured
from convbench.report.results import ChallengeEntry, Decision, Kind, Split
from convbench.report.seed_charts import curve_domain, curve_with_band, where_seeds_ended
from convbench.report.seeds import Method, SeedRow, band, methods, middle_runs, seed_rows, title_of
from convbench.report.sheets import cut_sheet, data_uri

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
class Seeds:
    """What several seeds of the same methods say: `curves` under their titles, `ends` all together."""

    rows: tuple[SeedRow, ...]
    curves: tuple[Titled, ...]
    ends: Figure


@dataclass(frozen=True)
class Challenge:
    """The ImageNet challenge by year, as a chart and as its entries."""

    figure: Figure
    entries: tuple[ChallengeEntry, ...]


@dataclass(frozen=True)
class Section:
    """Everything the page says about one suite; what there is nothing to show of is empty or None.

    anchors: of the runs' particulars on the page, by the runs' names; linked: whether a published figure has an address
    """

    suite: Suite
    anchors: dict[str, str]
    linked: bool
    what: tuple[str, ...]
    findings: tuple[str, ...]
    comparison: Comparison | None
    matrix: Matrix | None
    rows: tuple[tables.Row, ...]
    seeds: Seeds | None
    decisions: tuple[Decision, ...]
    compared: Figure | None
    costs: tuple[CostChart, ...]
    curves: tuple[Titled, ...]
    classes: Figure | None
    extremes: ExtremeClasses | None
    confusion: Titled | None
    galleries: tuple[Gallery, ...]
    strips: tuple[Strips, ...]
    layers: tuple[LayerRow, ...]
    challenge: Challenge | None
    explained: tuple[Explained, ...]
    learnt: tuple[LearntRow, ...]
    found: tuple[tuple[str, str], ...]
    unfinished: tuple[Unfinished, ...]
    places: tuple[Place, ...]


def section(suite: Suite, number: int = 1) -> Section:
    """Everything the page says about `suite`, the page's `number`-th.

    Of a method with several seeds, the middle run stands for all in charts that show runs, and in sentences.
    """
    done, several = middle_runs(suite.done), methods(suite.done)
    alone = [run for run in suite.done if not any(run in method.runs for method in several)]
    trained = [run for run in alone if any(epoch.test_error is not None for epoch in run.epochs)]
    domain = charts.curve_domain(trained)
    network, first = best(done, "network"), best(done)
    compared = comparison(suite.profiled) if suite.profiled else None
    found = matrix_section(suite.detectors) if suite.detectors else None
    trained_here = [*suite.done, *suite.learnt_to_find]
    leaders = [run for run in (best(done, kind) for kind in KINDS) if run and run.worst]
    costed = [*(run.record for run in done if run.record), *suite.profiled, *suite.detectors]
    return Section(
        suite=suite,
        anchors={run.name: f"run-{number}-{place}" for place, run in enumerate(suite.finished, start=1)},
        linked=any(run.record.published.url for run in suite.finished if run.record and run.record.published),
        what=tuple(_what(done, suite.learnt_to_find, compared, found, seeds=len(suite.done) - len(done))),
        findings=(
            *seed_findings(several),
            *_findings(done if alone else []),
            *(one for part in (compared, found) if part for one in part.findings),
        ),
        comparison=compared,
        matrix=found,
        rows=tuple(tables.rows(run.record for run in suite.done if run.record)),
        seeds=_seeds(several) if several else None,
        decisions=suite.decisions,
        compared=figure_of(partial(charts.published_beside_measured, done)) if done and not several else None,
        costs=tuple(_costs(done)),
        curves=tuple(Titled(title_of(run), charts.curve(run, domain)) for run in trained),
        classes=figure_of(partial(charts.per_class, _alike(done)[:CLASS_ROWS])) if done else None,
        extremes=extreme_classes(first) if first else None,
        confusion=Titled(title_of(network), charts.confusion(network)) if network else None,
        galleries=tuple(Gallery(title_of(run), _tiles(run, run.worst)) for run in leaders if run.worst),
        strips=tuple(strips(costed)),
        layers=tuple(layer_rows(record for record in costed if not record.detector)),
        challenge=_challenge(suite.challenge) if suite.challenge else None,
        explained=tuple(
            Explained(title_of(run), tuple((file.stem, data_uri(file.read_bytes())) for file in run.explained))
            for run in suite.done
            if run.explained
        ),
        learnt=tuple(learnt_rows(suite.learnt_to_find)),
        found=tuple((title_of(run), data_uri(run.found.read_bytes())) for run in suite.learnt_to_find if run.found),
        unfinished=tuple(_unfinished(suite)),
        places=tuple(_places([*(run.record for run in trained_here if run.record), *suite.profiled, *suite.detectors])),
    )


def _alike(runs: Sequence[Run]) -> list[Run]:
    """The runs on the same classes as the first."""
    classes = [run.record.data.classes if run.record and run.record.data else () for run in runs]
    return [run for run, own in zip(runs, classes, strict=True) if own == classes[0]]


def _seeds(several: Sequence[Method]) -> Seeds:
    known = [method for method in several if band(method)]
    domain = curve_domain(known)
    return Seeds(
        rows=tuple(seed_rows(several)),
        curves=tuple(Titled(method.title, curve_with_band(known, method, domain)) for method in known),
        ends=figure_of(partial(where_seeds_ended, several)),
    )


def _challenge(entries: Sequence[ChallengeEntry]) -> Challenge:
    return Challenge(figure_of(partial(challenge_chart, entries)), tuple(entries))


def _splits(runs: Sequence[Run], which: str) -> list[Split]:
    """The distinct training or test splits, in the order in which the runs name them."""
    data = (run.record.data for run in runs if run.record)
    return list(dict.fromkeys(getattr(each, which) for each in data if each))


def _what(runs: Sequence[Run], learnt: Sequence[Run], *compared: Comparison | Matrix | None, seeds: int) -> list[str]:
    said = [part.what for part in compared if part]
    for these, name in ((runs, "method"), (learnt, "detector")):
        if these:
            train, test = (
                " and ".join(f"{split.name} {split.split} ({split.n:,} images)" for split in _splits(these, which))
                for which in ("train", "test")
            )
            count = f"1 {name}" if len(these) == 1 else f"{len(these)} {name}s"
            said.append(f"{count}, trained on {train}, tested on {test}.")
    if seeds:
        said.append("Of a method with several seeds, charts of runs and sentences show the run with the middle error.")
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
    result, data = measured(run), run.record.data if run.record else None
    assert data is not None
    images = cut_sheet(sheet, len(result.worst))
    return tuple(
        Tile(image, data.classes[bad.label], data.classes[bad.predicted])
        for image, bad in zip(images, result.worst, strict=True)
    )


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
            unfinished.append(Unfinished(title_of(run), status, run.record.error or reasons[status]))
    return unfinished


def _places(made: Sequence[Record]) -> list[Place]:
    """The distinct machines, versions and commits, most runs first."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in made:
        key = (record.machine, tuple(sorted(record.versions.items())), record.commit)
        groups.setdefault(key, []).append(record)
    return [Place(len(records), records[0]) for records in sorted(groups.values(), key=len, reverse=True)]
