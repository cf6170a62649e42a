"""The command line: fast to start, JSON for programs, one line for each wrong request."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from convbench.report.listings import print_data, print_result

TINY = ["--set", "data=digits", "--set", "preprocessing.size=28", "--set", "batch_size=32"]


def convbench(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def one_line(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The error: a single line, the right exit code, no traceback."""
    assert done.returncode == code, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("convbench: ")
    return lines[0]


def test_cost_json_is_the_ledgers() -> None:
    done = convbench("cost", "lenet5", "--json")
    counted = json.loads(done.stdout)
    assert (counted["params"], counted["connections"], counted["macs"]) == (60_000, 340_908, 326_520)
    assert counted["flops"] == 2 * counted["macs"]
    rows = {row["name"]: (row["params"], row["connections"]) for row in counted["layers"] if row["connections"]}
    assert rows == {
        "c1": (156, 122_304),
        "s2": (12, 5_880),
        "c3": (1_516, 151_600),
        "s4": (32, 2_000),
        "c5": (48_120, 48_120),
        "f6": (10_164, 10_164),
        "output": (0, 840),
    }


def test_cost_on_a_terminal_fits_80_columns_and_shows_the_totals() -> None:
    done = convbench("cost", "lenet5", "--convention", "training-step", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert lines[1] == "FLOPs of all operators, training step with sgd-momentum"
    totals = dict(line.split()[:2] for line in lines if line.startswith(("parameters", "connections", "values")))
    assert totals == {"parameters": "60,000", "connections": "340,908", "values": "9,118"}


OWN_NETWORK = """
from torch import nn

class Sorts(nn.Module):
    def forward(self, x):
        return x.sort(dim=-1).values

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), Sorts())
"""


def test_cost_of_a_users_own_network(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN_NETWORK)
    asked = ("cost", "mine:make", "--image-size", "8")
    done = convbench(*asked, "--unit", "flops", "--count", "bias", "--csv", "cost.csv", "--json", folder=tmp_path)
    counted = json.loads(done.stdout)
    assert (counted["network"], counted["macs"], counted["counted"]) == ("mine:make", 27 * 144, 144)
    assert counted["unknown_operators"] == [{"operator": "aten.sort.default", "calls": 1, "layers": ["1"]}]
    assert (tmp_path / "cost.csv").read_text().count("\n") == 3
    assert "no rule counts aten.sort.default" in one_line(convbench(*asked, "--strict", folder=tmp_path), 1)


def test_cost_says_what_memory_it_takes() -> None:
    done = convbench("cost", "lenet5", "--memory", "--batch-size", "4", "--fits", "1MiB", "--json")
    told = json.loads(done.stdout)
    assert told["memory"]["batch_size"] == 4 and told["memory"]["weights"] >= 4 * 60_000
    assert told["fits"]["limit_bytes"] == 2**20 and told["fits"]["memory"]["peak"] <= 2**20
    assert told["fits"]["batch_size"] == told["fits"]["memory"]["batch_size"] > 4


def test_models_and_data_json() -> None:
    assert {"lenet1", "lenet4", "lenet5", "lenet5_relu"} <= {
        m["name"] for m in json.loads(convbench("models", "--json").stdout)
    }
    described = json.loads(convbench("data", "digits", "--json").stdout)
    assert (described["train"]["n"], described["test"]["n"]) == (1201, 596)
    assert sum(described["train"]["per_class"].values()) == 1201


def test_train_evaluate_json(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = convbench("train", "lenet5-relu", *TINY, "--set", "epochs=2", "--out", str(out), "--json")
    trained = json.loads(done.stdout)["result"]
    weights = str(out / "weights.safetensors")
    evaluated = json.loads(
        convbench("evaluate", "lenet5_relu", "--weights", weights, "--data", "digits", "--json").stdout
    )
    assert {"top1_error", "top5_error", "n", "interval", "engine"} <= evaluated.keys()
    assert evaluated["top1_error"] == trained["top1_error"]
    assert evaluated["confusion"] == trained["confusion"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cost", "lenet6"), "unknown network 'lenet6': nearest are lenet5, lenet4, lenet1"),
        (("cost", "lenet5", "--image-size", "12"), "at least 16x16, found 12x12"),
        (("cost", "lenet5", "--num-classes", "11"), "codes for 10 classes, found num_classes=11"),
        (("cost", "lenet5", "--convention", "flop"), "unknown convention 'flop': nearest is flops"),
        (("cost", "lenet5", "--fits", "much"), "expected a size such as 8GiB"),
        (("train", "lenet55"), "unknown recipe 'lenet55': nearest"),
        (
            ("train", "lenet5-relu", "--set", "optimiser.lrr=1"),
            "unknown key in lenet5-relu.optimiser 'lrr': nearest is lr",
        ),
        (("train", "lenet5-relu", "--set", "epochs=many"), "epochs: Input should be a valid integer"),
        (("train", "lenet5-relu", "--set", "epochs"), "--set expects key=value"),
        (("run", "first-lock"), "unknown suite 'first-lock': nearest is first-look"),
        (("run", "first-look", "--only", "lenet"), "unknown run of first-look 'lenet'"),
        (("run", "first-look", "--jobs", "-1"), "jobs must be 1 or more"),
        (("data", "mnistt"), "unknown data set 'mnistt'"),
        (("data", "/nowhere/at/all"), "/nowhere/at/all"),
        (("report",), "no runs in runs"),
        (("evaluate", "lenet5", "--weights", "none.safetensors", "--data", "digits"), "no weights at none.safetensors"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_code_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in one_line(convbench(*arguments, folder=tmp_path), 2)
    assert not list(tmp_path.rglob("*.json")), "a wrong request leaves nothing behind"


def test_debug_shows_the_traceback() -> None:
    done = convbench("cost", "lenet6", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_weights_of_another_network(tmp_path: Path) -> None:
    convbench("train", "lenet5-relu", *TINY, "--set", "epochs=1", "--out", str(tmp_path / "run"))
    weights = str(tmp_path / "run/weights.safetensors")
    line = one_line(convbench("evaluate", "lenet5", "--weights", weights, "--data", "digits"), 2)
    assert "holds lenet5_relu" in line
    Path(weights).write_bytes(Path(weights).read_bytes()[:5000])
    assert "not a whole safetensors file" in one_line(
        convbench("evaluate", "lenet5_relu", "--weights", weights, "--data", "digits"), 1
    )


def test_an_unwritable_output(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = convbench("train", "lenet5-relu", *TINY, "--out", str(tmp_path / "file/run"))
    assert "cannot make the folder" in one_line(done, 2)
    done = convbench("run", "first-look", "--out", str(tmp_path / "file/runs"))
    assert "cannot make the folder" in one_line(done, 2)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed(tmp_path: Path, ending: signal.Signals) -> None:
    """Stopped by a signal it says so in a line; --resume ends with the same weights as an undisturbed training."""
    arguments = ["train", "lenet5-relu", *TINY, "--set", "epochs=12", "--out"]
    command = [sys.executable, "-m", "convbench", *arguments, str(tmp_path / "stopped")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "stopped/state.pt").exists():
        time.sleep(0.01)
    process.send_signal(ending)
    _, said = process.communicate()
    assert process.returncode == 1
    assert said.strip().splitlines()[-1].startswith("convbench: interrupted")
    assert "Traceback" not in said
    again = convbench(*arguments, str(tmp_path / "stopped"))
    assert "--resume goes on with it" in one_line(again, 2)
    assert convbench(*arguments, str(tmp_path / "stopped"), "--resume").returncode == 0
    assert convbench(*arguments, str(tmp_path / "whole")).returncode == 0
    stopped, whole = (load_file(tmp_path / name / "weights.safetensors") for name in ("stopped", "whole"))
    assert stopped.keys() == whole.keys()
    assert all(bool((stopped[name] == whole[name]).all()) for name in whole)


SIGNALLED = """
import signal, sys

from convbench.bench import execute
from convbench.cli import main
from convbench.training import loop

update = loop._Training.update

def build_and_end(*arguments):
    signal.raise_signal(signal.SIGTERM)

def update_and_end_twice(self, *arguments):
    update(self, *arguments)
    if len(self.history) == 1:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

if sys.argv.pop(1) == "beginning":
    execute.build_for = build_and_end
else:
    loop._Training.update = update_and_end_twice
main()
"""


def test_one_command_with_resume_serves_every_restart(tmp_path: Path) -> None:
    """Ended while there is no state yet, then by two signals at once, which leave no time to save another."""
    arguments = ["train", "lenet5-relu", *TINY, "--set", "epochs=2", "--out", str(tmp_path / "run"), "--resume"]
    for when in ("beginning", "second epoch"):
        command = [sys.executable, "-c", SIGNALLED, when, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        told = "convbench: interrupted; what is finished is kept, the same command with --resume goes on"
        assert done.stderr.strip().splitlines()[-1] == told
        assert (tmp_path / "run/state.pt").exists() == (when == "second epoch")
    assert convbench(*arguments).returncode == 0
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2


@pytest.fixture
def full_disk(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A real file system of 320 KiB, where not even one state has room."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs needs the right to mount: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(full_disk: Path, tmp_path: Path) -> None:
    """The state (750 KB) does not fit: one line, exit code 1, nothing half-written; with room the command works."""
    out = full_disk / "run"
    arguments = ["train", "lenet5-relu", *TINY, "--set", "epochs=2", "--out", str(out)]
    done = convbench(*arguments)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(full_disk.rglob("*.part"))
    with_room_for("8m", full_disk)
    shutil.rmtree(out)
    assert convbench(*arguments).returncode == 0


def test_a_full_disk_loses_no_earlier_state(full_disk: Path, tmp_path: Path) -> None:
    """The second state has no room beside the first, which stays; with room the training goes on from there."""
    with_room_for("1200k", full_disk)
    arguments = ["train", "lenet5-relu", *TINY, "--set", "epochs=3", "--out"]
    done = convbench(*arguments, str(full_disk / "run"))
    assert done.returncode == 1
    assert "No space left on device" in done.stderr.strip().splitlines()[-1]
    state = torch.load(full_disk / "run/state.pt", weights_only=True)
    assert len(state["history"]) == 1 and not list(full_disk.rglob("*.part"))
    with_room_for("8m", full_disk)
    assert convbench(*arguments, str(full_disk / "run"), "--resume").returncode == 0
    assert convbench(*arguments, str(tmp_path / "whole")).returncode == 0
    resumed, whole = (load_file(place / "weights.safetensors") for place in (full_disk / "run", tmp_path / "whole"))
    assert all(bool((resumed[name] == whole[name]).all()) for name in whole)


def with_room_for(size: str, folder: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", "t10k-images"),
        ("corrupt", "t10k-images"),
        ("remove", "t10k-labels"),
    ],
)
def test_damaged_mnist_is_one_line(tmp_path: Path, real_data: Path, damage: str, message: str) -> None:
    raw = tmp_path / "MNIST/raw"
    shutil.copytree(real_data / "MNIST/raw", raw, ignore=shutil.ignore_patterns("*.gz"))
    images, labels = raw / "t10k-images-idx3-ubyte", raw / "t10k-labels-idx1-ubyte"
    content = bytearray(images.read_bytes())
    match damage:
        case "truncate":
            images.write_bytes(content[:-100])
        case "corrupt":
            content[5000] ^= 255
            images.write_bytes(content)
        case "remove":
            labels.unlink()
    done = convbench(
        "data", "mnist", "--data-dir", str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"), CONVBENCH_DATA=""
    )
    assert done.returncode in (1, 2)
    assert message in one_line(done, done.returncode)


def test_a_truncated_gz_is_one_line(tmp_path: Path) -> None:
    whole = gzip.compress(bytes(1000))
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(whole[: len(whole) // 2])
    assert "ubyte.gz" in one_line(convbench("data", str(tmp_path)), 1)


def test_a_thousand_classes_fit_on_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Of very many classes those with the most errors are shown, and how many are not."""
    one = {"interval": (40.0, 60.0), "top1_error": 50.0, "top5_error": 10.0, "n": 2000, "worst": ()}
    per_class = [{"name": f"c{i}", "n": 2, "errors": i // 500, "error": 50.0 * (i // 500)} for i in range(1000)]
    print_result("net", {**one, "rejection": {"target_error": 0.5, "rejected": None}, "per_class": per_class})
    shown = capsys.readouterr().out
    assert "not among the best five: 10.00 %" in shown and "and 980 classes more" in shown
    assert re.findall(r"^(c\d+) ", shown, re.M) == [f"c{i}" for i in range(500, 520)]
    print_data({"test": {"n": 9, "shape": [3, 8, 8], "fingerprint": "f", "source": "s", "per_class": {"a": 4, "b": 5}}})
    assert "more" not in capsys.readouterr().out
