"""Every engine answers as torch does, leaves the network alone, and says why where it cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench import processor
from convbench.data.samples import sample_photographs
from convbench.errors import ConvbenchError, RequestError
from convbench.models import build
from convbench.timing import onnxruntime, openvino
from convbench.timing.conversion import to_openvino
from convbench.timing.engines import ENGINES, open_engine
from convbench.timing.fidelity import compare_outputs

FAMILIES = {  # one network of each, and the smallest image on which nothing degenerates
    "lenet5": 32,
    "alexnet": 227,
    "zfnet": 224,
    "vgg11": 64,
    "googlenet": 96,
    "inception_v2": 96,
    "inception_v3": 107,
    "inception_v4": 107,
    "xception": 96,
    "resnet50": 64,
    "resnext50_32x4d": 64,
    "pyramidnet110_a48": 32,
    "mobilenet_v1": 64,
}
PRESENT = [name for name, engine in ENGINES.items() if engine.missing() is None]


def small() -> nn.Module:
    """Whatever engines treat in a way of their own: normalisation, groups, two branches, rounding up, LRN, dropout."""
    torch.manual_seed(0)
    return Branches().train()


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.norm = nn.LocalResponseNorm(5, alpha=1e-2)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.left = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.right = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Sigmoid())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(16, 6))
        stem = self.stem[1]
        assert isinstance(stem, nn.BatchNorm2d)
        stem.running_mean, stem.running_var = torch.randn(16), torch.rand(16) + 0.5

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.norm(self.stem(images)))
        return self.head(self.left(x) + self.right(x))


def photographs(n: int, side: int, channels: int = 3) -> Tensor:
    return sample_photographs(n, channels, side) / 255 * 2 - 1


def answers(net: nn.Module, images: Tensor) -> Tensor:
    """torch's own, of a network that is put back into training mode."""
    with torch.inference_mode():
        scores: Tensor = net.eval()(images)
    net.train()
    return scores


