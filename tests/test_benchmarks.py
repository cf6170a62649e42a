"""Benchmarks that use what the package keeps to itself still run."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from small_trainings import digits, recipe_with


@pytest.mark.parametrize("contestant", ["ours", "usual"])
def test_the_training_benchmark_takes_steps(
    contestant: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "training.py"
    spec = importlib.util.spec_from_file_location("training_benchmark", script)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    small = recipe_with(network="lenet5_relu", loss="cross_entropy"), digits(40)
    monkeypatch.setattr(benchmark, "recipe_and_data", lambda *_: small)
    monkeypatch.setattr("sys.stdin", ["0.001\n"])
    benchmark.serve(contestant, "lenet5_relu", None)
    ready, rate = capsys.readouterr().out.split()
    assert ready == "ready" and float(rate) > 0
