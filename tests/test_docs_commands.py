"""Every command of every document: understood by the real command line, with names that there are; many are run.

What takes minutes, or weights or data that cannot be stood in for, is only understood here; `UNDERSTOOD` says which,
and where its like is run. All others run here, in the order of their page, on small stand-ins: photographs of noise,
untrained weights.
The README's own commands are run by test_readme.py.
"""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_image

from convbench.bench.suite import open_suite
from convbench.cli import app
from convbench.data import DATASETS
from convbench.detection import registry as detectors
from convbench.models import build, names
from convbench.training.recipe import open_recipe, parse_settings
from convbench.weights import save_weights
from documented import PAGES, README, ROOT, commands, understand

LINES = [(page.name, line) for page in PAGES for line in commands(page.read_text())]
OURS = [(page, line) for page, line in LINES if re.match(r"(torchrun .* -m )?convbench ", line)]
OTHERS = ("make", "pytest", "python", "source")  # programs of others

UNDERSTOOD = {  # of what is not run here, how it begins, and why
    'data check "s3:': "fetches shards from a store; test_stores.py does from one of its own",
    "train": "minutes to weeks; test_training.py trains by each recipe, test_readme.py on a folder",
    "detect": "trains; test_readme.py runs the same on stand-ins, test_detection_training.py takes other weights",
    "run": "minutes to days; test_readme.py does a run of each kind, test_cluster.py some on Ray",
    "report (?!lecun1998 --runs)": "shows what was run; test_readme.py, test_comparison.py, test_detection_matrix.py",
    "measure": "times networks by every engine; test_readme.py and test_measure.py do",
    "evaluate": "reads the weights and photographs of others; test_readme.py, test_evaluation.py, test_ensemble.py",
    "explain (occlusion|invariance|top9|evolution)": "minutes; test_readme.py and test_explain.py do on small networks",
    "export resnet50": "is calibrated and judged on photographs of ImageNet; test_int8.py does",
    "serve": "does not end; test_readme.py begins one",
}


@pytest.mark.parametrize(("page", "line"), OURS)
def test_it_is_understood(page: str, line: str) -> None:
    """Command, options and types by the real command line; names, keys and suites by what there is."""
    line = line[line.index("convbench ") :].partition(" > ")[0]
    name, said = understand(line)
    if "NAME" in line:  # the reader's own
        return
    if name in ("train", "detect train"):
        recipe = open_recipe(said["recipe"], parse_settings(said["settings"]))
        assert (recipe.network in detectors.names()) is (name == "detect train")
        assert recipe.network in (*names(), *detectors.names())
    known = {*names(), *detectors.names()}
    wanted = [*(said.get("names") or []), *str(said.get("network") or "").split(",")]
    wanted += [said["name"]] if name == "models" and said["name"] else []
    for one in filter(None, wanted):
        assert one in known or ":" in one, f"{one} is no network"
    if name == "run":
        _, suite = open_suite(said["suite"])
        runs = {run.name for run, _ in suite.seeded()} | {run.name for run in suite.compared}
        assert set(said["only"]) <= runs
    data = said.get("data_name") or (said.get("name") if name == "data" else None)
    assert data is None or data in DATASETS or data.isupper() or "/" in data or data == "check", data


@pytest.mark.parametrize(("page", "line"), [one for one in LINES if one not in OURS])
def test_the_line_is_of_a_known_program(page: str, line: str) -> None:
    said = shlex.split(line)
    said = said[next(i for i, word in enumerate(said) if "=" not in word) :]  # settings of the environment before it
    assert said[0] in OTHERS, f"{page}: {line}"
    for word in said[1:]:
        if re.match(r"(benchmarks|tests|docs|src)/", word) and not re.search(r"[A-Z]{3}|[<>]", word):
            assert (ROOT / word.partition("::")[0]).exists(), word


def is_run(line: str) -> bool:
    """Whether it is to be run here: it is ours, whole, and has none of the reader's own names."""
    is_whole = line.startswith("convbench ") and not re.search(r"\bNAME\b| > ", line)
    return is_whole and not any(re.match(f"convbench ({one})", line) for one in UNDERSTOOD)


def test_the_list_of_what_is_only_understood_is_needed() -> None:
    """Each pattern is of some line of the documents, so that the list cannot grow old."""
    for pattern in UNDERSTOOD:
        assert any(re.match(f"convbench ({pattern})", line) for _, line in LINES), pattern


WORDNET = (  # of Imagenette's classes, in their order
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small stand-ins for what the documents' commands read."""
    folder, noise = tmp_path_factory.mktemp("desk"), np.random.default_rng(0)
    places = [("PHOTOS", f"class{number}") for number in range(2)] + [("data/imagenette", name) for name in WORDNET]
    for (root, name), split, number in itertools.product(places, ("train", "val"), range(3)):
        file = folder / root / split / name / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(file)
    for name in ("china.jpg", "photograph.jpeg"):
        Image.fromarray(load_sample_image("china.jpg")).save(folder / name)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    save_weights(build("mobilenet_v1"), folder / "FILE", {"preprocessing": {"crop": 224, "shorter": 256}})
    told = {"classes": [str(number) for number in range(10)], "input_shape": [3, 112, 112]}
    run = folder / "runs/alexnet-ablation/alexnet-seed-0"
    run.mkdir(parents=True)
    net = build("alexnet", num_classes=10, image_size=112)
    save_weights(net, run / "weights.safetensors", {**told, "preprocessing": {"crop": 112, "shorter": 128}})
    (folder / "docs").symlink_to(ROOT / "docs")
    return folder


@pytest.mark.parametrize("page", sorted({page for page, line in OURS if page != README.name and is_run(line)}))
def test_it_is_run(page: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line after the other; each ends well and says something."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("CONVBENCH_DATA", str(desk / "data"))
    for line in (line for of, line in OURS if of == page and is_run(line)):
        with pytest.raises(SystemExit) as end:
            app(shlex.split(line)[1:], prog_name="convbench")
        said = capsys.readouterr()
        assert end.value.code in (0, None), (line, said.err)
        assert len(said.out) > 20, line
        for picture in re.findall(r"^picture: (.*)$", said.out, re.M):
            with Image.open(picture) as image:
                assert min(image.size) > 100


def test_a_command_that_does_not_exist_is_not_understood() -> None:
    """The test of the test."""
    for said in ("costs vgg16", "cost vgg16 --unknown", "detect trains x", "cost"):
        with pytest.raises(Exception, match=r"No such|Missing|Got unexpected"):
            understand(f"convbench {said}")
