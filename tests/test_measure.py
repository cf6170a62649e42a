"""Measuring: checked before timed, failed and missing engines said, paired ratios, plain values, what is printed."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

import convbench as cb
from convbench.bench import measure as measuring
from convbench.bench.measure import measure, measure_networks
from convbench.errors import ConvbenchError, RequestError
from convbench.processor import has_bf16_products
from convbench.report.measurements import conclude, disturbances, explain, print_measurements
from convbench.timing.clock import time_side_by_side
from convbench.timing.engines import ENGINES
from convbench.timing.layers import layer_of, time_layers, time_modules
from convbench.timing.machine import Limits

LIMITS = Limits(matrix_fp32=100, matrix_bf16=200, matrix_int8=400, copy_gib_per_s=10, cache_gib_per_s=50)


@dataclass(frozen=True)
class FakeEngine:
    """An engine that answers as eager does, `off` added to the first score; or that is not there, or breaks."""

    name: str
    off: float = 0.0
    absent: str | None = None
    broken: str | None = None
    precision: str = "fp32"

    def missing(self) -> str | None:
        return self.absent

    def prepare(self, net: nn.Module, example: Tensor, calibration: Tensor | None) -> Any:
        if self.broken is not None:
            raise ConvbenchError(self.broken)
        eager = ENGINES["eager"].prepare(net, example, calibration)

        def session(images: Tensor) -> Tensor:
            scores = eager(images).clone()
            scores[:, 0] += self.off
            return scores

        return session


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known limits, and a clock that moves a millisecond whenever it is read: every call takes one."""
    ticks = count()
    clock = partial(time_side_by_side, clock=lambda: next(ticks) / 1000)
    monkeypatch.setattr(measuring, "time_side_by_side", clock)
    monkeypatch.setattr(measuring, "measure_limits", lambda: LIMITS)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = [
        FakeEngine("faithful"),
        FakeEngine("wrong", off=100.0),
        FakeEngine("absent", absent="it is not installed"),
        FakeEngine("broken", broken="no kernel for tanh"),
    ]
    for fake in fakes:
        monkeypatch.setitem(ENGINES, fake.name, fake)  # type: ignore[arg-type]


@pytest.mark.usefixtures("engines")
def test_an_engine_is_timed_only_when_it_answers_as_eager_does() -> None:
    names = ["eager", "faithful", "wrong", "absent", "broken"]
    results = measure_networks(["lenet5"], engines=names, batch_sizes=(1, 3), seconds=0.05).results
    assert [(one.engine, one.batch_size) for one in results] == [(name, size) for size in (1, 3) for name in names]
    for one in results:
        timed = one.engine in ("eager", "faithful")
        assert (
            (one.latency_ms is not None) == (one.ratio_to_eager is not None) == (one.images_per_s is not None) == timed
        )
    _, faithful, wrong, absent, broken = results[:5]
    assert faithful.fidelity is not None
    assert faithful.fidelity.top1_agreement == 100
    assert (wrong.status, absent.status, broken.status) == ("failed", "missing", "failed")
    assert wrong.fidelity is not None
    assert not wrong.fidelity.passed
    assert wrong.reason == wrong.fidelity.why
    assert (absent.reason, broken.reason) == ("it is not installed", "no kernel for tanh")


