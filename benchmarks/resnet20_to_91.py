"""ResNet-20 on CIFAR-10, from nothing to 91 % of the test images right, with all that a user waits for.

    python benchmarks/resnet20_to_91.py [--seed 0] [--data-dir DIR]

Runs `convbench train resnet20-cifar10-cpu` as a process of its own and prints one JSON line. `minutes` are from the
process's start to its end: imports, reading the data, training, the test after each pass, and the last evaluation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from convbench.bench.store import describe_versions
from convbench.timing.machine import describe_machine

GOAL = 9.0  # percent wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir")
    wanted = parser.parse_args()
    where = ["--data-dir", wanted.data_dir] if wanted.data_dir else []
    with tempfile.TemporaryDirectory() as folder:
        out, began = Path(folder, "run"), time.perf_counter()
        train = [sys.executable, "-m", "convbench", "train", "resnet20-cifar10-cpu", "--seed", str(wanted.seed)]
        subprocess.run([*train, "--out", str(out), *where], check=True, stdout=subprocess.DEVNULL)
        minutes = (time.perf_counter() - began) / 60
        record = json.loads((out / "record.json").read_text())
        epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    result = {
        "benchmark": "resnet20_to_91",
        "seed": wanted.seed,
        "reached": record["result"]["top1_error"] <= GOAL,
        "top1_error": record["result"]["top1_error"],
        "interval": record["result"]["interval"],
        "minutes": round(minutes, 2),
        "passes": len(epochs),
        "images_per_s": round(sum(one["images_per_s"] for one in epochs) / len(epochs), 1),
        "data_wait": round(sum(one["data_wait"] for one in epochs) / len(epochs), 4),
        "choices": record["choices"],
        "threads": torch.get_num_threads(),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
