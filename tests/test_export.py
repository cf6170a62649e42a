"""Exports: the printed lines answer as eager in a fresh process without convbench; what is wrong leaves nothing."""

from __future__ import annotations

import copy
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from convbench.bench.export import Exported, export
from convbench.bench.exportable import in_words
from convbench.cli import main
from convbench.data import Preprocessing
from convbench.data.samples import sample_photographs
from convbench.errors import ConvbenchError, RequestError
from convbench.models import build
from convbench.report.exports import LOADING, print_export
from convbench.timing.conversion import to_openvino
from convbench.timing.export import FORMATS
from convbench.weights import save_weights

CLASSES = ("ant", "bee", 'cat "tom"', "dog & co", "eel", "fox <red>", "gnu")  # what formats of text stumble over
PREPROCESSING = Preprocessing(shorter=48, crop=40, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    """A MobileNet whose normalisations have seen images, so that its answers differ."""
    torch.manual_seed(0)
    made = build("mobilenet_v1_025", num_classes=len(CLASSES), image_size=40)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of the one batch that follows
    with torch.no_grad():
        made.train()(torch.randn(16, 3, 40, 40))
    return made.eval()


@pytest.fixture(scope="module")
def weights(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mobilenet.safetensors"
    about = {"network": "mobilenet_v1_025", "classes": CLASSES, "input_shape": (3, 40, 40), "licence": "our own"}
    preprocessing = {"shorter": 48, "crop": 40, "mean": PREPROCESSING.mean, "std": PREPROCESSING.std}
    save_weights(net, path, {**about, "preprocessing": preprocessing})
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("to", FORMATS)
def test_the_printed_lines_load_the_file_in_a_fresh_process(
    to: str, net: nn.Module, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = export("mobilenet_v1_025", to, tmp_path / f"net{SUFFIX[to]}", weights=weights)
    print_export(exported.to_dict())
    code = capsys.readouterr().out.partition("\n\nimport ")[2]
    images = PREPROCESSING(sample_photographs(5, 3, 64))
    np.save(tmp_path / "images.npy", images.numpy())
    program = f"""
import json, numpy, sys
images = numpy.load("images.npy")
{"import torch; images = torch.from_numpy(images)" if to == "torch" else ""}
import {code}
notes = json.loads(notes["convbench.json"]) if "convbench.json" in notes else notes
assert "convbench" not in sys.modules
notes = {{key: json.loads(text) for key, text in notes.items()}}
print(json.dumps([scores.tolist(), notes]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    scores, notes = json.loads(done.stdout)
    with torch.inference_mode():
        expected = net(images)
    torch.testing.assert_close(torch.tensor(scores), expected, rtol=1e-3, atol=1e-4)
    assert torch.tensor(scores).argmax(dim=1).equal(expected.argmax(dim=1))
    assert notes == json.loads(json.dumps(exported.notes))
    assert notes["classes"] == list(CLASSES)
    assert notes["preprocessing"]["crop"] == 40
    assert (notes["network"], notes["licence"], notes["precision"]) == ("mobilenet_v1_025", "our own", "fp32")


@pytest.mark.parametrize("to", FORMATS)
def test_any_module_is_exported_and_left_as_it_was(to: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torchvision.models.squeezenet1_1(num_classes=6).train()
    before = copy.deepcopy(net.state_dict())
    exported = export(net, to, tmp_path / f"net{SUFFIX[to]}", image_size=64)
    assert all(tensor.equal(before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert (exported.network, exported.input_shape, exported.outputs) == ("SqueezeNet", (3, 64, 64), 6)
    assert exported.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert left(tmp_path) == sorted(path.name for path in exported.files)
    assert exported.notes["preparation"] == "not known"


def test_the_command_prints_one_screen_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def convbench(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["convbench", "export", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    code, shown, _ = convbench("lenet5", "--to", "torch")
    assert (code, left(tmp_path)) == (0, ["lenet5.pt2"])
    assert shown.startswith("wrote lenet5.pt2, ")
    assert "untrained" in shown
    assert len(shown.splitlines()) < 24
    code, _, errors = convbench("lenet5", "--to", "torch")
    assert (code, errors) == (2, "convbench: lenet5.pt2 is already there: name another file, or delete it\n")
    code, shown, _ = convbench("lenet5", "--to", "torch", "--out", "new/other.pt2", "--json")
    said = json.loads(shown)
    assert (said["files"], said["input_shape"], said["check"]["n"]) == (["new/other.pt2"], [1, 32, 32], 16)


Writer = Callable[[nn.Module, Any, Path, Mapping[str, str], Tensor | None], None]


def swapped(net: nn.Module) -> nn.Module:
    """A copy of `net` with the first two of its classes exchanged."""
    other = copy.deepcopy(net)
    *_, last = (module for module in other.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    assert last.bias is not None
    with torch.no_grad():
        for parameter in (last.weight, last.bias):
            parameter[:2] = parameter[:2].flip(0)
    return other


def without_relu(net: nn.Module) -> nn.Module:
    """A copy of `net` without its last ReLU."""
    other = copy.deepcopy(net)
    *_, name = (name for name, module in other.named_modules() if isinstance(module, nn.ReLU))
    other.set_submodule(name, nn.Identity())
    return other


def not_a_number(net: nn.Module) -> nn.Module:
    other = copy.deepcopy(net)
    with torch.no_grad():
        next(other.parameters())[0] = torch.nan
    return other


@pytest.mark.parametrize(
    ("to", "sabotage"),
    [("onnx", swapped), ("openvino", swapped), ("torch", swapped), ("openvino", without_relu), ("torch", not_a_number)],
)
def test_a_file_that_answers_otherwise_is_not_written(
    to: str, sabotage: Callable[[nn.Module], nn.Module], net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Writer = FORMATS[to].write
    broken = replace(FORMATS[to], write=lambda net, *rest: write(sabotage(net), *rest))
    monkeypatch.setitem(FORMATS, to, broken)
    with pytest.raises(ConvbenchError, match=f"^{FORMATS[to].title} does not answer as MobileNetV1 does: "):
        export(net, to, tmp_path / f"net{SUFFIX[to]}", image_size=40)
    assert left(tmp_path) == []


def test_int8_that_answers_otherwise_is_refused(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = copy.deepcopy(net)
    *_, last = (module for module in sure.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    with torch.no_grad():
        last.weight *= 100  # of its answers, so that fp32 itself expects others to be wrong
    broken = to_openvino(swapped(without_relu(sure)), (2, 3, 40, 40), any_batch=True)
    monkeypatch.setattr("convbench.timing.export.quantise", lambda model, calibration: broken)
    with pytest.raises(ConvbenchError, match=r"MobileNetV1 in int8 is refused: .* found [\d.]+ on 64 images"):
        export(sure, "openvino", tmp_path / "net.xml", image_size=40, int8=True)
    assert left(tmp_path) == []


def test_a_file_of_one_batch_size_is_not_written(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(net: nn.Module, shape: tuple[int, ...], path: Path, *_: Any) -> None:
        torch.export.save(torch.export.export(net, (torch.zeros(shape),)), path)

    monkeypatch.setitem(FORMATS, "torch", replace(FORMATS["torch"], write=write))
    with pytest.raises(ConvbenchError, match=r"^torch cannot run what was written: "):
        export(net, "torch", tmp_path / "net.pt2", image_size=40)
    assert left(tmp_path) == []


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A limit that the system puts on the size of files: what is written beyond it fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing(to: str, net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(ConvbenchError, match=f"^cannot (write|convert MobileNetV1 to) {FORMATS[to].title}: "):
        export(net, to, tmp_path / f"net{SUFFIX[to]}", image_size=40)
    assert left(tmp_path) == []


def test_where_the_second_file_cannot_be_moved_the_first_goes(
    net: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def fails_for_xml(self: Path, target: Path) -> Path:
        if self.suffix == ".xml":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fails_for_xml)
    with pytest.raises(ConvbenchError, match="No space left on device; nothing was left there"):
        export(net, "openvino", tmp_path / "net.xml", image_size=40)
    assert left(tmp_path) == []


@pytest.mark.parametrize("there", ["net.xml", "net.bin"])
def test_a_file_that_is_there_stays(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(RequestError, match=f"{there} is already there"):
        export("lenet5", "openvino", tmp_path / "net.xml")
    assert left(tmp_path) == [there]
    assert (tmp_path / there).read_text() == "mine"


class TwoAnswers(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": "lenet5", "to": "onx"}, "unknown format 'onx': nearest is onnx"),
        ({"network": "lenet6", "to": "torch"}, "unknown network 'lenet6'"),
        ({"network": "lenet5", "to": "torch", "out": Path("net.onnx")}, r"net.onnx: expected .* to end in .pt2"),
        ({"network": "lenet5", "to": "onnx", "int8": True}, "expected the format openvino, found onnx"),
        ({"network": "lenet5", "to": "openvino", "data": "mnist"}, "expected int8 to be asked for beside data"),
        ({"network": "torchvision.models:alexnet", "to": "torch", "weights": Path("x")}, "by name, found torchvision"),
        ({"network": nn.Linear(3, 2), "to": "torch"}, r"Linear cannot read 3x224x224 images: mat1 and mat2"),
        ({"network": TwoAnswers(), "to": "torch"}, "TwoAnswers: expected scores, one row an image, found tuple"),
        (
            {"network": nn.Conv2d(3, 2, 1), "to": "torch"},
            r"expected scores, one row an image, found \(1, 2, 224, 224\)",
        ),
    ],
)
def test_wrong_requests(arguments: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=says):
        export(**arguments)
    assert left(tmp_path) == []


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match=r"ONNX needs onnxruntime: pip install 'convbench\[engines\]'"):
        export("lenet5", "onnx", tmp_path / "net.onnx")


def test_every_format_says_how_it_is_loaded() -> None:
    assert list(LOADING) == list(FORMATS)


def test_preparation_in_words() -> None:
    every = Preprocessing(
        deslant=True, crop=24, size=28, pad=2, low=-0.1, high=1.175, shorter=32, mean=(0.5,), std=(0.25,)
    )
    assert in_words(every, 1) == (
        "grey; sheared until the ink stands upright; shorter side to 32 pixels, bilinear, antialiased; central 24x24; "
        "resampled to 28x28, bilinear, antialiased; 2 pixels of background (0) on each side; 0..255 to -0.1..1.175; "
        "less (0.5); over (0.25)"
    )
    assert in_words(Preprocessing(bgr=True), 3) == "BGR; 0..255 to 0..1"


@pytest.mark.realdata
@pytest.mark.slow
def test_int8_is_judged_on_other_images_than_it_was_calibrated_on(
    real_data: Path, real_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, data = real_weights / "mobilenet_v1_0.25_224_keras_imagenet.npz", str(real_data / "imagenet-val")
    exported = export("mobilenet_v1_025", "openvino", tmp_path / "net.xml", weights=weights, int8=True, data=data)
    assert isinstance(exported, Exported)
    said = exported.to_dict()
    assert (said["precision"], said["check"]["n"]) == ("int8", 400)
    assert said["check"]["loss"] <= 1
    assert said["bytes"] < 1_000_000  # 470,000 weights
    print_export(said)
    assert "points of top-1 lost" in capsys.readouterr().out
    other = tmp_path / "other.xml"
    with pytest.raises(RequestError, match="cifar10 judges networks of its 10 classes, found 1000 classes"):
        export("mobilenet_v1_025", "openvino", other, weights=weights, int8=True, data="cifar10", data_dir=real_data)
