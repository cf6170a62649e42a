"""A suite: the runs that test a claim, or that compare networks, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from convbench.claims.addresses import address_of
from convbench.claims.ledger import Figure, read_figures, read_paper
from convbench.claims.trials import Statement
from convbench.detection import registry as detectors
from convbench.errors import RequestError, unknown
from convbench.models import names
from convbench.schema import parse, read_toml
from convbench.timing.engines import open_engine

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Features:
    """Features of a trained network in place of pixels: what `layer` of the network of the suite's run `run` gives."""

    run: str
    layer: str


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunSpec:
    """One run of a suite: a recipe (a network), or a rival.

    name: the run's folder
    title: as the report shows it
    recipe, settings: a recipe's name and the keys that differ, as {"optimiser.lr": 0.1}
    boosted: train three networks, the second and third on what the ones before get wrong (LeNet-4's boosting)
    rival, arguments: a rival's name and its arguments
    features: what the rival reads in place of pixels
    preprocessing: in place of the recipe's or the rival's own, whole
    claim: the key of the published figure in the suite's ledger
    """

    name: str
    title: str
    recipe: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    boosted: bool = False
    rival: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    features: Features | None = None
    preprocessing: dict[str, Any] | None = None
    claim: str | None = None

    def __post_init__(self) -> None:
        if (self.recipe is None) == (self.rival is None):
            raise RequestError(
                f"run {self.name}: expected either a recipe or a rival, found {self.recipe}, {self.rival}"
            )

    @property
    def kind(self) -> Literal["network", "rival", "ensemble"]:
        if self.boosted:
            return "ensemble"
        return "network" if self.recipe else "rival"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NetworkSpec:
    """One network of a comparison, which is costed and measured as it is built, without training.

    network: its name, and the run's folder
    title: as the report shows it
    paper, protocol: the published errors that it is compared by: the figures of published/<paper>.toml on ImageNet's
        validation images whose protocol this is
    mark: how that protocol differs from most of the suite's; networks with a mark are shown apart from the others
    """

    network: str
    title: str
    paper: str
    protocol: str
    mark: str = ""

    def __post_init__(self) -> None:
        if self.network not in names():
            raise unknown("network", self.network, names())
        read_errors(self)

    @property
    def name(self) -> str:
        return self.network


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DetectorSpec:
    """One detector of a comparison, which is costed and measured as it is built, without training.

    name: the run's folder
    title: as the report shows it
    detector, arguments: its name, and what it is built with, such as {"side": 300}
    paper, row: the published figures that stand beside ours: those of published/<paper>.toml of this name
    """

    name: str
    title: str
    detector: str
    arguments: dict[str, Any] = field(default_factory=dict)
    paper: str
    row: str

    def __post_init__(self) -> None:
        if self.detector not in detectors.names():
            raise unknown("detector", self.detector, detectors.names())
        read_precision(self)


