"""The README's words are run as they stand."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from boxed import write_rectangles
from convbench.models import names as convbench_names
from documented import README, blocks, commands, section

BLOCKS = blocks(README.read_text())
SHOWN = {text.splitlines()[0]: text for kind, text in BLOCKS if kind == "text"}
COMMANDS = commands(README.read_text())


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "120", **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def typed(title: str) -> list[str]:
    """The commands of one section."""
    return commands(section(README, title))


def convbench(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    assert program == "convbench"
    return [sys.executable, "-m", "convbench", *arguments]


def without_numbers(text: str) -> list[str]:
    """Its lines, each number an N, without the spaces by which columns stand apart."""
    return [" ".join(re.sub(r"\d[\d.,e-]*", "N", line).split()) for line in text.splitlines()]


def assert_shown(first: str, said: str, *, numbers: bool = True) -> None:
    """The block of text that begins so is what a command says, line by line; without `numbers`, up to numbers."""
    (shown,) = [text for line, text in SHOWN.items() if line.startswith(first)]
    told = [line.rstrip() for line in said.splitlines()] if numbers else without_numbers(said)
    wanted = [line.rstrip() for line in shown.splitlines()] if numbers else without_numbers(shown)
    begin = told.index(wanted[0])
    assert told[begin : begin + len(wanted)] == wanted


def test_the_two_commands_are_in_the_makefile() -> None:
    makefile = README.with_name("Makefile").read_text()
    assert [line for line in COMMANDS if line.startswith("make")] == ["make bench", "make test"]
    assert re.search(
        r"^bench: .*\n\t\$\(BIN\)/convbench run first-look\n\t\$\(BIN\)/convbench report first-look$", makefile, re.M
    )
    assert re.search(r"^test: .*\n\t\$\(BIN\)/pytest \$\(PARALLEL\)$", makefile, re.M)


def test_the_python_face(tmp_path: Path) -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    done = run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    counts, ours, maps, rival = done.stdout.splitlines()
    assert counts == "60,000 parameters, 340,908 connections"
    assert maps.startswith("(1, 512, 14, 14) ('conv1', 'conv2', 'inception_3b'")
    assert float(ours.split()[0]) < 5
    assert float(rival.split()[0]) < 3


def test_the_number_of_networks() -> None:
    (count,) = re.findall(r"(\d+)\snetworks, each", README.read_text())
    assert int(count) == len(convbench_names())


@pytest.mark.slow
def test_choose_by_cost(tmp_path: Path) -> None:
    *counts, measure = typed("Choose by cost")
    outputs = []
    for line in counts:
        done = run(convbench(line), tmp_path)
        assert done.returncode == 0, (line, done.stderr)
        outputs.append(done.stdout)
    listing, cost, referees, fits = outputs
    assert_shown("network  ", listing)
    assert_shown("resnet50, inference", fits)
    assert "4,231,976" in cost and "568,740,352" in cost
    for says in ("4,089,238,376", "4,111,512,576", "4,132,436,968", "4,133,742,592", "8,178,368,512"):
        assert says in referees
    assert "explained to the last operation" in referees
    some = ("--seconds", "0.1", "--engine", "eager", "--engine", "openvino-bf16")  # all would take minutes
    done = run([*convbench(measure), *some], tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("resnet50", "mobilenet_v1"):
        assert re.search(rf"^{name}\b", done.stdout, re.M)
    assert "openvino-bf16" in done.stdout and "eager" in done.stdout


@pytest.mark.slow
def test_networks_are_compared_by_a_suite(tmp_path: Path) -> None:
    """The two lines of docs/choosing.md, with one network."""
    compare, report = [line for line in commands((README.parent / "docs/choosing.md").read_text()) if "-costs" in line]
    done = run(convbench(compare.replace("mobilenet_v1 --only resnet18", "mobilenet_v1_025")), tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(convbench(report), tmp_path)
    assert done.returncode == 0 and "report: report/index.html" in done.stdout, done.stderr


def test_train_on_your_folder(tmp_path: Path) -> None:
    """The commands as they stand, on few and small photographs, and so with smaller windows and fewer passes."""
    noise = np.random.default_rng(0)
    for split, place, number in itertools.product(("train", "val"), range(6), range(8)):
        pixels = noise.integers(0, 60, (40, 52, 3), dtype=np.uint8) + 35 * place
        folder = tmp_path / "PHOTOS" / split / f"class{place}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")
    check, train, evaluate, report, *_ = typed("Train on your folder")
    small = ["stored=36", "view.size=32", "view.shorter=[36,36]", "preprocessing.crop=32", "epochs=2", "batch_size=16"]
    changes = [part for setting in small for part in ("--set", setting)]
    train_small = [*convbench(train.replace("--keep 0,1,2,6", "--keep 0,1")), *changes]
    for command, says in (
        (convbench(check), "all readable"),
        (train_small, "48 images"),
        (convbench(evaluate), "gallery: classes.png"),
        (convbench(report), "report: report/index.html"),
    ):
        done = run(command, tmp_path)
        assert done.returncode == 0, (command, done.stderr)
        assert says in done.stdout
        if command == convbench(check):
            assert_shown("leaks", done.stdout)
    with Image.open(tmp_path / "classes.png") as picture:
        assert picture.width > 500


def test_look_inside(tmp_path: Path) -> None:
    """The commands as they stand, on few and small photographs, and so with fewer passes."""
    noise = np.random.default_rng(0)
    for split, place, number in itertools.product(("train", "val"), range(2), range(8)):
        folder = tmp_path / "PHOTOS" / split / f"class{place}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 60, (140, 150, 3), dtype=np.uint8) + 90 * place
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.jpg")
    shutil.copy(tmp_path / "PHOTOS/val/class1/0.jpg", tmp_path / "photograph.jpeg")
    train, *explanations = typed("Look inside")
    done = run([*convbench(train), "--set", "epochs=2", "--set", "batch_size=8"], tmp_path)
    assert done.returncode == 0, done.stderr
    for line in explanations:
        done = run(convbench(line), tmp_path)
        assert done.returncode == 0, (line, done.stderr)
        for picture in re.findall(r"^picture: (.*)$", done.stdout, re.M):
            with Image.open(tmp_path / picture) as image:
                assert min(image.size) > 100
        if "deconvnet" in line:
            assert_shown("picture", done.stdout)
    inside = tmp_path / "runs/photos/alexnet/explain"
    sheets = {file.name for file in inside.rglob("*.png") if file.parent.name != "units"}  # of single units: the page's
    assert sheets == {"relu2.png", "relu5.png", "evolution-relu2.png"}
    assert {file.name for file in tmp_path.glob("*.png")} == {
        "alexnet-filters.png",
        "alexnet-deconvnet.png",
        "alexnet-occlusion.png",
    }


def test_find_objects(tmp_path: Path) -> None:
    """The commands as they stand, on few and small photographs, and so with fewer passes and a thin network."""
    write_rectangles(tmp_path / "BOXES", 4)
    shutil.copy(tmp_path / "BOXES/val2000/0.png", tmp_path / "photograph.jpeg")
    train, *others = [line for line in typed("Train on your folder") if "detect" in line]
    others.append("convbench report detect")
    small = ["--set", "epochs=1", "--set", "batch_size=4", "--set", "arguments.width_multiplier=0.25"]
    done = run([*convbench(train), *small], tmp_path)
    assert done.returncode == 0 and "AP at an overlap of 0.50" in done.stdout, done.stderr
    for line in others:
        done = run(convbench(line), tmp_path)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "found/photograph.png").exists() and (tmp_path / "found/found.json").exists()
    page = (tmp_path / "report/index.html").read_text()
    assert "What the detectors found" in page and "data:image/png" in page


@pytest.mark.slow
def test_the_audit_is_as_shown(tmp_path: Path) -> None:
    done = run(convbench("convbench claims"), tmp_path)
    assert_shown("89 audited", done.stdout)


def test_claims_are_told(tmp_path: Path) -> None:
    wrong, trials = [line for line in typed("Reproduce a paper") if "claims" in line]
    done = run(convbench(wrong), tmp_path)
    assert done.returncode == 0 and "AlexNet, year" in done.stdout, done.stderr
    assert "wrong " in done.stdout and not re.search(r"  (right|ambiguous) ", done.stdout)
    done = run(convbench(trials), tmp_path)
    assert done.returncode == 0 and "holds" in done.stdout, done.stderr


def test_the_explorer_is_served(tmp_path: Path) -> None:
    """As the line stands, but on any port that is free; it answers, and ends when told to."""
    (line,) = [line for line in typed("Two commands") if "serve" in line]
    command = [*convbench(line), "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, bufsize=1) as served:
        assert served.stdout is not None
        address = re.match(r"explorer: (http://127\.0\.0\.1:\d+)", served.stdout.readline())
        assert address is not None
        with urlopen(f"{address[1]}/report.css") as answer:
            assert answer.status == 200 and "content-security-policy" in answer.headers
        served.send_signal(signal.SIGINT)
        assert served.wait(60) == 0


@pytest.mark.realdata
def test_weights_of_other_libraries(tmp_path: Path, real_data: Path, real_weights: Path) -> None:
    convert, evaluate, predict, export = typed("Export")
    (source,) = real_weights.glob("mobilenet_v1_1.0_*.npz")
    assert source.name in convert
    (tmp_path / source.name).symlink_to(source)
    (tmp_path / "photograph.jpeg").symlink_to(real_data / "imagenet-val" / "ILSVRC2012_val10.jpeg")
    done = run(convbench(convert), tmp_path)
    assert done.returncode == 0 and "wrote mobilenet.safetensors" in done.stdout, done.stderr
    done = run(convbench(evaluate), tmp_path, CONVBENCH_DATA=str(real_data))
    assert done.returncode == 0 and done.stdout.startswith("mobilenet_v1: 28.40 % error"), done.stderr
    done = run(convbench(predict), tmp_path)
    assert done.returncode == 0, done.stderr
    assert_shown("1  Pekinese", done.stdout, numbers=False)
    done = run(convbench(export), tmp_path)
    assert done.returncode == 0 and (tmp_path / "mobilenet_v1.onnx").exists(), done.stderr
    assert_shown("wrote mobilenet_v1.onnx", done.stdout, numbers=False)


@pytest.mark.slow
def test_make_bench_does_what_the_readme_shows(tmp_path: Path) -> None:
    """The two lines of `make bench`; the table has the README's rows, and the best methods are good."""
    for line in ("run first-look", "report first-look"):
        done = run([sys.executable, "-m", "convbench", *line.split()], tmp_path)
        assert done.returncode == 0, done.stderr
    (shown,) = [text for line, text in SHOWN.items() if line.startswith("First look")]

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