def test_int8_is_left_out_where_its_answers_cannot_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Initial weights are all alike to int8: it is measured only where somebody asks for it."""
    for name in set(ENGINES) - {"eager", "openvino-int8"}:
        monkeypatch.delitem(ENGINES, name)
    _, by_default = measure_networks(["lenet5"], seconds=0.05).results
    assert (by_default.engine, by_default.status, by_default.latency_ms) == ("openvino-int8", "missing", None)
    assert "trained weights" in by_default.reason
    _, asked_for = measure_networks(["lenet5"], engines=["eager", "openvino-int8"], seconds=0.05).results
    assert asked_for.status != "missing"


def test_one_network_by_one_engine_reads_as_a_line() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    result = cb.measure(net, (2, 3, 16, 16), engine="eager", seconds=0.05)
    assert result.latency_ms is not None
    assert result.latency_ms.p50 == pytest.approx(1)
    assert result.images_per_s == pytest.approx(2000)
    assert (result.network, result.batch_size, result.input_shape) == ("Sequential", 2, (3, 16, 16))
    assert result.roofline is not None
    flops = 2 * (2 * 4 * 14 * 14 * 27 + 2 * 4 * 5)
    assert result.roofline.attained_gflops == pytest.approx(flops / 1e6)


@pytest.mark.usefixtures("engines")
def test_one_engine_that_cannot_be_had_is_an_error() -> None:
    for name, error, message in (
        ("absent", RequestError, "engine absent is missing here: it is not installed"),
        ("broken", ConvbenchError, "engine broken failed with lenet5: no kernel for tanh"),
        ("wrong", ConvbenchError, "engine wrong failed with lenet5"),
    ):
        with pytest.raises(error, match=message):
            measure("lenet5", engine=name, seconds=0.05)


@pytest.mark.usefixtures("engines")
def test_auto_measures_the_engine_that_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def choose(net: nn.Module, images: Tensor, *, checked: Tensor) -> Any:
        asked.append((tuple(images.shape), tuple(checked.shape)))
        return SimpleNamespace(engine="faithful")

    monkeypatch.setattr(measuring, "choose", choose)
    result = measure("lenet5", (4, 1, 32, 32), seconds=0.05)
    assert (result.engine, result.status, asked) == ("faithful", "ok", [((4, 1, 32, 32), (32, 1, 32, 32))])


@pytest.mark.realdata
def test_a_trained_network_reads_photographs_as_its_weights_ask(real_weights: Path) -> None:
    weights = real_weights / "resnet20-12fca82f.th"
    measured = measure_networks(["resnet20"], engines=["eager", "bf16"], weights=weights, seconds=0.05)
    assert measured.subjects[0]["weights"] == weights.name
    eager, bf16 = measured.results
    assert (eager.status, bf16.status) == ("ok", "ok" if has_bf16_products() else "missing")
    for result in measured.results:
        assert result.input_shape == (3, 32, 32)
        if result.status == "ok":
            assert result.fidelity is not None
            assert result.fidelity.top1_agreement >= 90
    with pytest.raises(RequestError, match=r"is for images of shape \(3, 32, 32\)"):
        measure_networks(["resnet20"], image_size=64, weights=weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engines": ["eagre"]}, "nearest is eager"),
        ({"batch_sizes": [0]}, "batch sizes of 1 image or more, found \\[0\\]"),
        ({"seconds": 0}, "more than 0 seconds"),
        ({"weights": Path("w.safetensors")}, "for one network by name, found lenet5, lenet1"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(arguments: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        measure_networks(["lenet5", "lenet1"], **arguments)


def test_a_module_needs_the_shape_of_its_images() -> None:
    with pytest.raises(RequestError, match="Linear: expected the shape of its images"):
        measure_networks([nn.Linear(3, 3)])


def test_the_network_and_the_random_numbers_are_left_as_they_were() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.Dropout()).train()
    before, state = [p.clone() for p in net.parameters()], torch.get_rng_state()
    measure_networks([net], (3, 8, 8), engines=["eager"], seconds=0.02)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert net.training
    assert torch.equal(state, torch.get_rng_state())


def test_plain_values_are_json_with_the_names_that_scripts_rely_on() -> None:
    measured = json.loads(json.dumps(measure_networks(["lenet5"], engines=["eager"], seconds=0.05).to_dict()))
    assert {"cpu", "cores", "limits", "load"} <= set(measured["machine"])
    (result,) = measured["results"]
    assert result["status"] == "ok"
    assert {"p50", "p95", "p99", "interval"} <= set(result["latency_ms"])
    assert set(result["ratio_to_eager"]) == {"value", "interval"}
    assert measured["networks"][0]["macs"] == cb.cost("lenet5").macs


def test_layers_are_timed_by_hooks_that_are_gone_afterwards() -> None:
    now = [0.0]

    class Takes(nn.Module):
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.seconds = seconds

        def forward(self, x: Tensor) -> Tensor:
            now[0] += self.seconds
            return x

    shared = Takes(0.25)
    net = nn.Sequential(Takes(1.0), nn.Sequential(shared, shared), Takes(2.0))
    took = time_modules(net, torch.zeros(1, 1), clock=lambda: now[0])
    assert took == {"0": 1.0, "1.0": 0.5, "2": 2.0}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_openvinos_nodes_are_named_after_our_layers() -> None:
    names = {"stem", "stages.0.conv", "stages.0"}
    assert layer_of("__module.stages.0.conv/aten::_convolution/Convolution,__module.stem/a", names) == "stages.0.conv"
    assert layer_of("Multiply_1,__module.stem/aten::relu/Relu", names) == "stem"
    assert layer_of("", names) == "(other)"


@pytest.mark.parametrize("name", ["openvino-fp32", "openvino-int8"])
def test_every_product_of_a_folded_network_keeps_its_name_in_openvino(name: str) -> None:
    pytest.importorskip("openvino")
    net = cb.build("resnet20")
    images = torch.rand(2, 3, 32, 32)
    took = time_layers(ENGINES[name], net, images, torch.rand(4, 3, 32, 32))
    products = {row.name for row in cb.cost("resnet20").rows if row.macs}
    assert products <= set(took)
    assert sum(took.values()) > took.get("(other)", 0) * 2


# What is printed, from values worked out by hand.


def result(network: str, engine: str, p50: float, eager: float, **changes: Any) -> dict[str, Any]:
    return {
        "network": network,
        "engine": engine,
        "batch_size": 1,
        "status": "ok",
        "reason": "",
        "fidelity": {"top1_agreement": 96.875, "n": 32},
        "latency_ms": {"p50": p50, "p95": 1.5 * p50, "warm": True, "drift": 0},
        "images_per_s": 1000 / p50,
        "peak_memory_mib": 123.4,
        "ratio_to_eager": {"value": eager / p50, "interval": [0.9 * eager / p50, 1.1 * eager / p50]},
        "roofline": {"percent": 71, "bound_by": "arithmetic", "memory_percent": 12, "percent_of_matrix": 68}
        | {"intensity": 120},
        "layers": [],
        **changes,
    }


def network(name: str, macs: float) -> dict[str, Any]:
    about = {"input_shape": [3, 224, 224], "weights": "initial", "params": 25_557_032, "product_layers": 54}
    return {"network": name, "macs": macs, **about}


@pytest.fixture
def measured() -> dict[str, Any]:
    memory_bound = {"percent": 33, "bound_by": "memory", "memory_percent": 72, "percent_of_matrix": 9, "intensity": 30}
    return {
        "machine": {
            "cpu": "A CPU",
            "cores": 2,
            "memory_gib": 16.0,
            "limits": {"matrix_fp32": 540.4, "matrix_bf16": 1071.0, "matrix_int8": None}
            | {"copy_gib_per_s": 44.0, "cache_gib_per_s": 287.0},
            "load": {"other": 1.0, "steal": 0.0, "stalled": 2.0, "mhz": (3000, 3000)},
        },
        "networks": [network("large", 4e9), network("small", 0.5e9)],
        "results": [
            result("large", "eager", 40.0, 40.0),
            result("large", "openvino-bf16", 10.0, 40.0),
            result("large", "compiled", 1, 1, status="failed", reason="its scores are off by 0.4"),
            result("large", "cuda", 1, 1, status="missing", reason="no CUDA device"),
            result("small", "eager", 20.0, 20.0, roofline=memory_bound),
            result("small", "openvino-bf16", 5.0, 20.0, roofline=memory_bound),
            result("small", "cuda", 1, 1, status="missing", reason="no CUDA device"),
        ],
    }


def printed(measured: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_measurements(measured, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [100, 80])
def test_the_first_screen_holds_the_answer(measured: dict[str, Any], width: int) -> None:
    text = printed(measured, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text
    assert len(lines) < 40
    rows = [line.split() for line in lines if line.startswith(("openvino-bf16 ", "eager "))]
    assert [row[0] for row in rows if row[1] != "is"] == ["openvino-bf16", "eager"] * 2  # the fastest first
    assert rows[1][3 + (width == 100) : 5 + (width == 100)] == ["4", "3.6-4.4"]
    assert "compiled failed: its scores are off by 0.4" in text
    assert text.count("no CUDA device") == 1


@pytest.mark.parametrize("width", [100, 80])
def test_layers_that_take_little_are_one_line(measured: dict[str, Any], width: int) -> None:
    placed = {"attained_gflops": 1234.0, "intensity": 56.0, "percent": 71.0, "bound_by": "memory"}
    shares = {"stages.0.residual.conv1.conv": 90.0, "a": 0.4, "b": 0.3, "fc": 9.3}
    measured["results"][1]["layers"] = [
        {"name": name, "kind": "Conv2d", "ms": share / 10, "share": share, "roofline": placed if share > 50 else None}
        for name, share in shares.items()
    ]
    lines = [line.split() for line in printed(measured, width).splitlines()]
    start = lines.index(["openvino-bf16,", "layer", "by", "layer"])
    first = ["stages.0.residual.conv1.conv", "9.000", "90.0", "1,234", "56", "71", "memory"]
    assert lines[start + 2] == first + ["Conv2d"] * (width == 100)
    assert [line[0] for line in lines[start + 3 : start + 5]] == ["fc", "2"]
    assert lines[start + 4] == ["2", "smaller", "ones", "0.070", "0.7"]


def test_the_conclusion_says_what_matters(measured: dict[str, Any]) -> None:
    assert conclude(measured["results"][:4]) == (
        "openvino-bf16 is fastest: 4.0 times eager, same answers on 31 of 32 photographs, "
        "71 % of what this machine can do"
    )
    assert conclude(measured["results"][:1]) == "eager is fastest, 71 % of what this machine can do"
    assert conclude(measured["results"][2:4]) == "no engine gives eager's answers"


def test_it_says_why_fewer_operations_take_longer_than_they_promise(measured: dict[str, Any]) -> None:
    said = explain(measured)
    assert said.startswith("Why small is only 2.0 times faster than large with 8.0 times fewer multiply-adds")
    assert "30 operations for each byte that it moves (large 120)" in said
    measured["results"][5]["latency_ms"]["p50"] = 15.0
    assert "small is 1.5 times slower than large" in explain(measured)
    for index, p50 in ((4, 5.0), (5, 1.25)):  # as the operations promise
        measured["results"][index]["latency_ms"]["p50"] = p50
    assert explain(measured) == ""


def test_what_disturbed_is_said_and_nothing_else(measured: dict[str, Any]) -> None:
    assert disturbances(measured) == []
    measured["machine"]["load"] |= {"other": 53.2, "stalled": 41.0}
    (line,) = disturbances(measured)
    assert line.startswith("The machine was 53 % busy with other work; ratios are paired and hold, milliseconds may be")
    assert line.endswith("up to 41 % too long, and limits too low.")
    measured["machine"]["load"] |= {"other": 30, "stalled": None, "steal": 20}
    (line,) = disturbances(measured)
    assert "(20 % outside of it)" in line
    assert "up to 60 % too long" in line  # of two cores


def test_throttling_and_drift_are_told_apart(measured: dict[str, Any]) -> None:
    done = [one for one in measured["results"] if one["status"] == "ok"]
    done[0]["latency_ms"] |= {"drift": 9.0, "warm": False}
    drifted, warming = disturbances(measured)
    assert drifted == "large by eager, batch of 1: drifted from the first third of its calls to the last."
    assert warming == "large by eager, batch of 1: still got faster when its warm-up ended."
    for one in done:
        one["latency_ms"] |= {"drift": 12.0, "warm": True}
    measured["machine"]["load"]["mhz"] = (3000, 2500)
    assert disturbances(measured) == [
        "The machine slowed down by 12 % while it was measured: its clock fell from 3,000 to 2,500 MHz."
    ]
