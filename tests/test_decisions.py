"""What seeds decide: intervals beside scipy's own formula by hand, verdicts, and a real suite of several seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from convbench.bench.decisions import compare, decide, epochs_to
from convbench.bench.runner import run_suite
from convbench.bench.suite import open_suite
from convbench.errors import RequestError

SUITE = """
title = "Width helps"
description = "Two widths of one network on digits."
data = "digits"
seeds = 2
[[runs]]
name = "wide"
title = "wide"
recipe = "{recipe}"
settings = {{ network = "mlp_300" }}
[[runs]]
name = "untaught"
title = "untaught"
recipe = "{recipe}"
settings = {{ network = "mlp_300", "optimiser.lr" = 1e-9 }}
[[statements]]
says = "Learning helps"
better = "wide"
worse = "untaught"
[[statements]]
says = "Not learning helps"
better = "untaught"
worse = "wide"
[[statements]]
says = "Learning gets there sooner"
better = "wide"
worse = "untaught"
metric = "epochs"
target = 20.0
"""
RECIPE = """
description = "a net"
network = "mlp_300"
data = "digits"
loss = "cross_entropy"
epochs = 2
batch_size = 20
optimiser = { name = "adamw", lr = 0.005 }
"""


def test_the_interval_is_welchs() -> None:
    first, second = (30.1, 31.5, 29.9), (28.0, 28.4, 27.1)
    difference, low, high = compare(first, second)
    variances = [(sum((x - sum(v) / 3) ** 2 for x in v) / 2) / 3 for v in (first, second)]
    freedom = sum(variances) ** 2 / sum(v**2 / 2 for v in variances)
    half = stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5
    assert difference == pytest.approx(30.5 - 27.8333333)
    assert (low, high) == pytest.approx((difference - half, difference + half))
    assert compare([3.0], [1.0]) == (2.0, float("-inf"), float("inf"))


def test_epochs_until_a_target(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "".join(json.dumps({"epoch": n, "test_error": e}) + "\n" for n, e in ((1, 40.0), (2, 20.0), (3, 25.0)))
    )
    assert (epochs_to(path, 20.0), epochs_to(path, 10.0)) == (2, 4)


def test_a_suite_of_seeds_decides(tmp_path: Path) -> None:
    recipe, suite_file = tmp_path / "recipe.toml", tmp_path / "width.toml"
    recipe.write_text(RECIPE)
    suite_file.write_text(SUITE.format(recipe=recipe))
    said: list[str] = []
    outcomes = run_suite(suite_file, out=tmp_path / "runs", say=said.append)
    assert [one.name for one in outcomes] == ["wide-seed-0", "untaught-seed-0", "wide-seed-1", "untaught-seed-1"]
    records = [one.record or {} for one in outcomes]
    assert [one["seed"] for one in records] == [0, 0, 1, 1]
    assert records[0]["result"]["top1_error"] != records[2]["result"]["top1_error"]
    _, suite = open_suite(suite_file)
    holds, fails, sooner = decide(suite, tmp_path / "runs" / "width")
    assert (holds.verdict, fails.verdict, sooner.verdict) == ("holds", "fails", "holds")
    assert holds.better == tuple(records[place]["result"]["top1_error"] for place in (0, 2))
    assert holds.difference == pytest.approx(-fails.difference)
    assert any(line.startswith("holds: Learning helps (") and line.endswith("2 seeds)") for line in said)
    assert [one.status for one in run_suite(suite_file, out=tmp_path / "runs")] == ["kept"] * 4
    (tmp_path / "runs/width/wide-seed-1/record.json").unlink()
    assert decide(suite, tmp_path / "runs" / "width") == []


def test_a_statement_names_runs_of_the_suite(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE.format(recipe="mlp").replace('better = "wide"', 'better = "wise"', 1))
    with pytest.raises(RequestError, match=r"'Learning helps'.*wise"):
        open_suite(path)
