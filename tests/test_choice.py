"""engine="auto": the fastest faithful engine, remembered, and checked again each time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convbench.errors import ConvbenchError, RequestError
from convbench.models import build
from convbench.timing import choice
from convbench.timing.choice import choose
from convbench.timing.engines import ENGINES, Engine

ANSWERS: dict[str, Callable[[Tensor], Tensor]] = {  # what a made engine does to eager's answers
    "faithful": lambda scores: scores,
    "rounding": lambda scores: scores.bfloat16().float(),
    "negating": lambda scores: -scores,
    "negating-scores": lambda both: torch.cat([-both[:, :10], both[:, 10:]], 1),
    "exchanging": lambda scores: scores.roll(1, dims=1),
    "not-a-number": lambda scores: scores / 0,
}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return build("lenet5_relu").eval()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "engines.json"


class ScoresAndSums(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        scores = self.net(images)
        return torch.cat([scores, 1e6 * scores.square()], 1)


def made(name: str, *, precision: str = "fp32", slow_s: float = 0.0) -> Engine:
    """An engine that answers as ANSWERS says; at once, as its answers are made beforehand, unless it is slow."""

    def start(net: nn.Module, example: Tensor, calibration: Tensor | None) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            ready = ANSWERS[name](net(example))

        def run(images: Tensor) -> Tensor:
            time.sleep(slow_s)
            return ready

        return run

    return replace(ENGINES["eager"], name=name, precision=precision, make=start)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[str, Engine]:
    """Eager, slowed down, is all that is there, until a test adds more."""
    there = {"eager": replace(ENGINES["eager"], make=slowed(ENGINES["eager"], 0.01))}
    monkeypatch.setattr(choice, "ENGINES", there)
    monkeypatch.setattr(choice, "open_engine", there.__getitem__)
    monkeypatch.setattr(choice, "_candidates", lambda precision, calibration: list(there))
    return there


def slowed(engine: Engine, seconds: float) -> Callable[[nn.Module, Tensor, Tensor | None], Callable[[Tensor], Tensor]]:
    def start(net: nn.Module, example: Tensor, calibration: Tensor | None) -> Callable[[Tensor], Tensor]:
        session = engine.make(net, example, calibration)

        def run(images: Tensor) -> Tensor:
            time.sleep(seconds)
            return session(images)

        return run

    return start


class TestTheChoice:
    def test_is_the_fastest(self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]) -> None:
        engines["faithful"] = made("faithful")
        chosen = choose(net, images, memory=memory)
        assert chosen.engine == "faithful" and not chosen.remembered
        assert chosen.latency_ms["eager"] > 5 > chosen.latency_ms["faithful"]

    @pytest.mark.parametrize("wrong", ["negating", "exchanging", "not-a-number"])
    def test_is_none_that_answers_otherwise(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine], wrong: str
    ) -> None:
        engines[wrong] = made(wrong)
        chosen = choose(net, images, memory=memory)
        assert chosen.engine == "eager" and list(chosen.refused) == [wrong] and list(chosen.latency_ms) == ["eager"]
        with pytest.raises(ConvbenchError, match=wrong):
            choose(net, images, engine=wrong, memory=memory)

    def test_compares_scores_apart_from_what_is_far_larger(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]
    ) -> None:
        both = ScoresAndSums(net)
        engines["negating-scores"] = made("negating-scores")
        assert choose(both, images, memory=memory).engine == "negating-scores"  # little of all that there is
        with pytest.raises(ConvbenchError, match="negating-scores: its scores are off"):
            choose(both, images, engine="negating-scores", widths=(10, 10))
        engines["faithful"] = made("faithful")
        assert choose(both, images, engine="faithful", widths=(10, 10)).engine == "faithful"

    def test_allows_what_the_precision_allows(self, net: nn.Module, images: Tensor, engines: dict[str, Engine]) -> None:
        engines["rounding"] = made("rounding", precision="bf16")
        assert choose(net, images, engine="rounding").engine == "rounding"
        engines["rounding"] = made("rounding", precision="fp32")
        with pytest.raises(ConvbenchError, match="fp32"):
            choose(net, images, engine="rounding")

    def test_is_remembered(self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]) -> None:
        engines["faithful"], engines["rounding"] = made("faithful"), made("rounding", precision="bf16", slow_s=0.02)
        tried: list[str] = []
        first = choose(net, images, memory=memory, say=tried.append)
        assert tried == ["faithful", "rounding", "timing"]
        tried.clear()
        again = choose(net, images, memory=memory, say=tried.append)
        assert again.remembered and again.engine == first.engine == "faithful" and tried == ["faithful"]
        assert again.latency_ms == first.latency_ms
        with torch.no_grad():
            assert torch.equal(again(images), net(images))

    def test_is_compared_again_though_remembered(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]
    ) -> None:
        engines["faithful"] = made("faithful")
        assert choose(net, images, memory=memory).engine == "faithful"
        engines["faithful"] = replace(made("negating"), name="faithful")
        chosen = choose(net, images, memory=memory)
        assert chosen.engine == "eager" and not chosen.remembered and "faithful" in chosen.refused

    def test_is_made_anew_for_another_batch_network_or_precision(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]
    ) -> None:
        choose(net, images, memory=memory)
        other = build("lenet5_relu", num_classes=7)
        for subject, batch in ((net, images[:1]), (other, images)):
            assert not choose(subject, batch, memory=memory).remembered
        assert choose(net, images, memory=memory).remembered and len(json.loads(memory.read_text())) == 3

    def test_is_eager_where_little_is_to_come(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]
    ) -> None:
        engines["faithful"] = made("faithful")
        tried: list[str] = []
        assert choose(net, images, batches=3, memory=memory, say=tried.append).engine == "eager"
        assert not tried and not memory.exists()
        assert choose(net, images, batches=10_000_000, memory=memory).engine == "faithful"

    def test_is_eager_where_few_batches_are_to_come_and_nothing_is_remembered(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(choice, "WORTH_S", 0)
        engines["faithful"] = made("faithful")
        few = choice.WORTH_BATCHES - 1
        assert choose(net, images, batches=few, memory=memory).engine == "eager"
        assert choose(net, images, batches=few + 1, memory=memory).engine == "faithful"
        assert choose(net, images, batches=few, memory=memory).engine == "faithful"

    def test_takes_little_of_the_work(
        self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]
    ) -> None:
        """A slow engine is called once to be checked and twice to be compared."""
        calls: list[str] = []

        def counted(name: str) -> Engine:
            make = slowed(ENGINES["eager"], 0.6)

            def start(*given: Any) -> Callable[[Tensor], Tensor]:
                session = make(*given)

                def run(images: Tensor) -> Tensor:
                    calls.append(name)
                    return session(images)

                return run

            return replace(ENGINES["eager"], name=name, make=start)

        for name in ("one", "two"):
            engines[name] = counted(name)
        choose(net, images, memory=memory)
        assert calls.count("one") == calls.count("two") == 3

    def test_fills_the_last_batch(self, net: nn.Module, images: Tensor) -> None:
        chosen = choose(net, images, engine="channels-last")
        with torch.no_grad():
            for n in (1, 3, 4):
                torch.testing.assert_close(chosen(images[:n]), net(images[:n]))

    def test_leaves_the_network_alone(self, net: nn.Module, images: Tensor) -> None:
        net.train()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        choose(net, images, engine="channels-last")
        assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class TestRequests:
    def test_that_are_wrong(self, net: nn.Module, images: Tensor) -> None:
        with pytest.raises(RequestError, match="unknown precision 'fp16'"):
            choose(net, images, precision="fp16")
        with pytest.raises(RequestError, match="openvino-fp32"):
            choose(net, images, engine="openvino-fp23")

    def test_an_engine_that_is_missing(self, net: nn.Module, images: Tensor, engines: dict[str, Engine]) -> None:
        engines["absent"] = replace(made("faithful"), name="absent", missing=lambda: "no such device")
        with pytest.raises(RequestError, match="absent is missing here: no such device"):
            choose(net, images, engine="absent")

    def test_a_damaged_memory(self, net: nn.Module, images: Tensor, memory: Path, engines: dict[str, Engine]) -> None:
        memory.parent.mkdir()
        memory.write_text('{"half a')
        with pytest.raises(RequestError, match="delete it"):
            choose(net, images, memory=memory)
        assert memory.read_text() == '{"half a'


def test_int8_is_a_candidate_only_with_images_to_calibrate_on(images: Tensor) -> None:
    precisions = {"fp32": {"fp32"}, "bf16": {"fp32", "bf16"}, "int8": {"fp32", "bf16"}}
    for precision, expected in precisions.items():
        assert {ENGINES[name].precision for name in choice._candidates(precision, None)} == expected
    assert "openvino-int8" in choice._candidates("int8", images)
