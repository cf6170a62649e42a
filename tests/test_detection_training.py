"""Detectors learn through the one training loop: the same whoever reads and wherever it was stopped, on one or two."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import convbench as cb
from boxed import COLOURS, write_rectangles
from convbench.bench.detect import LoadedDetector, evaluate_detector, find_objects, load_detector
from convbench.bench.train_detector import detector_for, train_detector
from convbench.data import Preprocessing
from convbench.detection.datasets import open_detection_set
from convbench.detection.detector import Detector
from convbench.detection.registry import build_detector
from convbench.detection.task import Detection
from convbench.errors import RequestError
from convbench.models import build
from convbench.training.loop import InterruptedTrainingError, Options, fit
from convbench.training.recipe import Recipe, open_recipe
from convbench.weights import save_weights
from small_trainings import same_state
from test_processes import start

DOCS = Path(__file__).parents[1] / "docs"
SMALL = {
    "arguments": {"width_multiplier": 0.25},
    "epochs": 2,
    "batch_size": 4,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rectangles(tmp_path_factory.mktemp("data"), 8)


def recipe_for(folder: Path, **changes: Any) -> Recipe:
    return open_recipe("ssd300-mobilenet-cpu", {"data": str(folder), **SMALL, **changes})


def test_it_goes_on_bit_for_bit_where_it_was_stopped(rectangles: Path, tmp_path: Path, monkeypatch: Any) -> None:
    recipe, dataset = recipe_for(rectangles), open_detection_set(rectangles, "train")

    def train(folder: Path, resume: bool = False) -> Any:
        net = detector_for(recipe, dataset, 0)
        folder.mkdir(exist_ok=True)
        history = fit(
            *(net, dataset, recipe),
            task=Detection(net),
            folder=folder,
            resume=resume,
            test=dataset,
            options=Options(workers=0),
        )
        return net, history

    whole, history = train(tmp_path / "whole")
    assert all(one.test_ap50 is not None and one.test_error is one.train_error is None for one in history)
    assert history[1].loss < history[0].loss

    from convbench.training import loop

    look = loop._Training.look

    def stop_at_three(self: Any) -> None:
        look(self)
        if self.steps_done == 3:
            self.requests.signal = 15

    monkeypatch.setattr(loop._Training, "look", stop_at_three)
    with pytest.raises(InterruptedTrainingError, match="epoch 2, step 1"):
        train(tmp_path / "parted")
    monkeypatch.setattr(loop._Training, "look", look)
    parted, again = train(tmp_path / "parted", resume=True)
    assert same_state(whole, parted)
    assert [one.loss for one in again] == [one.loss for one in history]


IN_DOUBLE = """
import sys, torch
from pathlib import Path
from convbench.bench.train_detector import detector_for
from convbench.detection.datasets import open_detection_set
from convbench.detection.registry import build_detector
from convbench.detection.task import Detection
from convbench.training.loop import Options, fit
from convbench.training.processes import joined_processes
from convbench.training.recipe import open_recipe

recipe, dataset = open_recipe(sys.argv[1]), open_detection_set(sys.argv[2], "train")
with joined_processes() as processes:
    net = detector_for(recipe, dataset, 0).double()
    net.register_forward_pre_hook(lambda _, given: (given[0].double(), *given[1:]))
    fit(net, dataset, recipe, task=Detection(net), options=Options(workers=0))
    if processes.first:
        torch.save(net.state_dict(), sys.argv[3])
"""


def test_two_processes_end_as_one(rectangles: Path, tmp_path: Path) -> None:
    """The losses of both are divided by all matches of the batch."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f"""
