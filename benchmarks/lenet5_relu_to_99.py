"""Seconds to 99.0 % on MNIST's test images with the tutorials' LeNet-5: convbench's recipe against the usual way.

    python benchmarks/lenet5_relu_to_99.py MNIST_FOLDER [--seeds 10 11 12 13 14]

MNIST_FOLDER is what torchvision.datasets.MNIST takes (it holds MNIST/raw). Both train the same network and take turns,
seed by seed. convbench's time is everything from reading the files to the trained network of the recipe `lenet5-relu`,
its two passes fixed beforehand. The usual way (torchvision's MNIST, transforms image by image, a DataLoader, SGD with
learning rate 0.02 and momentum 0.9, batches of 64, no compilation) is stopped after the first pass that ends at 99.0 %
or better, its evaluations not counted. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from convbench import build, evaluate, open_dataset, open_recipe
from convbench.bench.execute import build_for
from convbench.bench.store import describe_versions
from convbench.timing.machine import describe_machine
from convbench.training.loop import fit

TARGET_ERROR = 1.0  # percent
MOST_PASSES = 10


def ours(folder: Path, seed: int) -> tuple[float, float]:
    """(seconds, percent of test errors) of convbench's recipe."""
    started = time.perf_counter()
    recipe = open_recipe("lenet5-relu")
    train = open_dataset("mnist", "train", data_dir=folder)
    net = build_for(recipe, train, seed)
    fit(net, train, recipe, seed=seed)
    seconds = time.perf_counter() - started
    test = open_dataset("mnist", "test", data_dir=folder)
    return seconds, evaluate(net, test, preprocessing=recipe.preprocessing).top1_error


def usual(folder: Path, seed: int) -> tuple[float, float]:
    """(seconds, percent of test errors) of the usual way, at the end of the first good enough pass."""
    started = time.perf_counter()
    transform = v2.Compose(
        [v2.Pad(2), v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize((0.1307,), (0.3081,))]
    )
    train, test = (torchvision.datasets.MNIST(str(folder), train=part, transform=transform) for part in (True, False))
    torch.manual_seed(seed)
    net = build("lenet5_relu")
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    seconds, error = time.perf_counter() - started, 100.0
    for _ in range(MOST_PASSES):
        started = time.perf_counter()
        net.train()
        for images, labels in DataLoader(train, batch_size=64, shuffle=True):
            optimiser.zero_grad()
            F.cross_entropy(net(images), labels).backward()
            optimiser.step()
        seconds += time.perf_counter() - started
        error = usual_error(net, DataLoader(test, batch_size=1000))
        if error <= TARGET_ERROR:
            break
    return seconds, error


@torch.inference_mode()
def usual_error(net: nn.Module, batches: DataLoader) -> float:
    net.eval()
    wrong = sum(int((net(images).argmax(dim=1) != labels).sum()) for images, labels in batches)
    return 100 * wrong / 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    arguments = parser.parse_args()
    runs = [(ours(arguments.folder, seed), usual(arguments.folder, seed)) for seed in arguments.seeds]
    ours_s, ours_error = zip(*(one for one, _ in runs), strict=True)
    usual_s, usual_errors = zip(*(other for _, other in runs), strict=True)
    print(
        json.dumps(
            {
                "benchmark": "lenet5_relu to 99.0 % on MNIST",
                "seeds": arguments.seeds,
                "ours": {"median_s": round(statistics.median(ours_s), 2), "s": [round(s, 2) for s in ours_s]},
                "ours_error": {"median": statistics.median(ours_error), "all": ours_error},
                "usual": {"median_s": round(statistics.median(usual_s), 2), "s": [round(s, 2) for s in usual_s]},
                "usual_error": {"median": statistics.median(usual_errors), "all": usual_errors},
                "ratio": round(statistics.median(b / a for a, b in zip(ours_s, usual_s, strict=True)), 2),
                "machine": {**describe_machine(), "threads": torch.get_num_threads()},
                "versions": {**describe_versions(), "torchvision": torchvision.__version__},
            }
        )
    )


if __name__ == "__main__":
    main()
