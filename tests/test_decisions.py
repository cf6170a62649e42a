"""What seeds decide: intervals beside scipy's own formula by hand, verdicts, and a real suite of several seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from convbench.bench.execute import resolve_recipe
from convbench.bench.runner import run_suite
from convbench.bench.suite import open_suite
from convbench.bench.trial import make_trial
from convbench.claims.ledger import read_claims
from convbench.claims.trials import Statement, Trial, TrialRun, compare, measured, read_trials
from convbench.cli import app
from convbench.errors import RequestError
from convbench.report.claims_listing import print_trials
from convbench.report.trials import write_trial_picture
from convbench.schema import packaged, parse
from convbench.training.recipe import parse_recipe

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
FULL = """
[full]
data = "digits"
runs = [
  {{ name = "wide", title = "wide", recipe = "{recipe}", settings = {{ epochs = 3 }} }},
  {{ name = "untaught", title = "untaught", recipe = "{recipe}", settings = {{ "optimiser.lr" = 1e-9, epochs = 3 }} }},
]
[[full.statements]]
says = "Learning helps more"
better = "wide"
worse = "untaught"
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


def test_epochs_until_a_target() -> None:
    outcome = TrialRun(seed=0, top1_error=25.0, curve=(40.0, 20.0, 25.0), seconds=1.0, commit="")

    def until(target: float) -> float:
        return measured(outcome, Statement(says="", better="a", worse="b", metric="epochs", target=target))

    assert (until(20.0), until(10.0)) == (2, 4)
    assert measured(outcome, Statement(says="", better="a", worse="b")) == 25.0


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
    trial = make_trial("width", suite, tmp_path / "runs" / "width")
    assert trial is not None
    holds, fails, sooner = trial.decisions
    assert (holds.verdict, fails.verdict, sooner.verdict) == ("holds", "fails", "holds")
    assert holds.better == tuple(records[place]["result"]["top1_error"] for place in (0, 2))
    assert holds.difference == pytest.approx(-fails.difference)
    assert any(line.startswith("holds: Learning helps (") and line.endswith("2 seeds)") for line in said)
    written = json.loads((tmp_path / "runs/width/trial.json").read_text())
    assert parse(Trial, written, "trial") == trial
    assert [one.status for one in run_suite(suite_file, out=tmp_path / "runs")] == ["kept"] * 4
    (tmp_path / "runs/width/wide-seed-1/record.json").unlink()
    partly = make_trial("width", suite, tmp_path / "runs" / "width")
    assert partly is not None and set(partly.runs) == {"untaught"} and partly.decisions == ()


def test_the_full_tier_is_a_suite_of_its_own(tmp_path: Path) -> None:
    """In a folder of its own, so that both may stand side by side."""
    recipe, suite_file = tmp_path / "recipe.toml", tmp_path / "width.toml"
    recipe.write_text(RECIPE)
    suite_file.write_text((SUITE + FULL).format(recipe=recipe))
    outcomes = run_suite(suite_file, out=tmp_path, full=True)
    assert [
        len((tmp_path / "width-full" / one.name / "metrics.jsonl").read_text().splitlines()) for one in outcomes
    ] == [3] * 4
    (decision,) = parse(Trial, json.loads((tmp_path / "width-full/trial.json").read_text()), "trial").decisions
    assert (decision.suite, decision.says, decision.verdict) == ("width-full", "Learning helps more", "holds")
    suite_file.write_text(SUITE.format(recipe=recipe))
    with pytest.raises(RequestError, match=r"width: expected a table \[full\]"):
        run_suite(suite_file, out=tmp_path, full=True)
    suite_file.write_text((SUITE + FULL.replace('worse = "untaught"', 'worse = "wise"')).format(recipe=recipe))
    with pytest.raises(RequestError, match="wise"):
        open_suite(suite_file)


def test_a_statement_names_runs_of_the_suite(tmp_path: Path) -> None:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE.format(recipe="mlp").replace('better = "wide"', 'better = "wise"', 1))
    with pytest.raises(RequestError, match=r"'Learning helps'.*wise"):
        open_suite(path)


@pytest.mark.parametrize("trial", read_trials(), ids=lambda trial: trial.suite)
def test_a_kept_trial_is_of_its_suite_as_it_stands(trial: Trial) -> None:
    name, suite = open_suite(trial.suite)
    assert (trial.statements, trial.cut, trial.title) == (suite.statements, suite.cut, suite.title)
    assert set(trial.runs) == {run.name for run in suite.runs} and len(trial.decisions) == len(suite.statements)
    for run in suite.runs:
        assert [outcome.seed for outcome in trial.runs[run.name]] == list(range(suite.seeds))
        kept, now = parse_recipe(trial.recipes[run.name]), resolve_recipe(suite, run)
        assert now is not None
        # Its description is of the packaged recipe, of which the suite changes what it says.
        assert replace(kept, description=now.description) == now, f"{name}: {run.name}"
        for outcome in trial.runs[run.name]:
            assert outcome.curve[-1] == pytest.approx(outcome.top1_error, abs=0.5), "scored in fp32, judged in bf16"


def test_every_statement_names_a_claim_of_the_deck_but_those_of_which_it_says_nothing() -> None:
    claims, without = {claim.id for claim in read_claims()}, list[str]()
    for name in packaged("suites"):
        _, suite = open_suite(name)
        assert {one.claim for one in suite.statements} <= {*claims, ""}, name
        without += [name for one in suite.statements if not one.claim]
    assert without == ["batchnorm"] * 4


def test_trials_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    print_trials(read_trials(), Console(width=1000, color_system=None))
    said = capsys.readouterr().out
    for trial in read_trials():
        assert trial.title in said
        for one in trial.decisions:
            claim = f"deck: {one.claim}" if trial.suite != "batchnorm" else "the deck says nothing of it"
            assert f"{one.says} ({claim})" in said


def test_claims_in_json_carry_the_decisions_on_them() -> None:
    done = CliRunner().invoke(app, ["claims", "--slide", "ResNet (1/2)", "--json"])
    assert done.exit_code == 0, done.output
    found = {one["id"]: one["trials"] for one in json.loads(done.stdout)}
    (trial,) = (one for one in read_trials() if one.suite == "resnet-depth")
    assert found.pop("resnet-vanishing") == json.loads(json.dumps([one.to_dict() for one in trial.decisions]))
    assert found and not any(found.values()), "no training here speaks to the others"


def test_each_trial_has_its_picture(tmp_path: Path) -> None:
    for trial in read_trials():
        with Image.open(write_trial_picture(trial, tmp_path / f"{trial.suite}.png")) as picture:
            assert picture.width > 1000 and len(picture.convert("RGB").getcolors(2**24) or ()) > 10


def test_the_document_says_what_the_trials_do() -> None:
    text = (Path(__file__).parents[1] / "docs/trials.md").read_text()
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines() if row.startswith("| ")]
    told = {row[0]: row[1:] for row in rows if row[0] not in ("statement", "---")}
    decisions = [one for trial in read_trials() for one in trial.decisions]
    assert set(told) == {one.says for one in decisions}
    for one in decisions:
        unit = "passes" if one.metric == "epochs" else "points"
        means = [f"{sum(values) / len(values):.2f}" for values in (one.better, one.worse)]
        difference = f"{one.difference:+.2f} ({one.low:+.2f} to {one.high:+.2f}) {unit}"
        assert told[one.says] == [*means, difference, one.verdict]
    for trial in read_trials():
        assert f"trials/{trial.suite}.png" in text and trial.cut in text
        assert f"The runs took {trial.minutes:.0f} minutes in sum, two at a time" in text and trial.remark in text
