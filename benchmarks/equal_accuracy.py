"""Accuracy after equal epochs: ResNet-20 by the loop that everybody writes, beside what ours left in a kept trial.

    python benchmarks/equal_accuracy.py FOLDER [--seeds 3]

`benchmarks/training.py` says how much faster our loop is; this says whether it learns as much. The usual loop is plain
PyTorch: torchvision's CIFAR-10 and transforms, a DataLoader, eager, in fp32, contiguous, a scheduler of torch. It takes
its figures (epochs, batch, rate, momentum, decay, the cycle of the rate) from the recipe of ResNet-20 in the trial
`resnet-depth`, whose three trainings were ours, in bf16 and channels-last. Prints one JSON line: both loops' test
errors in percent by seed, and their difference, ours less the usual one's, with its 95 % interval (Welch's t).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10
from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

from convbench.bench.store import describe_versions
from convbench.claims.trials import compare, read_trials
from convbench.models import build
from convbench.timing.machine import describe_machine

TRIAL, RUN = "resnet-depth", "resnet-20"


def usual_loop(recipe: dict[str, Any], seed: int, folder: str) -> float:
    """The test error in percent after the recipe's epochs."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    prepare = [ToTensor(), Normalize(recipe["preprocessing"]["mean"], recipe["preprocessing"]["std"])]
    views = Compose([RandomCrop(32, padding=recipe["view"]["pad"]), RandomHorizontalFlip(), *prepare])
    train = CIFAR10(folder, train=True, transform=views)
    test = CIFAR10(folder, train=False, transform=Compose(prepare))
    batches = DataLoader(train, recipe["batch_size"], shuffle=True)
    net = build(recipe["network"], num_classes=10).to(memory_format=torch.contiguous_format)
    figures = recipe["optimiser"]
    optimiser = torch.optim.SGD(
        net.parameters(), figures["lr"], figures["momentum"], 0, figures["weight_decay"], figures["nesterov"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        figures["lr"],
        recipe["epochs"] * len(batches),
        pct_start=recipe["schedule"]["warmup"],
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(recipe["epochs"]):
        net.train()
        for images, labels in batches:
            optimiser.zero_grad()
            loss_of(net(images), labels).backward()
            optimiser.step()
            schedule.step()
        print(f"seed {seed}: {epoch + 1} of {recipe['epochs']} epochs", file=sys.stderr, flush=True)
    net.eval()
    with torch.inference_mode():
        wrong = sum(int((net(images).argmax(1) != labels).sum()) for images, labels in DataLoader(test, 500))
    print(f"seed {seed}: {100 * wrong / len(test):.2f} % error", file=sys.stderr, flush=True)
    return 100 * wrong / len(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="with cifar-10-batches-py in it")
    parser.add_argument("--seeds", type=int, default=3)
    wanted = parser.parse_args()
    trial = next(trial for trial in read_trials() if trial.suite == TRIAL)
    ours = [outcome.top1_error for outcome in trial.runs[RUN]]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        seeds = range(wanted.seeds)
        usual = list(pool.map(usual_loop, [trial.recipes[RUN]] * wanted.seeds, seeds, [wanted.folder] * wanted.seeds))
    difference, low, high = compare(ours, usual)
    result = {
        "benchmark": "equal_accuracy",
        "network": trial.recipes[RUN]["network"],
        "epochs": trial.recipes[RUN]["epochs"],
        "test_errors": {"ours": ours, "usual": usual},
        "difference": round(difference, 3),
        "interval": [round(low, 3), round(high, 3)],
        "machine": {"ours": trial.machine, "usual": describe_machine()},
        "versions": {"ours": trial.versions, "usual": describe_versions()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