Compared = NetworkSpec | DetectorSpec  # what is costed and measured, and learns nothing


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Measuring:
    """How what a suite compares is measured: with which engines, on how many images at a time."""

    engines: tuple[str, ...]
    batch_sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        for engine in self.engines:
            open_engine(engine)
        if min(self.batch_sizes, default=0) < 1:
            raise RequestError(f"batch sizes are 1 or more, found {self.batch_sizes}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FullTier:
    """What a suite's runs are by the papers' own recipes, for those with GPUs.

    data: in place of the suite's
    runs: in place of its runs
    statements: on these runs, where the suite's do not fit them
    """

    data: str
    runs: tuple[RunSpec, ...]
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Suite:
    """The runs, in the order in which they are done: those that learn, then the networks and detectors to compare.

    data: the data set of all runs that learn, its split "train" to learn from, "test" to evaluate on
    ledger: the file of published figures that the runs' claims are keys of
    measuring: of all networks and detectors
    seeds: how often each run that learns is done, from as many seeds
    statements: what the runs are to decide
    cut: what this tier leaves out of the papers' training, in words
    challenge: whether a report shows the winners of the ImageNet challenge beside its networks
    full: the tier that leaves out nothing
    """

    title: str
    description: str
    data: str = ""
    ledger: str | None = None
    measuring: Measuring | None = None
    runs: tuple[RunSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    detectors: tuple[DetectorSpec, ...] = ()
    seeds: int = Field(default=1, ge=1)
    statements: tuple[Statement, ...] = ()
    cut: str = ""
    challenge: bool = False
    full: FullTier | None = None

    def __post_init__(self) -> None:
        if self.full is not None:
            self.as_published(self.full)  # says what is wrong in it
        if not self.all_runs:
            raise RequestError("a suite has runs, networks or detectors, found none")
        if self.runs and not self.data:
            raise RequestError("the runs of a suite learn from its data, found no key data")
        if self.compared and self.measuring is None:
            raise RequestError("what a suite compares is measured by its table [measuring], found none")
        names = [run.name for run in self.all_runs]
        for name in names:
            if names.count(name) > 1:
                raise RequestError(f"run {name} stands twice in the suite")
        for run in self.runs:
            if run.features and run.features.run not in names:
                raise unknown(f"run in run {run.name}'s features", run.features.run, names)
            if run.claim is not None:
                if self.ledger is None:
                    raise RequestError(f"run {run.name} has a claim, but the suite names no ledger")
                read_claim(self.ledger, run.claim)
            if self.seeds > 1 and run.features:
                raise RequestError(f"run {run.name}: features of a run with {self.seeds} seeds are not one network's")
        for statement in self.statements:
            for name in (statement.better, statement.worse):
                if name not in names:
                    raise unknown(f"run in the statement {statement.says!r}", name, names)

    def as_published(self, full: FullTier) -> Suite:
        """The suite with its full tier in place of this one."""
        return replace(
            self, data=full.data, runs=full.runs, statements=full.statements or self.statements, cut="", full=None
        )

    def seeded(self) -> list[tuple[RunSpec, int]]:
        """The runs that learn, each once for every seed and named by it, seed by seed: all have the first one soon."""
        if self.seeds == 1:
            return [(run, 0) for run in self.runs]
        return [
            (replace(run, name=seeded_name(run.name, seed)), seed) for seed in range(self.seeds) for run in self.runs
        ]

    @property
    def compared(self) -> tuple[Compared, ...]:
        return *self.networks, *self.detectors

    @property
    def all_runs(self) -> tuple[RunSpec | Compared, ...]:
        return *self.runs, *self.compared


def seeded_name(run: str, seed: int) -> str:
    """The folder of a run with one of several seeds."""
    return f"{run}-seed-{seed}"


def open_suite(name_or_path: str | Path) -> tuple[str, Suite]:
    """(name, suite) of a packaged suite by name or any TOML file by path; RequestError says what is wrong in it."""
    name, content = read_toml(name_or_path, "suites")
    return name, parse(Suite, content, name)


def open_full_suite(name_or_path: str | Path) -> tuple[str, Suite]:
    """(name, suite) of its full tier, by the papers' recipes; RequestError for a suite that has none."""
    name, suite = open_suite(name_or_path)
    if suite.full is None:
        raise RequestError(
            f"{name}: expected a table [full] with the papers' recipes, found none; run it without --full"
        )
    return f"{name}-full", suite.as_published(suite.full)


def read_claim(ledger: str, claim: str) -> dict[str, Any]:
    """A published figure: error (percent), protocol, source and its address, rejection, note; None: not published."""
    content = tomllib.loads(resources.files("convbench").joinpath("published", f"{ledger}.toml").read_text())
    if claim not in content["claims"]:
        raise unknown(f"claim in {ledger}", claim, content["claims"])
    paper, entry = content["paper"], content["claims"][claim]
    source = f"{paper['authors']}, {paper['venue']}, {entry['source']}"
    return {
        "error": entry["error"],
        "protocol": entry["protocol"],
        "source": source,
        "url": address_of(source),
        "rejection": entry.get("rejection"),
        "note": entry.get("note"),
    }


def read_errors(spec: NetworkSpec) -> dict[str, Any]:
    """The published errors that a network is compared by, in percent: error (top-1), top5_error (or None), and whence.

    Raises RequestError where the paper has no top-1 error of the network by the protocol.
    """
    published = _figures_of(spec.paper)
    of_network = [one for one in published if one.network == spec.network and one.data.startswith("ILSVRC-2012 val")]
    figures = {one.metric: one for one in of_network if one.protocol == spec.protocol}
    if "top1_error" not in figures:
        protocols = (one.protocol for one in of_network if one.metric == "top1_error")
        raise unknown(f"protocol of {spec.network}'s top-1 error in {spec.paper}", spec.protocol, protocols)
    top1, top5 = figures["top1_error"], figures.get("top5_error")
    source = _source(spec.paper, top1)
    return {
        "error": top1.value,
        "top5_error": top5.value if top5 else None,
        "protocol": f"{top1.data}, {top1.protocol}",
        "source": source,
        "url": address_of(source),
        "rejection": None,
        "note": None,
        "mark": spec.mark or None,
    }


def read_precision(spec: DetectorSpec) -> dict[str, Any]:
    """The published average precision of a detector, and whence: ap (percent, mean over overlaps), protocol, source.

    Raises RequestError where the paper has no row of that name, or not one average precision in it.
    """
    published = _figures_of(spec.paper)
    found = [one for one in published if one.network == spec.row and one.metric == "ap"]
    if not found:
        raise unknown(f"row with an ap in {spec.paper}", spec.row, {one.network for one in published})
    if len(found) > 1:
        raise RequestError(f"{spec.paper}: expected one ap of {spec.row}, found {len(found)}")
    (ap,) = found
    source = _source(spec.paper, ap)
    return {
        "error": None,
        "ap": ap.value,
        "protocol": f"{ap.data}, {ap.protocol}",
        "source": source,
        "url": address_of(source),
        "rejection": None,
        "note": None,
    }


def _figures_of(paper: str) -> tuple[Figure, ...]:
    papers = read_figures()
    if paper not in papers:
        raise unknown("paper", paper, papers)
    return papers[paper]


def _source(name: str, figure: Figure) -> str:
    """The paper and the place in it; another's replica or release as it is."""
    if not figure.source.startswith(("table", "figure", "section")):
        return figure.source
    paper = read_paper(name)
    return f"{paper.authors}, {paper.venue}, {figure.source}"