description = "small"
network = "ssd300_mobilenet_v1"
data = "{rectangles}"
loss = "detection"
epochs = 1
batch_size = 4
optimiser = {{ name = "sgd", lr = 0.01, momentum = 0.9 }}
preprocessing = {{ size = 300, low = -1.0 }}
arguments = {{ width_multiplier = 0.25 }}
"""
    )
    script = tmp_path / "train.py"
    script.write_text(IN_DOUBLE)
    for processes in (1, 2):
        finished = start(processes, script, recipe, rectangles, tmp_path / f"{processes}.pt")
        assert finished.returncode == 0, finished.stderr
    one, two = (torch.load(tmp_path / f"{processes}.pt", weights_only=True) for processes in (1, 2))
    for name, tensor in one.items():
        assert (two[name] - tensor).abs().max() <= 2e-7 * tensor.abs().max(), f"{name} differs"


def test_a_user_trains_evaluates_and_predicts(rectangles: Path, tmp_path: Path) -> None:
    """As typed: a detector overfits eight photographs, is evaluated from its folder, and finds what is there."""

    def said(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "convbench", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def convbench(*arguments: str | Path) -> Any:
        return json.loads(said("detect", *arguments, "--json"))

    settings = [
        "arguments.width_multiplier=0.25",
        "epochs=60",
        "batch_size=4",
        "optimiser.lr=1e-3",
        "boxes.overlaps=[]",
    ]
    settings += ["boxes.expand=1.0", "boxes.colours=false", "precision=fp32"]
    asked = [text for setting in settings for text in ("--set", setting)]
    out = tmp_path / "runs" / "detect" / "mine"
    record = convbench("train", "ssd300-mobilenet-cpu", "--data", rectangles, *asked, "--out", out, "--workers", "0")
    assert record["status"] == "done" and record["subject"]["kind"] == "detector"
    assert record["data"]["train"]["objects"] == 16
    learnt = convbench("evaluate", "--weights", out, "--data", rectangles, "--split", "train")
    assert learnt["ap50"] > 0.9 and set(learnt["per_class"]) == set(COLOURS)
    assert json.loads((out / "found.json").read_text())[0]["category_id"] in (3, 4)
    (found,) = convbench("predict", rectangles / "train2000" / "0.png", "--weights", out, "--out", tmp_path / "found")
    truth = open_detection_set(rectangles, "train").objects[0]
    names = [one["name"] for one in found["objects"]]
    assert sorted(names) == sorted(COLOURS)
    for one in found["objects"]:
        box = truth.boxes[list(COLOURS).index(one["name"])]
        assert (torch.tensor(one["box"]) - box).abs().max() < 12
    assert (tmp_path / "found" / "0.png").exists() and (tmp_path / "found" / "found.json").exists()
    title, _, heading, row, drawn, _, page = said("report", "detect").splitlines()
    figures = [f"{100 * record['detected'][name]:.1f}" for name in ("ap", "ap50", "ap75")]
    assert (
        title == "detect"
        and heading.split()[:3] == ["detector", "AP", "%"]
        and " ".join(figures) in " ".join(row.split())
    )
    assert drawn == "boxes drawn: runs/detect/mine/found.png" and page == "report: report/index.html"


def test_the_backbone_begins_from_weights(rectangles: Path, tmp_path: Path, real_weights: Path) -> None:
    """Keras' MobileNet: its tensors are the trunk's, whose rectifiers stop at 6 and whose padding is TensorFlow's."""
    dataset = open_detection_set(rectangles, "train")
    file = real_weights / "mobilenet_v1_0.25_224_keras_imagenet.npz"
    net = detector_for(recipe_for(rectangles, initial_weights=str(file)), dataset, 0)
    source = build("mobilenet_v1", width_multiplier=0.25)
    cb.load_weights(source, file)
    own, theirs = net.state_dict(), source.state_dict()
    taken = [name for name in own if name.startswith("trunk.")]
    assert taken and all(torch.equal(own[name], theirs[name.removeprefix("trunk.")]) for name in taken)
    assert any(isinstance(one, torch.nn.ReLU6) for one in net.extras.modules())
    wrong = recipe_for(rectangles, initial_weights=str(file), arguments={"width_multiplier": 0.5})
    with pytest.raises(RequestError, match="does not fit"):
        detector_for(wrong, dataset, 0)


