"""A suite's folder of records, made into a trial: small enough to be kept with the program."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convbench.bench.store import RunFolder
from convbench.bench.suite import Suite, seeded_name
from convbench.claims.trials import Trial, TrialRun
from convbench.files import write_json

FILE = "trial.json"  # in the suite's folder


def make_trial(name: str, suite: Suite, root: Path) -> Trial | None:
    """Of the runs below `root` whose seeds are all done; None where there are none."""
    seeds = {
        run.name: [root / seeded_name(run.name, seed) for seed in range(suite.seeds)]
        if suite.seeds > 1
        else [root / run.name]
        for run in suite.runs
    }
    found = {run: [_done(folder) for folder in folders] for run, folders in seeds.items()}
    records = {run: [one for one in ones if one is not None] for run, ones in found.items() if None not in ones}
    if not records:
        return None
    newest = max((one for ones in records.values() for one in ones), key=lambda one: str(one["finished"]))
    return Trial(
        suite=name,
        title=suite.title,
        cut=suite.cut,
        statements=suite.statements,
        runs={run: tuple(map(_outcome, seeds[run], ones)) for run, ones in records.items()},
        recipes={run: ones[0]["recipe"] for run, ones in records.items()},
        data={split: newest["data"][split]["fingerprint"] for split in ("train", "test")},
        machine=newest["machine"],
        versions=newest["versions"],
    )


def write_trial(trial: Trial, root: Path) -> None:
    """Into the suite's folder."""
    write_json(root / FILE, asdict(trial))


def _done(folder: Path) -> dict[str, Any] | None:
    record = RunFolder(folder).read_record()
    return record if record is not None and record["status"] == "done" else None


def _outcome(folder: Path, record: dict[str, Any]) -> TrialRun:
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return TrialRun(
        seed=record["seed"],
        top1_error=record["result"]["top1_error"],
        curve=tuple(epoch["test_error"] for epoch in epochs),
        seconds=record["seconds"]["train"] + record["seconds"]["evaluate"],
        commit=record["commit"],
    )
