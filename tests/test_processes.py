"""One training on two processes ends as on one: real processes, joined by gloo, started as users start them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from convbench.errors import RequestError
from convbench.training.processes import Processes, joined_processes

RECIPE = """
description = "a small network with batch normalisation"
network = "resnet20"
data = "digits"
loss = "cross_entropy"
epochs = 1
batch_size = {batch_size}
pieces = {pieces}
optimiser = {{ name = "sgd", lr = 0.02, momentum = 0.9 }}
clip_norm = 1.0
average = 0.9
preprocessing = {{ size = 16 }}
view = {{ crop = "pad", pad = 1 }}
"""

# Rounding errors grow tenfold in each of the first steps of this network, so the comparison takes double precision.
IN_DOUBLE = """
import sys, torch
from convbench.bench.execute import build_for
from convbench.data import open_dataset
from convbench.training.loop import fit
from convbench.training.processes import joined_processes
from convbench.training.recipe import open_recipe

class InDouble(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = torch.nn.Sequential(net, torch.nn.Dropout(0.5 * DROPOUT)).double()
    def forward(self, x):
        return self.net(x.double())

recipe, dataset = open_recipe(sys.argv[1]), open_dataset("digits", "train")
with joined_processes() as processes:
    net = InDouble(build_for(recipe, dataset, 0))
    fit(net, dataset, recipe)
    if processes.first:
        torch.save(net.state_dict(), sys.argv[2])
"""


def start(processes: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    launcher = [] if processes == 1 else ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_processes_wait_while_the_first_reads_all_of_a_large_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group of one, as real as it is cheap: its store is a file, and its options say what was set."""
    made = distributed.init_process_group

    def alone(backend: str, **options: Any) -> None:
        made(backend, init_method=f"file://{tmp_path}/store", rank=0, world_size=1, **options)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(distributed, "init_process_group", alone)
    with joined_processes() as processes:
        assert processes.count == 1
        group = distributed.group.WORLD._get_backend(torch.device("cpu"))
        assert group.options._timeout >= timedelta(hours=6)


@pytest.mark.parametrize(("pieces", "dropout"), [(1, 0), (4, 1)])
def test_two_processes_end_as_one(pieces: int, dropout: int, tmp_path: Path) -> None:
    """With shared statistics (one piece), and with pieces, whose dropped units are the pieces' own."""
    recipe, script = tmp_path / "recipe.toml", tmp_path / "train.py"
    recipe.write_text(RECIPE.format(pieces=pieces, batch_size=256))
    script.write_text(IN_DOUBLE.replace("DROPOUT", str(dropout)))
    for processes in (1, 2):
        finished = start(processes, script, recipe, tmp_path / f"{processes}.pt")
        assert finished.returncode == 0, finished.stderr
    one, two = (torch.load(tmp_path / f"{processes}.pt", weights_only=True) for processes in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-7, atol=1e-9, msg=f"{name} differs")


def test_the_same_command_on_two_processes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(pieces=1, batch_size=400))
    metrics = []
    for processes in (1, 2):
        out = tmp_path / f"on-{processes}"
        command = ["-m", "convbench", "train", recipe, "--set", "batch_size=601", "--out", out, "--json"]
        finished = start(processes, *command)
        assert finished.returncode == 0, finished.stderr
        assert json.loads(finished.stdout)["status"] == "done"
        metrics.append(json.loads((out / "metrics.jsonl").read_text()))
    alone, together = metrics
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    assert together["lr"] == alone["lr"]


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.format(pieces=1, batch_size=400))  # of 1,201 digits
    finished = start(2, "-m", "convbench", "train", recipe, "--out", tmp_path / "run")
    assert finished.returncode != 0
    assert "expected that the last batch of 1201 images holds 2 or more" in finished.stderr


def test_pieces_are_a_multiple_of_the_processes() -> None:
    processes = Processes()
    processes.count = 2
    with pytest.raises(RequestError, match="nearest is 4"):
        processes.check(100, 50, pieces=3)
