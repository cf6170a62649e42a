"""A training that is killed at random moments, thirty times or more, beside one that nobody disturbs.

    python benchmarks/kills.py [--kills 30] [--seed 0]

Real `convbench train` processes get SIGKILL after a random time (or SIGTERM, which saves and leaves, a third of them),
and are started again with --resume; one training after the other, until there were enough kills.
Prints one JSON line; ends with 1 unless weights, scores and curve are the undisturbed ones, bit for bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from convbench.bench.store import describe_versions
from convbench.timing.machine import describe_machine

RECIPE = """
description = "crops, mirrored images, batch normalisation, momentum, running averages, lower precision"
network = "mobilenet_v1_025"
data = "digits"
loss = "cross_entropy"
epochs = 8
batch_size = 32
pieces = 2
precision = "bf16"
average = 0.99
channels_last = true
optimiser = { name = "sgd", lr = 0.05, momentum = 0.9, weight_decay = 1e-4 }
schedule = { name = "one_cycle" }
preprocessing = { size = 32 }
view = { crop = "pad", mirror = true }
"""


def command(recipe: Path, out: Path, resume: bool) -> list[str]:
    """One process of the training; it saves every half second."""
    start = [sys.executable, "-m", "convbench", "train", str(recipe), "--out", str(out), "--save-every", "0.5"]
    return [*start, "--resume"] if resume else start


def digest(out: Path) -> dict[str, Any]:
    """What must not depend on kills: weights, scores, and the curve without its times."""
    digests = {}
    for name in ("weights.safetensors", "scores.safetensors"):
        digest = hashlib.sha256()
        for key, tensor in sorted(load_file(out / name).items()):
            digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
        digests[name] = digest.hexdigest()
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    curve = [{key: one[key] for key in ("epoch", "loss", "lr", "train_error", "test_error")} for one in lines]
    return {**digests, "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, kills = random.Random(asked.seed), {"SIGKILL": 0, "SIGTERM": 0}
    with tempfile.TemporaryDirectory() as scratch:
        recipe, calm = Path(scratch, "recipe.toml"), Path(scratch, "calm")
        recipe.write_text(RECIPE)
        began = time.monotonic()
        subprocess.run(command(recipe, calm, False), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        alone = time.monotonic() - began
        rounds = 0
        while sum(kills.values()) < asked.kills:
            rounds += 1
            out = Path(scratch, f"disturbed-{rounds}")
            while not (out / "record.json").exists():
                state = out / "state.pt"
                process = subprocess.Popen(
                    command(recipe, out, state.exists()), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                )
                try:
                    _, errors = process.communicate(timeout=chance.uniform(1, 0.35 * alone))
                    assert process.returncode == 0, errors.decode()
                except subprocess.TimeoutExpired:
                    kind = signal.SIGTERM if chance.random() < 1 / 3 else signal.SIGKILL
                    process.send_signal(kind)
                    process.communicate()
                    kills[kind.name] += 1
                    print(f"{sum(kills.values())} kills, {rounds} trainings", file=sys.stderr)
            assert digest(out) == digest(calm), f"after {kills} the end differs: {out}"
    result = {
        "benchmark": "kills",
        "kills": kills,
        "trainings": rounds,
        "identical": True,
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
