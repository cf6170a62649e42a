"""CONTRIBUTING.md's steps, done in a copy of the repository: a network, a data set, a recipe and a suite are added."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from documented import ROOT, commands, section

PAGE = ROOT / "CONTRIBUTING.md"
FAMILY = '''"""TinyNet: one convolution, to try the steps.

    layer   tinynet (32x32 in)        output    parameters  multiply-adds
    conv1   3x3 / 2, 8 maps           8x16x16          224         55,296
    fc      mean, fully connected     10                90             80

Departures
- It is in no paper.
"""

from torch import nn

from convbench.layers import GlobalAvgPool


class TinyNet(nn.Sequential):
    def __init__(self, *, maps: int, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, maps, 3, 2, 1)
        self.relu1 = nn.ReLU()
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(maps, num_classes)
        self.stages = ("relu1",)


VARIANTS = {"tinynet": (TinyNet, {"maps": 8})}
'''
ENTRY = """
[tinynet]
title = "TinyNet"
family = "tinynet"
params = 314
macs = 55376
input = [3, 32, 32]
classes = 10
idea = "One convolution."
departure = "in no paper"
"""
DATA_SET = """    "stripes": Description(
        title="Stripes",
        train=16,
        test=8,
        shape=(3, 0, 0),
        classes=("across", "along"),
        licence="none",
        source="nowhere",
        folders=("stripes",),
    ),
"""
RECIPE = """description = "TinyNet on stripes"
network = "tinynet"
data = "stripes"
stored = 32
loss = "cross_entropy"
epochs = 2
batch_size = 8

[optimiser]
name = "adamw"
lr = 0.01
"""
SUITE = """title = "Stripes"
description = "Whether TinyNet sees stripes."
data = "stripes"

[[runs]]
name = "one"
title = "TinyNet"
recipe = "tiny-recipe"
"""
NAMES = {"A network": "tinynet", "A data set": "stripes", "A recipe": "tiny-recipe", "A suite": "tiny-suite"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the four added, and the photographs of the data set."""
    folder = tmp_path_factory.mktemp("copy") / "convbench"
    for part in ("src", "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml"):
        shutil.copy(ROOT / part, folder / part)
    package = folder / "src/convbench"
    (package / "models/tinynet.py").write_text(FAMILY)
    put(package / "models/registry.py", "}\n\n\ndef names()", '    "tinynet": ("tinynet",),\n')
    put(package / "data/catalogue.py", '    "stanford-dogs": Description(', DATA_SET)
    with (package / "published/networks.toml").open("a") as file:
        file.write(ENTRY)
    (package / "recipes/tiny-recipe.toml").write_text(RECIPE)
    (package / "suites/tiny-suite.toml").write_text(SUITE)
    put(folder / "docs/recipes.md", "| `lenet1` |", "| `tiny-recipe` | none | 0.01 | – |\n")
    noise = np.random.default_rng(0)
    for split, name, number in itertools.product(("train", "val"), ("across", "along"), range(8)):
        if split == "val" and number > 3:
            continue
        stripes = (np.arange(48) // 4 % 2 * 200)[:, None] + noise.integers(0, 50, (48, 48))
        pixels = stripes if name == "across" else stripes.T
        file = folder / f"data/stripes/{split}/{name}/{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).convert("RGB").save(file)
    return folder


def put(file: Path, before: str, text: str) -> None:
    content = file.read_text()
    assert content.count(before) == 1
    file.write_text(content.replace(before, text + before))


def do(line: str, copy: Path, *more: str) -> str:
    """What a line of the document says there; it must end well."""
    said = line.partition(" > ")[0]
    env = {**os.environ, "PYTHONPATH": str(copy / "src"), "CONVBENCH_DATA": str(copy / "data")}
    command = [sys.executable, "-m", *shlex.split(said), *more]
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-2000:])
    if ">" in line:
        (copy / line.partition(" > ")[2]).write_text(done.stdout)
    return done.stdout


def lines(title: str) -> list[str]:
    return [line.replace("NAME", NAMES[title]) for line in commands(section(PAGE, title))]


@pytest.mark.slow
def test_a_network(copy: Path) -> None:
    contract, others, cost, write = lines("A network")
    assert re.search(r"1\d passed", do(contract, copy))
    assert "55,376" in do(cost, copy)
    do(write, copy)
    do(others, copy, "-k", "tinynet or up_to_date or (TestEntries and registered)")


@pytest.mark.slow
def test_a_data_set(copy: Path) -> None:
    tests, open_it, check = lines("A data set")
    assert "train: 16 images" in do(open_it, copy)
    assert "leaks: the same pixels in training and test: 0" in do(check, copy)
    do(tests, copy, "-k", "completed_is_what_there_is")


@pytest.mark.slow
def test_a_recipe(copy: Path) -> None:
    tests, train = lines("A recipe")
    assert "8 images" in do(train, copy)
    assert "2 passed" in do(tests, copy)


@pytest.mark.slow
def test_a_suite(copy: Path) -> None:
    tests, run, report = lines("A suite")
    do(run.replace("RUN", "one"), copy, "--jobs", "1")
    assert "TinyNet" in do(report, copy)
    assert "1 passed" in do(tests, copy)


def test_the_files_that_the_steps_name_are_there() -> None:
    named = re.findall(r"`((?:src|tests|docs)/[\w/.]+)`", PAGE.read_text())
    assert len(named) > 10
    for file in named:
        assert (ROOT / re.sub(r"(FAMILY|NAME|LEDGER)\.\w+$", "", file)).exists(), file
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        assert (ROOT / target).exists(), target
