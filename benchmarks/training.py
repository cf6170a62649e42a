"""Training throughput: our loop beside the usual one, eager, in fp32, with contiguous tensors.

    python benchmarks/training.py [--networks resnet20 ...] [--rounds 8] [--seconds 6] [--data-dir DIR]

Prints one JSON line a network, and one of geometric means. Each contestant is a process of its own, as memory that a
process keeps would serve both; they take turns, round by round, each for as many whole steps as fit into `seconds`. A
ratio is ours over the usual one's images a second in the same round: above 1, ours is faster.

Both train the same network with SGD and momentum on batches of uint8 images in memory: CIFAR-10's, padded, cut and
mirrored, in batches of 128 for resnet20, and random ones of 256 pixels, of which 224 are seen, in batches of 32. Ours
is the whole loop, with its views and its look at the loss. The usual one gets batches that were prepared before, so
that only its forward pass, backward pass and step are timed.

Whether ours learns as much in as many epochs, `benchmarks/equal_accuracy.py` says.

`limit` is the share of this machine's bf16 limit, the fastest of some matrix products and 3x3 convolutions measured
before; operations are those of the forward and backward passes of convolutions and full layers.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convbench.bench.execute import build_for
from convbench.bench.store import describe_versions
from convbench.counting import trace
from convbench.counting.conventions import open_convention
from convbench.data import Dataset, open_dataset
from convbench.evaluation.source import prepared_shape
from convbench.timing.clock import median_interval
from convbench.timing.machine import describe_machine, measure_limits
from convbench.training.feed import MemoryFeed
from convbench.training.loop import Options, _Training
from convbench.training.memory import kept_memory
from convbench.training.recipe import Recipe, open_recipe
from convbench.training.task import Classification

NETWORKS = {"resnet20": 128, "resnet18": 32, "mobilenet_v1": 32, "alexnet": 32}  # name -> images in a batch
STEPS = 4  # of warming up


def recipe_and_data(network: str, data_dir: Path | None) -> tuple[Recipe, Dataset]:
    """What is trained, and on what."""
    if network == "resnet20":
        recipe = open_recipe("resnet20-cifar10-cpu", {"schedule.name": "constant", "optimiser.lr": 0.1})
        return recipe, open_dataset("cifar10", "train", data_dir=data_dir)
    settings = {
        "network": network,
        "stored": 256,
        "batch_size": NETWORKS[network],
        "schedule.name": "constant",
        "optimiser.lr": 0.001,
        "view.shorter": [256, 256],
        "view.size": 224,
        "preprocessing.crop": 224,
    }
    n = 16 * NETWORKS[network]
    images = torch.randint(0, 256, (n, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels, classes = torch.arange(n) % 1000, tuple(map(str, range(1000)))
    return open_recipe("imagenette-cpu", settings), Dataset("random", "train", images, labels, classes, "chance", 256)


def our_steps(network: str, data_dir: Path | None, stack: ExitStack) -> Callable[[], int]:
    """A step of our loop; returns how many images it took."""
    recipe, dataset = recipe_and_data(network, data_dir)
    stack.enter_context(kept_memory())
    net = build_for(recipe, dataset, 0)
    training = _Training(net, dataset, recipe, Classification(recipe), 0, None, None, None, Options())
    training.set_mode()
    batches = (batch for epoch in range(10**6) for batch in training.feed.batches(epoch))

    def step() -> int:
        batch = next(batches)
        training.update(batch, 0)
        training.look()
        return batch.size

    return step


def usual_steps(network: str, data_dir: Path | None) -> Callable[[], int]:
    """A step of the usual loop."""
    recipe, dataset = recipe_and_data(network, data_dir)
    net = build_for(recipe, dataset, 0).to(memory_format=torch.contiguous_format).train()
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe.optimiser.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    feed = MemoryFeed(dataset, recipe, 0)
    pieces = [batch.pieces[0] for batch, _ in zip(feed.batches(0), range(8), strict=False)]
    prepared = [feed.prepare(piece, torch.device("cpu")) for piece in pieces]
    loss_of, taken = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing), 0

    def step() -> int:
        nonlocal taken
        images, labels = prepared[taken % len(prepared)]
        taken += 1
        optimiser.zero_grad()
        loss_of(net(images), labels).backward()
        optimiser.step()
        return len(labels)

    return step


def serve(contestant: str, network: str, data_dir: Path | None) -> None:
    """A contestant's process: a line of seconds in, a line with its images a second out."""
    with ExitStack() as stack:
        step = our_steps(network, data_dir, stack) if contestant == "ours" else usual_steps(network, data_dir)
        for _ in range(STEPS):
            step()
        print("ready", flush=True)
        for line in sys.stdin:
            images, began = 0, time.perf_counter()
            while (spent := time.perf_counter() - began) < float(line):
                images += step()
            print(images / spent, flush=True)


def compare(network: str, rounds: int, seconds: float, data_dir: Path | None, limit: float | None) -> dict[str, Any]:
    """One network, in `rounds` rounds."""
    start = [sys.executable, __file__, "--networks", network, "--data-dir", str(data_dir or "")]
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(
                subprocess.Popen([*start, "--contestant", name], stdin=-1, stdout=-1, text=True, bufsize=1)
            )
            for name in ("ours", "usual")
        }
        for process in processes.values():
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        rates: dict[str, list[float]] = {name: [] for name in processes}
        for number in range(rounds):
            for name in list(processes)[:: 1 if number % 2 else -1]:
                process = processes[name]
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(f"{seconds}\n")
                rates[name].append(float(process.stdout.readline()))
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
    recipe, dataset = recipe_and_data(network, data_dir)
    cost = trace(build_for(recipe, dataset, 0), prepared_shape(dataset, recipe.preprocessing), backward=True)
    operations = cost.total(open_convention("training"))
    ratios = [ours / usual for ours, usual in zip(rates["ours"], rates["usual"], strict=True)]
    ours = statistics.median(rates["ours"])
    return {
        "benchmark": "training",
        "network": network,
        "batch": NETWORKS[network],
        "images_per_s": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "ratio": round(statistics.median(ratios), 3),
        "interval": median_interval(ratios),
        "gflop_per_s": round(ours * operations / 1e9, 1),
        "limit": limit and round(ours * operations / 1e9 / limit, 3),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each contestant in a round")
    parser.add_argument("--data-dir", type=lambda text: Path(text) if text else None)
    parser.add_argument("--contestant", choices=("ours", "usual"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.contestant:
        serve(wanted.contestant, wanted.networks[0], wanted.data_dir)
        return
    limit, ratios = measure_limits().matrix_bf16, list[float]()
    for network in wanted.networks:
        row = compare(network, wanted.rounds, wanted.seconds, wanted.data_dir, limit)
        print(json.dumps(row), flush=True)
        ratios.append(row["ratio"])
    mean = math.prod(ratios) ** (1 / len(ratios))
    print(json.dumps({"benchmark": "training", "geometric_mean": round(mean, 3), "least": min(ratios)}), flush=True)


if __name__ == "__main__":
    main()
