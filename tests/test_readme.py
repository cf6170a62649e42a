"""The README's words are run as they stand."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(), flags=re.DOTALL)
COMMANDS = [line[2:] for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def convbench(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    assert program == ".venv/bin/convbench"
    return [sys.executable, "-m", "convbench", *arguments]


def test_the_two_commands_are_in_the_makefile() -> None:
    makefile = README.with_name("Makefile").read_text()
    assert [line for line in COMMANDS if line.startswith("make")] == ["make bench", "make test"]
    assert re.search(
        r"^bench: .*\n\t\$\(BIN\)/convbench run first-look\n\t\$\(BIN\)/convbench report first-look$", makefile, re.M
    )
    assert re.search(r"^test: .*\n\t\$\(BIN\)/pytest$", makefile, re.M)


def test_the_python_face(tmp_path: Path) -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    counts, ours, rival = done.stdout.splitlines()
    assert counts == "60,000 parameters, 340,908 connections"
    assert float(ours.split()[0]) < 5
    assert float(rival.split()[0]) < 3


def test_other_things_to_type(tmp_path: Path) -> None:
    """One after the other in one folder, as a reader would."""
    lines = [line for line in COMMANDS if line.startswith(".venv") and "lecun1998" not in line and "mnist" not in line]
    assert len(lines) == 5
    outputs = []
    for line in lines:
        done = run(convbench(line), tmp_path)
        assert done.returncode == 0, (line, done.stderr)
        outputs.append(done.stdout)
    models, cost, train, evaluate, report = outputs
    assert "lenet5_relu" in models
    assert "340,908" in cost
    assert train.splitlines()[0].split(": ")[1] == evaluate.splitlines()[0].split(": ")[1]
    assert "report: report/index.html" in report
    assert (tmp_path / "report/index.html").stat().st_size > 10_000


@pytest.mark.slow
def test_make_bench_does_what_the_readme_shows(tmp_path: Path) -> None:
    """The two lines of `make bench`; the table has the README's rows, and the best methods are good."""
    for line in ("run first-look", "report first-look"):
        done = run([sys.executable, "-m", "convbench", *line.split()], tmp_path)
        assert done.returncode == 0, done.stderr
    (shown,) = [text for kind, text in BLOCKS if kind == "text"]

    def methods(text: str) -> set[str]:
        return {m.group(1).strip() for m in re.finditer(r"^(\S.*?)\s{2,}–\s+[\d.]+\s+[\d.]+–[\d.]+", text, re.M)}

    assert methods(done.stdout) == methods(shown)
    assert len(methods(shown)) == 11
    assert done.stdout.splitlines()[-1] == "report: report/index.html" == shown.splitlines()[-1]


@pytest.mark.realdata
def test_mnist_is_found_checked_and_described(tmp_path: Path, real_data: Path) -> None:
    line = next(line for line in COMMANDS if line.endswith("data mnist"))
    done = run(convbench(line), tmp_path, CONVBENCH_DATA=str(real_data))
    assert done.returncode == 0, done.stderr
    assert "train: 60,000 images of 1x28x28" in done.stdout
    assert "test: 10,000 images of 1x28x28" in done.stdout


@pytest.mark.realdata
def test_a_row_of_lecun1998_on_mnist(tmp_path: Path, real_data: Path) -> None:
    """The suite's command on one quick row; the whole takes long, its records are in docs."""
    line = next(line for line in COMMANDS if line.endswith("run lecun1998"))
    command = [*convbench(line), "--only", "pairwise-linear"]
    done = run(command, tmp_path, CONVBENCH_DATA=str(real_data))
    assert done.returncode == 0, done.stderr
    line = next(line for line in COMMANDS if line.endswith("report lecun1998"))
    done = run(convbench(line), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pairwise linear classifier" in done.stdout


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
