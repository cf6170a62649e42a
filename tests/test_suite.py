"""Suites: what is done is left, what failed is said, what was killed goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from convbench.bench.runner import run_suite
from convbench.bench.store import RunFolder
from convbench.bench.suite import open_suite, read_claim
from convbench.errors import ConvbenchError, RequestError
from convbench.schema import packaged

NETWORK = """
[[runs]]
name = "net"
title = "a small net"
recipe = "mlp"
settings = { network = "mlp_300", epochs = EPOCHS, batch_size = 16, "optimiser.lr" = 0.005 }
preprocessing = {}
"""
KNN = """
[[runs]]
name = "knn"
title = "neighbours"
rival = "knn"
preprocessing = {}
"""
HEAD = """
title = "small"
description = "for a test"
data = "digits"
ledger = "lecun1998"
"""


def write_suite(folder: Path, *runs: str, epochs: int = 4) -> Path:
    path = folder / "small.toml"
    path.write_text(HEAD + "".join(runs).replace("EPOCHS", str(epochs)))
    return path


def test_a_suite_runs_records_and_is_then_kept(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, NETWORK, KNN)
    first = run_suite(suite, out=tmp_path / "runs")
    assert [one.status for one in first] == ["done", "done"]
    network = RunFolder(tmp_path / "runs/small/net").read_record()
    assert network is not None
    assert network["result"]["n"] == 596
    assert network["cost"]["params"] == 64 * 300 + 300 + 3010
    assert network["recipe"]["epochs"] == 4
    assert network["data"]["train"]["n"] == 1201
    assert 0 < network["result"]["top1_error"] < 50
    assert not list((tmp_path / "runs").rglob("state.pt"))
    metrics = [json.loads(line) for line in (tmp_path / "runs/small/net/metrics.jsonl").read_text().splitlines()]
    assert [one["epoch"] for one in metrics] == [1, 2, 3, 4]
    assert metrics[-1]["test_error"] == pytest.approx(network["result"]["top1_error"])

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}
    again = run_suite(suite, out=tmp_path / "runs")
    assert [one.status for one in again] == ["kept", "kept"]
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}


def test_scores_in_the_run_give_the_recorded_error(tmp_path: Path) -> None:
    from convbench import open_dataset

    (outcome,) = run_suite(write_suite(tmp_path, KNN), out=tmp_path / "runs")
    assert outcome.record is not None
    labels = open_dataset("digits", "test").labels
    answers = load_file(tmp_path / "runs/small/knn/scores.safetensors")["scores"].argmax(dim=1)
    assert int((answers != labels).sum()) == outcome.record["result"]["errors"]


def test_a_changed_run_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    run_suite(write_suite(tmp_path, NETWORK, epochs=1), out=tmp_path / "runs")
    with pytest.raises(RequestError, match="run with other settings"):
        run_suite(write_suite(tmp_path, NETWORK, epochs=2), out=tmp_path / "runs")
    with pytest.raises(RequestError, match="run with other settings"):
        run_suite(write_suite(tmp_path, NETWORK, epochs=1), out=tmp_path / "runs", seed=1)


def test_a_failing_run_is_recorded_and_does_not_stop_the_others(tmp_path: Path) -> None:
    diverging = NETWORK.replace("mlp_300", "lenet5_relu").replace('"mlp"', '"lenet5-relu"')
    diverging = diverging.replace("0.005", "1e30").replace("preprocessing = {}", "preprocessing = { size = 28 }")
    failed, done = run_suite(write_suite(tmp_path, diverging, KNN), out=tmp_path / "runs")
    assert (failed.status, done.status) == ("failed", "done")
    assert failed.error is not None
    assert "diverged" in failed.error
    record = RunFolder(tmp_path / "runs/small/net").read_record()
    assert record is not None
    assert (record["status"], record["error"], record["result"]) == ("failed", failed.error, None)


def test_side_by_side_gives_what_one_after_the_other_gives(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, NETWORK, KNN)
    one = run_suite(suite, out=tmp_path / "one")
    two = run_suite(suite, out=tmp_path / "two", jobs=2)

    def results(outcomes: list[Any]) -> list[Any]:
        return [outcome.record["result"] for outcome in outcomes]

    assert [outcome.status for outcome in two] == ["done", "done"]
    assert results(two)[1] == results(one)[1]
    assert results(two)[0]["n"] == results(one)[0]["n"] == 596


def test_features_of_a_trained_network(tmp_path: Path) -> None:
    on_features = KNN.replace("preprocessing = {}", 'features = { run = "net", layer = "f1_squash" }')
    _, outcome = run_suite(write_suite(tmp_path, NETWORK, on_features, epochs=8), out=tmp_path / "runs", jobs=2)
    assert outcome.record is not None, outcome.error
    assert outcome.record["result"]["top1_error"] < 5
    assert outcome.record["cost"]["macs"] == 64 * 300 + 1201 * 300  # the layer, then every stored pattern


def test_features_of_a_layer_that_is_not_there(tmp_path: Path) -> None:
    on_features = KNN.replace("preprocessing = {}", 'features = { run = "net", layer = "f1_sqash" }')
    _, outcome = run_suite(write_suite(tmp_path, NETWORK, on_features, epochs=1), out=tmp_path / "runs")
    assert outcome.error == "unknown layer of mlp_300 'f1_sqash': nearest are f1_squash, f2_squash"


def test_two_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, KNN)
    with RunFolder(tmp_path / "runs/small/knn").lock():
        (outcome,) = run_suite(suite, out=tmp_path / "runs")
    assert outcome.error is not None
    assert "being run by another process" in outcome.error


def test_what_a_killed_process_left_half_written_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / "runs/small/knn/.scores.safetensors.123.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    run_suite(write_suite(tmp_path, KNN), out=tmp_path / "runs")
    assert not left.exists()


def test_a_broken_record_is_said_not_overwritten(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, KNN)
    run_suite(suite, out=tmp_path / "runs")
    record = tmp_path / "runs/small/knn/record.json"
    record.write_text(record.read_text()[:100])
    with pytest.raises(ConvbenchError, match="not a whole record"):
        run_suite(suite, out=tmp_path / "runs")
    assert len(record.read_text()) == 100


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """SIGKILL, a real one, at random moments; the weights at the end equal those of an undisturbed run bit for bit."""
    suite = write_suite(tmp_path, NETWORK.replace("mlp_300", "mlp_500_150"), KNN, epochs=25)
    moments, kills = random.Random(1), 0
    command = [sys.executable, "-m", "convbench", "run", str(suite), "--jobs", "1", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums depend on the number of threads
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, capture_output=True, check=True)
    command.append(str(tmp_path / "killed"))
    for _ in range(40):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        state = tmp_path / "killed/small/net/state.pt"
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and kills < 4:  # let each start get at least one epoch further
            if state.exists() and state.stat().st_mtime_ns != before:
                time.sleep(moments.uniform(0, 0.3))
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        if process.wait() == 0:
            break
    assert kills >= 3, "the run ended before it could be killed often enough"
    assert process.returncode == 0
    whole = load_file(tmp_path / "whole/small/net/weights.safetensors")
    killed = load_file(tmp_path / "killed/small/net/weights.safetensors")
    assert whole.keys() == killed.keys()
    assert all(bool((whole[name] == killed[name]).all()) for name in whole)
    assert not list((tmp_path / "killed").rglob("*.part")), "half-written files are left"


@pytest.mark.parametrize("name", packaged("suites"))
def test_packaged_suites_are_valid(name: str) -> None:
    _, suite = open_suite(name)
    assert suite.all_runs


def test_lecun1998_has_every_row_of_the_ledger() -> None:
    import tomllib
    from importlib import resources

    _, suite = open_suite("lecun1998")
    text = resources.files("convbench").joinpath("published", "lecun1998.toml").read_text()
    claims = tomllib.loads(text)["claims"]
    assert set(claims) == {run.claim for run in suite.runs if run.claim}
    assert len(claims) == 27
    assert read_claim("lecun1998", "lenet5")["error"] == 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('rival = "knn"', 'rivall = "knn"'), "unknown key in small.runs.0 'rivall': nearest is rival"),
        (('rival = "knn"', ""), "run knn: expected either a recipe or a rival"),
        (('title = "neighbours"', 'claim = "lenet9"\ntitle = "x"'), "unknown claim in lecun1998 'lenet9'"),
        (('title = "neighbours"', 'title = "x'), "not valid TOML"),
    ],
)
def test_a_wrong_suite_is_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_suite(write_suite(tmp_path, KNN.replace(*change)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_suite_that_is_asked_to_leave_does_not_begin_its_next_run(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, NETWORK, KNN, epochs=2000)
    command = [sys.executable, "-m", "convbench", "run", str(suite), "--jobs", "1", "--out", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "runs/small/net/metrics.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.strip().splitlines()[-1].startswith("convbench: interrupted in epoch")
    assert (tmp_path / "runs/small/net/state.pt").exists()
    assert not (tmp_path / "runs/small/knn").exists()
