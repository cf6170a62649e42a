"""What a shell may complete: the names of networks, recipes, suites and data sets, read off the package's own files.

Each function gets what has been typed of a word and gives (name, what it is); typer keeps those that begin so. Where
none does, the shell completes files. Torch is never loaded: a shell asks anew at each press of the key.
"""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

Names = list[tuple[str, str]]


def networks(incomplete: str) -> Names:
    """Networks; after a comma the next one of several."""
    before, comma, _ = incomplete.rpartition(",")
    return [(f"{before}{comma}{name}", entry["title"]) for name, entry in _published("networks").items()]


def detectors(incomplete: str) -> Names:
    """Detectors."""
    return [(name, entry["title"]) for name, entry in _published("detectors").items()]


def networks_and_detectors(incomplete: str) -> Names:
    """Both."""
    return networks(incomplete) + detectors(incomplete)


def families(incomplete: str) -> Names:
    """Families of networks and detectors, which are files of the package."""
    entries = [*_published("networks").values(), *_published("detectors").values()]
    first = {entry["family"]: entry["title"] for entry in reversed(entries)}
    return [(family, f"as {title}") for family, title in reversed(first.items())]


def recipes(incomplete: str) -> Names:
    """Recipes by which networks learn."""
    return _recipes(of_detectors=False)


def detector_recipes(incomplete: str) -> Names:
    """Recipes by which detectors learn."""
    return _recipes(of_detectors=True)


def suites(incomplete: str) -> Names:
    """Suites that come with the package."""
    return [(name, suite["title"]) for name, suite in _toml("suites")]


def suites_with_runs(incomplete: str) -> Names:
    """Folders in the runs' folder where that is the default one."""
    return [(folder.name, "") for folder in sorted(Path("runs").glob("*")) if folder.is_dir()]


def data_sets(incomplete: str) -> Names:
    """Data sets that go by a name."""
    catalogue = resources.files("convbench").joinpath("data", "catalogue.py")
    with resources.as_file(catalogue) as file:  # as a file alone, because its package loads torch
        known: dict[str, Any] = runpy.run_path(str(file))["DATASETS"]
    return [(name, one.title) for name, one in known.items()]


def data_sets_and_check(incomplete: str) -> Names:
    """The words that `convbench data` takes."""
    return [("check", "decode all photographs of a folder"), *data_sets(incomplete)]


def _recipes(*, of_detectors: bool) -> Names:
    known = _published("detectors")
    return [
        (name, recipe["description"])
        for name, recipe in _toml("recipes")
        if (recipe["network"] in known) is of_detectors
    ]


def _published(file: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("convbench").joinpath("published", f"{file}.toml").read_text())


def _toml(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The packaged files of a folder, by name."""
    files: list[Traversable] = sorted(resources.files("convbench").joinpath(folder).iterdir(), key=lambda one: one.name)
    for file in files:
        if file.name.endswith(".toml"):
            yield file.name.removesuffix(".toml"), tomllib.loads(file.read_text())