def test_a_run_of_ours_begins_a_training(rectangles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its folder: a backbone or a detector of other classes; what is of classes begins anew, all else is taken."""
    dataset = open_detection_set(rectangles, "train")
    detector = detector_for(recipe_for(rectangles), replace(dataset, classes=("a", "b", "c")), 1)
    backbone = build("mobilenet_v1", num_classes=7, width_multiplier=0.25)
    for folder, source, prefix in (("detector", detector, ""), ("backbone", backbone, "trunk.")):
        (tmp_path / folder).mkdir()
        save_weights(source, tmp_path / folder / "weights.safetensors", {})
        capsys.readouterr()
        net = detector_for(recipe_for(rectangles, initial_weights=str(tmp_path / folder)), dataset, 0)
        own = {key: tensor for key, tensor in net.state_dict().items() if tensor.ndim}
        theirs = {prefix + key: tensor for key, tensor in source.state_dict().items()}
        taken = [key for key in own if key in theirs and "class_heads" not in key]
        assert sum(key.startswith("trunk.") for key in taken) == 27 * 5
        assert all(torch.equal(own[key], theirs[key]) for key in taken)
        assert f"begins from {len(taken)} of {len(own)} tensors" in capsys.readouterr().err
    layers = recipe_for(rectangles, initial_weights=str(tmp_path / "detector"), initial_layers=["extras."])
    net = detector_for(layers, dataset, 0)
    assert torch.equal(net.state_dict()["extras.0.0.conv.weight"], detector.state_dict()["extras.0.0.conv.weight"])


def test_weights_that_do_not_fill_the_trunk_are_refused(rectangles: Path, tmp_path: Path) -> None:
    """Only their counters of batches fit, which fit everything; or all but one tensor."""
    dataset, file = open_detection_set(rectangles, "train"), tmp_path / "weights.safetensors"
    recipe = recipe_for(rectangles, initial_weights=str(tmp_path))
    wide = detector_for(recipe_for(rectangles, arguments={"width_multiplier": 0.5}), dataset, 0)
    save_weights(wide, file, {})
    with pytest.raises(RequestError, match=r"expected the 135 tensors of the trunk .* 135 do not fit: .* found \(16,"):
        detector_for(recipe, dataset, 0)
    net = detector_for(recipe_for(rectangles), dataset, 0)
    gone = next(key for key in net.state_dict() if key.startswith("trunk.separable9"))
    save_weights(net, file, {}, leave_out={gone})
    with pytest.raises(RequestError, match=rf" 1 do not fit: {gone} is .*, found nothing"):
        detector_for(recipe, dataset, 0)


def test_the_apis_weights_are_evaluated_by_names(real_data: Path, real_weights: Path) -> None:
    """COCO's 90 numbers are known by their names; the integer network has an AP of 0.212, and AP50 0.341."""
    file = real_weights / "ssd_mobilenet_v1_0.75_coco_uint8.npz"
    command = [sys.executable, "-m", "convbench", "detect", "evaluate", "ssd300_mobilenet_v1", "--weights", str(file)]
    command += [
        "--data",
        str(real_data / "coco128"),
        "--set",
        "width_multiplier=0.75",
        "--max-detections",
        "10",
        "--json",
    ]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (result["split"], result["most"], result["n"]) == ("train2017", 10, 128)
    detector = load_detector(file, "ssd300_mobilenet_v1", {"width_multiplier": 0.75})
    of_all = evaluate_detector(detector, str(real_data / "coco128"))
    assert result["ap"] >= 0.205 and result["ap50"] >= 0.341
    text = " ".join((DOCS / "detection.md").read_text().split())
    assert f"an AP of {result['ap']:.3f} on the first 128" in text
    assert f"and {of_all['ap']:.3f} with a hundred" in text
    (finds,) = find_objects(detector, [real_data / "coco128/train2017/000000000110.jpg"])
    assert finds.picture is None and "person" in {one.name for one in finds.objects}


def test_a_file_says_what_it_is_built_with(tmp_path: Path) -> None:
    """Something else beside it is refused, and not dropped; the same may be said again."""
    about = {"network": "ssd300_mobilenet_v1", "arguments": {"width_multiplier": 0.25}, "classes": list(COLOURS)}
    net = build_detector(about["network"], num_classes=2, width_multiplier=0.25)
    save_weights(net, tmp_path / "weights.safetensors", about | {"preprocessing": {"size": 300}})
    loaded = load_detector(tmp_path, None, {"width_multiplier": 0.25})
    assert same_state(loaded.net, net)
    for other in ({"width_multiplier": 1.0}, {"num_classes": 3}):
        with pytest.raises(RequestError, match=r"expected \{'width_multiplier': 0.25\}, found " + str(other)):
            load_detector(tmp_path, None, other)


@pytest.mark.parametrize("most", [0, 101])
def test_no_more_detections_are_asked_for_than_coco_counts(most: int) -> None:
    detector = LoadedDetector(Unused(), tuple(COLOURS), Preprocessing(size=300), {})
    with pytest.raises(RequestError, match=f"expected 1 to 100 detections of an image, .* found {most}"):
        evaluate_detector(detector, "nowhere", most=most)


def test_no_picture_takes_the_place_of_a_photograph(rectangles: Path, tmp_path: Path) -> None:
    """Nor of another's picture; by whatever name it is reached, and before anything is read or written."""
    photographs, out = tmp_path / "photographs", tmp_path / "out"
    shutil.copytree(rectangles / "train2000", photographs)
    before = {file.name: file.read_bytes() for file in photographs.iterdir()}
    (tmp_path / "linked").symlink_to(photographs)
    out.mkdir()
    (out / "0.png").hardlink_to(photographs / "1.png")
    detector = LoadedDetector(Unused(), tuple(COLOURS), Preprocessing(size=300), {})
    one, other = photographs / "0.png", photographs / "1.png"
    for folder, images in ((photographs, [other, one]), (tmp_path / "linked", [one]), (out, [one, other])):
        with pytest.raises(RequestError, match=r"a folder for pictures .*, found .*png among them"):
            find_objects(detector, images, out=folder)
    shutil.copy(one, tmp_path / "0.jpg")
    with pytest.raises(RequestError, match=r"whose names differ, .* found two 0"):
        find_objects(detector, [one, tmp_path / "0.jpg"], out=tmp_path / "new")
    assert {file.name: file.read_bytes() for file in photographs.iterdir()} == before
    assert not (tmp_path / "new").exists()


class Unused(Detector):
    """A detector that must not be asked."""

    forward = weight = find = None


def test_what_cannot_be_is_one_line(rectangles: Path, tmp_path: Path) -> None:
    dataset = open_detection_set(rectangles, "train")
    net = detector_for(recipe_for(rectangles), dataset, 0)
    with pytest.raises(RequestError, match=r"boxes\.size: expected 300 pixels"):
        fit(net, dataset, recipe_for(rectangles, **{"boxes.size": 200}), task=Detection(net))
    with pytest.raises(RequestError, match=r"preprocessing\.size: expected 300 pixels"):
        detector_for(recipe_for(rectangles, **{"preprocessing.size": 224}), dataset, 0)
    with pytest.raises(RequestError, match="images, held_out: expected neither"):
        fit(net, dataset, recipe_for(rectangles, held_out=2), task=Detection(net))
    empty = replace(dataset, objects=tuple(replace(one, learnt=one.learnt & False) for one in dataset.objects))
    with pytest.raises(RequestError, match="expected images with objects to learn"):
        fit(net, empty, recipe_for(rectangles), task=Detection(net))
    with pytest.raises(RequestError, match="unknown detector 'ssd300_mobilnet': nearest are ssd300_mobilenet_v1"):
        train_detector(
            "ssd300-mobilenet-cpu", settings={"network": "ssd300_mobilnet", "data": str(rectangles)}, out=tmp_path
        )
    with pytest.raises(RequestError, match="loss: expected one for labels"):
        cb.train(recipe_for(rectangles, network="mobilenet_v1", data="digits"), out=tmp_path / "no")


def test_a_run_of_nan_is_told(rectangles: Path) -> None:
    """The loss is finite from the first step on; where a rate is absurd, the training stops and says where."""
    dataset, recipe = open_detection_set(rectangles, "train"), recipe_for(rectangles, **{"optimiser.lr": 1e12})
    recipe = replace(recipe, clip_norm=None, optimiser=replace(recipe.optimiser, name="sgd"))
    net = detector_for(recipe, dataset, 0)
    with pytest.raises(cb.errors.ConvbenchError, match="diverged at step"):
        fit(net, dataset, recipe, task=Detection(net), options=Options(workers=0))
