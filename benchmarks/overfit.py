"""Whether each detector learns: a handful of photographs, seen again and again, until their objects are found.

    python benchmarks/overfit.py --data coco128 --data-dir DIR --out docs/performance/overfit.json [--only NAME]

Four photographs of the training split, as they are, a few hundred updates of AdamW from fresh weights (300 unless
--updates says otherwise); AP is of the same photographs. They are those whose smallest object is the largest part of
its photograph: what is shown is that all parts learn, not how small an object may be. For each detector: the updates,
the loss of the first and the last pass, AP, AP50, and the minutes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convbench.bench.train_detector import detector_for, result_of
from convbench.detection.annotations import DetectionSet
from convbench.detection.datasets import open_detection_set
from convbench.detection.detecting import find_all
from convbench.detection.registry import names
from convbench.detection.task import Detection
from convbench.files import write_json
from convbench.timing.machine import describe_machine, library_versions
from convbench.training.loop import Options, fit
from convbench.training.recipe import open_recipe

IMAGES, UPDATES = 4, 300
RATES = {"vgg16": 1e-4}  # it has no batch normalisation


def largest(dataset: DetectionSet) -> Tensor:
    """The photographs whose smallest object is the largest part of its photograph, 0 where there is none."""
    smallest = []
    for objects, (height, width) in zip(dataset.objects, dataset.sizes.tolist(), strict=True):
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
        areas = sides.prod(1) / (height * width)
        smallest.append(float(areas.min()) if len(areas) else 0.0)
    return torch.tensor(smallest).topk(IMAGES).indices.sort().values


def overfit(name: str, data: str, data_dir: Path | None, updates: int) -> dict[str, Any]:
    settings = {
        "network": name,
        "data": data,
        "arguments": {"side": 300} if name.startswith("faster") else {},
        "epochs": updates,
        "batch_size": IMAGES,
        "optimiser.lr": RATES.get(name.partition("_")[2], 1e-3),
        "boxes.expand": 1.0,
        "boxes.overlaps": [],
        "boxes.mirror": False,
        "boxes.colours": False,
    }
    recipe, whole = open_recipe("ssd300-mobilenet-cpu", settings), open_detection_set(data, "train", data_dir=data_dir)
    dataset = replace(whole.subset(largest(whole)), split="test")
    net = detector_for(recipe, dataset, 0)
    began = time.perf_counter()
    history = fit(net, dataset, recipe, task=Detection(net), options=Options(workers=0))
    minutes = (time.perf_counter() - began) / 60
    result = result_of(dataset, find_all(net, dataset, recipe.preprocessing))
    return {
        "updates": updates,
        "first_loss": history[0].loss,
        "last_loss": history[-1].loss,
        "ap": result["ap"],
        "ap50": result["ap50"],
        "minutes": minutes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="coco128")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out and asked.out.exists() else {}
    for name in asked.only or names():
        found[name] = overfit(name, asked.data, asked.data_dir, asked.updates)
        print(name, found[name], flush=True)
        if asked.out:
            about = {"machine": describe_machine(), "versions": library_versions()}
            write_json(asked.out, found | about)


if __name__ == "__main__":
    main()
