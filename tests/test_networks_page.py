"""docs/networks.md is what the families' files and the ledger say today."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from convbench.detection import registry as detectors
from convbench.models import names
from convbench.models.registry import FAMILIES
from convbench.report.networks_page import networks_page
from convbench.report.retelling import retell

PAGE = (Path(__file__).parents[1] / "docs" / "networks.md").read_text()


def test_the_page_is_up_to_date() -> None:
    command = "convbench models --markdown > docs/networks.md"
    assert networks_page() == PAGE, f"out of date: {command}"


def test_every_network_and_detector_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\|$", PAGE, re.M)
    assert rows == [*names(), *detectors.names()]
    assert "| `vgg16` | 2014 | 138,357,544 | 15,470,264,320 | 27.0 | 8.8 | ILSVRC-2012 val, dense, S=Q=256 |" in PAGE
    assert (
        "| `faster_rcnn_mobilenet_v1` | 2017 | 6,065,995 | 30,493,700,224 | 19.8 | COCO minival, 600 pixels |" in PAGE
    )


@pytest.mark.parametrize("family", [*FAMILIES, *detectors.FAMILIES])
def test_every_departure_is_told(family: str) -> None:
    folder = "models" if family in FAMILIES else "detection"
    source = resources.files("convbench").joinpath(folder, f"{family}.py").read_text()
    departures = retell(source, "")["departures"]
    section = PAGE.partition(f"{folder}/{family}.py)")[2].partition("\n## ")[0]
    assert departures == re.findall(r"^- (.*)$", section, re.M)


def test_the_command_writes_it() -> None:
    command = [sys.executable, "-m", "convbench", "models", "--markdown"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == PAGE
    refused = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "--markdown writes the page of all" in refused.stderr
