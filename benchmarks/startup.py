"""Seconds from typing `convbench --help` and `convbench models` to their end, as whole processes.

    python benchmarks/startup.py [--repeats 15]

Beside them `python -c pass` and `python -c "import torch"`, which say what is the interpreter's and what torch would
cost. They take turns; medians; one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from convbench.bench.store import describe_versions
from convbench.timing.machine import describe_machine

COMMANDS = {
    "convbench --help": [sys.executable, "-m", "convbench", "--help"],
    "convbench models": [sys.executable, "-m", "convbench", "models"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(parser.parse_args().repeats + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - started)
    medians = {name: round(statistics.median(values[1:]), 3) for name, values in seconds.items()}  # the first warms up
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "median_s": medians,
                "machine": describe_machine(),
                "versions": describe_versions(),
            }
        )
    )


if __name__ == "__main__":
    main()
