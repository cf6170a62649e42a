"""How long networks wait for photographs that are read from files while they train, of ImageNet's usual size.

    python benchmarks/data_wait.py FOLDER [--networks mobilenet_v1 resnet18 alexnet] [--count 256] [--workers 1]

FOLDER holds photographs, at any depth; they are stored as in benchmarks/loader.py, 500 x 375. Each network learns from
`count` of them in batches of 32, random windows of 224 pixels, for two passes: the first one warms up. Prints one JSON
line a network; `data_wait` is the share of the second pass in which the network had no images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from convbench.bench.execute import build_for
from convbench.bench.store import describe_versions
from convbench.data import open_photographs
from convbench.timing.machine import describe_machine
from convbench.training.loop import Options, fit
from convbench.training.recipe import open_recipe
from loader import read_contents

VIEW = {"crop": "area", "size": 224, "mirror": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", default=["mobilenet_v1", "resnet18", "alexnet"])
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--quality", type=int, default=92)
    parser.add_argument("--workers", type=int, help="processes that read; default by the machine")
    wanted = parser.parse_args()
    contents = read_contents(wanted.folder, wanted.count, wanted.quality, as_they_are=False)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(wanted.count):
            place = Path(folder, "train", f"class{number % 10}")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.jpg").write_bytes(contents[number % len(contents)])
        photographs = open_photographs(folder, "train")
        for network in wanted.networks:
            settings = {
                "network": network,
                "epochs": 2,
                "batch_size": 32,
                "optimiser.lr": 0.001,
                "view": VIEW,
                "preprocessing.shorter": 256,
                "preprocessing.crop": 224,
            }
            recipe = open_recipe("imagenette-cpu", settings)
            net = build_for(recipe, photographs, 0)
            _, timed = fit(net, photographs, recipe, options=Options(workers=wanted.workers))
            row = {
                "benchmark": "data_wait",
                "network": network,
                "photographs": wanted.count,
                "data_wait": round(timed.data_wait, 4),
                "images_per_s": round(timed.images_per_s, 1),
                "workers": wanted.workers,
                "threads": torch.get_num_threads(),
                "machine": describe_machine(),
                "versions": describe_versions(),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
