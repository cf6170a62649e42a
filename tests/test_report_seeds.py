"""Runs from several seeds: which belong together, the band over them, what the suite's statements say of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from convbench.bench.runner import describe_suite
from convbench.bench.suite import open_suite
from convbench.claims import read_trials
from convbench.report.findings import seed_findings
from convbench.report.html import write_report
from convbench.report.records import Run, read_suites
from convbench.report.seed_charts import curve_domain, curve_with_band, where_seeds_ended
from convbench.report.seeds import band, methods, middle_runs, title_of
from test_report import Tags, record, save

CURVES = {"plain-20": ([60.0, 40.0], [50.0, 30.0], [70.0, 20.0]), "plain-56": ([90.0, 80.0], [80.0, 75.0])}


def save_curve(runs: Path, name: str, curve: list[float], **changes: Any) -> None:
    made = record(name, round(10 * curve[-1]), title=name.partition("-seed-")[0], **changes)
    folder = save(runs, made, metrics=False)
    other = {"loss": 0.3, "lr": 0.1, "train_error": None, "seconds": 1.0, "images_per_s": 9.0}
    lines = [json.dumps({"epoch": number, "test_error": error, **other}) for number, error in enumerate(curve, 1)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of one method, two of another, one of a third, and a run that has no seed in its name."""
    folder = tmp_path_factory.mktemp("runs")
    for method, curves in CURVES.items():
        for seed, curve in enumerate(curves):
            save_curve(folder, f"{method}-seed-{seed}", curve)
    save_curve(folder, "lonely-seed-0", [95.0, 85.0])
    save_curve(folder, "alone", [10.0, 5.0])
    decision = {"says": "Deep <b>plain</b> networks are worse", "metric": "top1_error", "verdict": "holds"}
    decision |= {"better": [40.0, 30.0, 20.0], "worse": [80.0, 75.0], "difference": 47.5, "low": None, "high": 70.0}
    (folder / "made" / "suite.json").write_text(json.dumps({"title": "Seeds", "decisions": [decision]}))
    return folder


@pytest.fixture
def done(runs: Path) -> tuple[Run, ...]:
    return read_suites(runs)[0].done


def test_runs_of_a_method_belong_together(done: tuple[Run, ...]) -> None:
    found = methods(done)
    assert [(one.name, len(one.runs)) for one in found] == [("plain-20", 3), ("plain-56", 2)]
    assert found[0].errors == (40.0, 30.0, 20.0), "by seed"
    assert [run.name for run in middle_runs(done)] == ["alone", "plain-20-seed-1", "plain-56-seed-1", "lonely-seed-0"]
    assert title_of(found[0].runs[2]) == "plain-20, seed 2"
    said = " ".join(seed_findings(found)).replace("\u00a0", " ")
    assert said == "plain-20 makes the fewest errors over its seeds: 30.00 % on the mean of 3, from 20.00 to 40.00."


def test_the_band_is_the_lowest_to_the_highest_around_the_mean(done: tuple[Run, ...]) -> None:
    first, second = methods(done)
    assert [(at.epoch, at.mean, at.low, at.high) for at in band(first)] == [
        (1, 60.0, 50.0, 70.0),
        (2, 30.0, 20.0, 40.0),
    ]
    domain = curve_domain([first, second])
    assert domain == (pytest.approx(20 / 1.15), pytest.approx(90 * 1.15))
    drawn = curve_with_band([first, second], first, domain)
    areas = re.findall(r'<path[^>]* d="(M[^"]*Z)"[^>]*fill="var\(--network\)"', drawn)
    assert len(areas) == 1, "one band"
    heights = [float(y) for y in re.findall(r"[ML][\d.]+,([\d.]+)", areas[0])]
    high = float(domain[1])

    def pixel(error: float) -> float:
        from math import log

        return 170 * log(high / error) / log(high / domain[0])

    assert sorted(heights) == pytest.approx(sorted(pixel(error) for error in (50, 70, 20, 40)), abs=0.1)


def test_epochs_that_not_all_seeds_have_are_left_out(tmp_path: Path) -> None:
    save_curve(tmp_path, "a-seed-0", [60.0, 40.0, 30.0])
    save_curve(tmp_path, "a-seed-1", [50.0, 30.0])
    (method,) = methods(read_suites(tmp_path)[0].done)
    assert [at.epoch for at in band(method)] == [1, 2]


@pytest.mark.parametrize("wide", [True, False])
def test_every_seeds_end_is_a_point(done: tuple[Run, ...], wide: bool) -> None:
    drawn = where_seeds_ended(methods(done), wide=wide)
    assert len(re.findall(r'<path[^>]*fill="var\(--network\)"', drawn)) == 5
    assert "plain-20" in drawn and "plain-56" in drawn


def test_the_page_on_several_seeds(runs: Path, tmp_path: Path) -> None:
    page = write_report(runs, tmp_path / "page.html").read_text()
    text = " ".join(Tags(page).text.split())
    assert "4 methods, trained on" in text
    assert "the run with the middle error" in text
    assert "the band reaches from the lowest to the highest of them" in text
    assert "plain-20 – 30.00 20.00 40.00 3 seed 0 , seed 1 , seed 2" in text
    assert "Deep <b>plain</b> networks are worse holds 30.00 77.50 +47.50 –∞ to +70.00 2" in text
    assert "plain-56, seed 0" in text
    assert page.count("<h3>plain-20</h3>") == 1, "a panel a method"


def test_what_kept_trials_decide_stands_in_suite_json(tmp_path: Path) -> None:
    (trial,) = [one for one in read_trials() if one.suite == "resnet-depth"]
    _, suite = open_suite("resnet-depth")
    about = describe_suite(suite, trial)
    assert about["runs"][:2] == ["plain-20-seed-0", "plain-56-seed-0"]
    folder = tmp_path / "resnet-depth"
    (folder / "plain-20-seed-0").mkdir(parents=True)
    (folder / "suite.json").write_text(json.dumps(about))
    (read,) = read_suites(tmp_path)
    assert [one.verdict for one in read.decisions] == [one.verdict for one in trial.decisions]
    assert mean(read.decisions[0].better) == pytest.approx(mean(one.top1_error for one in trial.runs["plain-20"]))