@pytest.mark.parametrize("name", PRESENT)
def test_an_engine_answers_as_torch_and_leaves_the_network_alone(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    net, images = small(), photographs(8, 20)
    reference, before = answers(net, images), {key: value.clone() for key, value in net.state_dict().items()}
    session = ENGINES[name].prepare(net, images, photographs(32, 20))
    first = session(images)
    result = compare_outputs(reference, first, ENGINES[name].precision)
    assert result.passed, result
    assert (first.dtype, first.device.type) == (torch.float32, "cpu")
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(value.is_contiguous() and value.requires_grad for value in net.parameters())
    assert not any("forward" in vars(module) for module in net.modules())
    with torch.no_grad():
        for value in net.parameters():
            value.zero_()
    kept = first.clone()
    other = session(images.flip(0))
    assert torch.equal(first, kept), "a later call wrote into an earlier answer"
    assert torch.allclose(other.flip(0), first, atol=1e-4)
    assert capfd.readouterr().out == ""


def test_sessions_of_one_class_do_not_disturb_each_other() -> None:
    images = photographs(2, 20)
    nets = [small() for _ in range(3)]
    for number, net in enumerate(nets):
        net.head.append(nn.Hardtanh(-number - 1.0, number + 1.0))
    for name in ("eager", "openvino-fp32"):
        sessions = [ENGINES[name].prepare(net, images) for net in nets]
        for net, session in zip(nets, sessions, strict=True):
            assert torch.allclose(session(images), answers(net, images), atol=1e-5)


class TestPieces:
    """A batch goes through OpenVINO whole, or in pieces by a thread each; the answer is the same, in the same order."""

    def test_every_division_answers_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        net, images = small(), photographs(16, 20)
        found = openvino.divisions(openvino.graph(net, images, None, precision="fp32"), 16)
        assert [(piece.input().shape[0], pieces) for piece, pieces in found] == [(16, 1), (2, 8), (4, 4)]
        for piece, pieces in found:
            session = openvino.OpenVinoSession(piece, "fp32", pieces)
            assert len(session.requests) == pieces
            assert torch.allclose(session(images), answers(net, images), atol=1e-5)

    @pytest.mark.parametrize(("n", "sizes"), [(1, []), (3, []), (4, [2]), (6, [2]), (8, [2, 4]), (9, [])])
    def test_pieces_are_equal_and_give_each_thread_one(
        self, n: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = openvino.graph(small(), photographs(n, 20), None, precision="fp32")
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
        assert [piece.input().shape[0] for piece, _ in openvino.divisions(model, n)[1:]] == sizes
        monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
        assert [piece.input().shape[0] for piece, _ in openvino.divisions(model, n)[1:]] == [2] * (n in (6, 8))

    def test_a_module_that_fixes_its_batch_stays_whole(self) -> None:
        class Fixed(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return torch.reshape(images, (8, 1200)) * 2

        images = photographs(8, 20)
        assert len(openvino.divisions(openvino.graph(Fixed(), images, None, precision="fp32"), 8)) == 1
        session = openvino.prepare_openvino(Fixed(), images, None, precision="fp32")
        assert torch.allclose(session(images), images.reshape(8, -1) * 2)

    def test_the_fastest_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        called: list[float] = []

        def sleeper(seconds: float) -> Any:
            def session(images: Tensor) -> None:
                called.append(seconds)
                time.sleep(seconds)

            return session

        sessions = [sleeper(0.03), sleeper(0.001), sleeper(0.06)]
        monkeypatch.setattr(openvino, "TRIED_S", 0.0)
        assert openvino.fastest(sessions, torch.zeros(1)) is sessions[1]
        assert called == [0.03, 0.001, 0.06] * 2, "each warmed up, then timed at least once"
        assert openvino.fastest(sessions[2:], torch.zeros(1)) is sessions[2]


SLOW = {"inception_v3", "inception_v4", "xception", "pyramidnet110_a48", "googlenet", "resnet50", "resnext50_32x4d"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in FAMILIES])
def test_a_network_of_each_family_converts(name: str) -> None:
    torch.manual_seed(0)
    size = FAMILIES[name]
    net, channels = build(name, image_size=size), 1 if name == "lenet5" else 3
    images = photographs(2, size, channels)
    session = ENGINES["openvino-fp32"].prepare(net, images)
    result = compare_outputs(answers(net, images), session(images), "fp32")
    assert result.passed, result
    assert result.max_relative_error is not None
    assert result.max_relative_error < 1e-5


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v1"])
def test_onnx_takes_batches_of_any_size(name: str) -> None:
    net, size, channels = build(name, image_size=FAMILIES[name]), FAMILIES[name], 1 if name == "lenet5" else 3
    session = ENGINES["onnxruntime"].prepare(net, photographs(1, size, channels))
    images = photographs(3, size, channels)
    assert compare_outputs(answers(net, images), session(images), "fp32").passed


class Counted(nn.Module):
    """Its code takes the number of images for a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).reshape(len(images), -1)


@pytest.mark.parametrize("n", [1, 3])
def test_onnx_takes_the_batch_of_a_module_that_fixes_it(n: int) -> None:
    net, images = Counted().eval(), photographs(n, 16, 3)
    session = ENGINES["onnxruntime"].prepare(net, images)
    assert compare_outputs(answers(net, images), session(images), "fp32").passed


class Pooled(nn.Module):
    """Max pooling behind padding with minus infinity, as asymmetric SAME is written."""

    def __init__(self, pad: tuple[int, int, int, int], **settings: Any) -> None:
        super().__init__()
        self.pad, self.pool = pad, nn.MaxPool2d(**settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.pad(x, self.pad, value=-torch.inf)) if any(self.pad) else self.pool(x)


@pytest.mark.parametrize("side", [7, 8, 9, 12])
@pytest.mark.parametrize(
    ("pad", "settings"),
    [
        ((0, 0, 0, 0), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
        ((0, 0, 0, 0), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ((0, 0, 0, 0), {"kernel_size": 2, "stride": 3, "ceil_mode": True}),
        ((0, 1, 0, 1), {"kernel_size": 3, "stride": 2}),
        ((1, 1, 0, 1), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
        ((0, 0, 0, 0), {"kernel_size": 3, "dilation": 2}),
        ((0, 0, 0, 0), {"kernel_size": 3, "stride": 1}),
    ],
)
def test_pooling_is_torchs_whatever_it_is_rewritten_to(side: int, pad: Any, settings: dict[str, Any]) -> None:
    net, images = Pooled(pad, **settings), torch.randn(2, 3, side, side) - 5  # below zero, where zeros would win
    assert torch.equal(ENGINES["openvino-fp32"].prepare(net, images)(images), answers(net, images))


def test_pooling_loses_the_second_output_that_keeps_it_from_the_plain_kernel() -> None:
    kinds = [node.get_type_name() for node in to_openvino(Pooled((0, 1, 0, 1), kernel_size=3), (1, 3, 9, 9)).get_ops()]
    assert "Pad" not in kinds
    (pooling,) = [n for n in to_openvino(nn.MaxPool2d(2), (1, 3, 8, 8)).get_ops() if n.get_type_name() == "MaxPool"]
    assert len(pooling.outputs()) == 1


@pytest.mark.parametrize("k", [1.0, 1.7, 2.0])
@pytest.mark.parametrize("size", [3, 4, 5])
def test_local_response_normalisation_is_torchs(size: int, k: float) -> None:
    net, images = nn.LocalResponseNorm(size, alpha=0.3, beta=0.6, k=k), 3 * torch.randn(2, 7, 5, 5)
    session = ENGINES["openvino-fp32"].prepare(net, images)
    assert torch.allclose(session(images), net(images), atol=1e-5)


def test_local_response_normalisation_is_one_node_at_every_conversion_of_a_network() -> None:
    net = nn.Sequential(nn.LocalResponseNorm(5))
    for _ in range(2):
        assert "LRN" in {node.get_type_name() for node in to_openvino(net, (2, 7, 5, 5)).get_ops()}
    assert set(vars(net[0])) == set(vars(nn.LocalResponseNorm(5)))


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.eigvals(x).abs().flatten(1)


def test_what_cannot_be_run_is_one_line() -> None:
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(ConvbenchError, match=r"^Pair: expected one tensor of scores"):
        ENGINES["eager"].prepare(Pair(), images)
    with pytest.raises(ConvbenchError, match=r"^Branches cannot read 1x4x20x20 images: Given groups=1"):
        ENGINES["eager"].prepare(small(), torch.zeros(1, 4, 20, 20))
    with pytest.raises(ConvbenchError, match=r"^cannot convert Sorted to OpenVINO: .*aten::linalg_eigvals"):
        ENGINES["openvino-fp32"].prepare(Sorted(), images)
    with pytest.raises(RequestError, match="int8: expected images to calibrate with, found none"):
        ENGINES["openvino-int8"].prepare(small(), photographs(1, 20))
    with pytest.raises(RequestError, match=r"expected images \(n, channels, height, width\), found \(3, 8, 8\)"):
        ENGINES["eager"].prepare(small(), images[0])
    with pytest.raises(RequestError, match="nearest are openvino-bf16"):
        open_engine("openvino-bf61")


def test_an_engine_that_is_not_there_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_flags", lambda: {"avx2"})
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(openvino, "find_spec", lambda name: None)
    monkeypatch.setattr(onnxruntime, "find_spec", lambda name: None if name == "onnxscript" else object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    expected = {
        "bf16": "this processor has no bf16 products",
        "compiled": "torch.compile needs a C++ compiler, found no no-such-compiler",
        "onnxruntime": "onnxscript is not installed: pip install 'convbench[engines]'",
        "openvino-fp32": "OpenVINO is not installed: pip install 'convbench[engines]'",
        "cuda-bf16": "no CUDA device",
    }
    assert {name: ENGINES[name].missing() for name in expected} == expected
    assert ENGINES["eager"].missing() is ENGINES["channels-last"].missing() is None
    with pytest.raises(RequestError, match="engine bf16 is missing here: this processor has no bf16 products"):
        ENGINES["bf16"].prepare(small(), photographs(1, 20))


def test_openvino_says_where_the_processor_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldCore:
        def get_property(self, device: str, key: str) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "core", OldCore)
    assert ENGINES["openvino-bf16"].missing() == "this processor has no bf16 products"
    assert ENGINES["openvino-fp32"].missing() is None


def test_no_library_reports_to_its_makers() -> None:
    code = """
import socket
tried = []
def refuse(*address):
    tried.append(address)
    raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import torch
from torch import nn
from convbench.timing.engines import ENGINES
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
images = torch.rand(2, 3, 8, 8)
for name in ("openvino-fp32", "openvino-int8", "onnxruntime"):
    if ENGINES[name].missing() is None:
        ENGINES[name].prepare(net, images, images)(images)
print(tried)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_libraries_neither_report_to_their_makers_nor_complain(tmp_path: Path) -> None:
    """OpenVINO writes down an identity in the user's home and sends its events under it, as soon as it is imported."""
    script = "import convbench.timing.openvino as o; o.core(); import nncf, torch.utils.cpp_extension"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert list(tmp_path.iterdir()) == []
    assert (done.stdout, done.stderr) == ("", "")
