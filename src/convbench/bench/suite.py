"""A suite: the runs that test a claim, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from convbench.errors import RequestError, unknown
from convbench.schema import parse, read_toml

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
class Suite:
    """The runs, in the order in which they are done.

    data: the data set of all runs, its split "train" to learn from, "test" to evaluate on
    ledger: the file of published figures that the runs' claims are keys of
    """

    title: str
    description: str
    data: str
    ledger: str | None = None
    runs: tuple[RunSpec, ...]

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        for run in self.runs:
            if names.count(run.name) > 1:
                raise RequestError(f"run {run.name} stands twice in the suite")
            if run.features and run.features.run not in names:
                raise unknown(f"run in run {run.name}'s features", run.features.run, names)
            if run.claim is not None:
                if self.ledger is None:
                    raise RequestError(f"run {run.name} has a claim, but the suite names no ledger")
                read_claim(self.ledger, run.claim)


def open_suite(name_or_path: str | Path) -> tuple[str, Suite]:
    """(name, suite) of a packaged suite by name or any TOML file by path; RequestError says what is wrong in it."""
    name, content = read_toml(name_or_path, "suites")
    return name, parse(Suite, content, name)


def read_claim(ledger: str, claim: str) -> dict[str, Any]:
    """A published figure: error (percent), protocol, source, rejection (None where not published) and note."""
    content = tomllib.loads(resources.files("convbench").joinpath("published", f"{ledger}.toml").read_text())
    if claim not in content["claims"]:
        raise unknown(f"claim in {ledger}", claim, content["claims"])
    paper, entry = content["paper"], content["claims"][claim]
    return {
        "error": entry["error"],
        "protocol": entry["protocol"],
        "source": f"{paper['authors']}, {paper['venue']}, {entry['source']}",
        "rejection": entry.get("rejection"),
        "note": entry.get("note"),
    }
