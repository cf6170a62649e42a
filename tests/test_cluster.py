"""A suite's runs on a Ray cluster: two machines as far as Ray knows, each with a core."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from convbench.bench.runner import run_suite
from convbench.errors import RequestError

SUITE = """
title = "small"
description = "for a test"
data = "digits"

[[runs]]
name = "net"
title = "a small net"
recipe = "mlp"
settings = { network = "mlp_300", epochs = EPOCHS, batch_size = 16, "optimiser.lr" = 0.005 }
preprocessing = {}

[[runs]]
name = "broken"
title = "one without weights to begin from"
recipe = "mlp"
settings = { network = "mlp_300", epochs = 1, initial_weights = "nowhere" }
preprocessing = {}

[[runs]]
name = "knn"
title = "neighbours of what the net makes of them"
rival = "knn"
features = { run = "net", layer = "f1_squash" }
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A real cluster: two of Ray's node processes."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'convbench[cluster]'")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In the folder in which the command is given, by a relative path; this process has one thread, as the others."""
    monkeypatch.chdir(tmp_path)
    path = Path("small.toml")
    path.write_text(SUITE.replace("EPOCHS", "12"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield path
    torch.set_num_threads(threads)


def same(one: str, other: str) -> bool:
    first, second = (load_file(f"{runs}/small/net/weights.safetensors") for runs in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_the_runs_are_those_of_one_machine(cluster: Any, suite: Path) -> None:
    told = list[str]()
    there = run_suite(suite, out=Path("runs"), jobs=None, ray=cluster.address, say=told.append)
    assert [(one.name, one.status) for one in there] == [("net", "done"), ("broken", "failed"), ("knn", "done")]
    assert there[1].error is not None and there[1].error.startswith("no weights at nowhere")
    assert told[0].startswith("[1/3]") and any("neighbours" in line and "% error" in line for line in told)
    here = run_suite(suite, out=Path("here"), only=("net",))
    assert there[0].record is not None and here[0].record is not None
    assert there[0].record["result"] == here[0].record["result"] and same("runs", "here")
    again = run_suite(suite, out=Path("runs"), only=("net", "knn"), jobs=None, ray=cluster.address)
    assert [one.status for one in again] == ["kept", "kept"]


@pytest.mark.slow
def test_a_run_whose_process_is_lost_goes_on(cluster: Any, suite: Path) -> None:
    killed = list[int]()

    def kill() -> None:
        curve = Path("runs/small/net/metrics.jsonl").absolute()
        while not curve.exists() or not curve.read_text():
            time.sleep(0.05)
        killed.append(worker_in(suite.absolute().parent))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    (lost,) = run_suite(suite, out=Path("runs"), only=("net",), jobs=1, ray=cluster.address)
    killer.join()
    assert lost.status == "done" and killed
    run_suite(suite, out=Path("here"), only=("net",))
    assert same("runs", "here")


def worker_in(folder: Path) -> int:
    """The process of Ray's that works in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            works_there = (process / "cwd").readlink() == folder
            if works_there and b"_on_a_share" in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:
            continue
    raise AssertionError(f"no worker in {folder}")


def test_without_ray_it_is_said_what_to_install(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r"--ray: expected Ray, found no ray: pip install 'convbench\[cluster\]'"):
        run_suite(suite, only=("knn", "net"), ray="auto")
