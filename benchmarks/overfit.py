"""Whether each detector learns: a handful of photographs, seen again and again, until their objects are found.

    python benchmarks/overfit.py --data coco128 --data-dir DIR --out docs/performance/overfit.json [--only NAME]

Two photographs of the training split, as they are, and AdamW from fresh weights with one cycle of the rate; AP is of
the same photographs. They are those whose smallest object is the largest part of its photograph: what is shown is that
all parts learn, not how small an object may be. For each detector: the updates, the photographs of each, the loss of
the first and the last pass, AP, AP50, and the minutes.

VGG has no batch normalisation, and its Glorot weights make maps 400 times fainter than the image: of values from -1 to
1 the proposals' network sees 0.001, and learns nothing. It is therefore shown Caffe's values, as its published recipes
are, which are about 60; one photograph at a time, at a tenth of the rate.
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
from convbench.detection.registry import family_of, names
from convbench.detection.task import Detection
from convbench.files import write_json
from convbench.timing.machine import describe_machine, library_versions
from convbench.training.loop import Options, fit
from convbench.training.recipe import open_recipe

IMAGES = 2
UPDATES = {"ssd": 200, "faster_rcnn": 75}  # by the family
ALONE = {"ssd300_vgg16": 100, "faster_rcnn_vgg16": 100}
BATCH = {"vgg16": 1}  # photographs of an update, by the backbone; else all
RATES = {"vgg16": 1e-4}
PREPARED = {"vgg16": "ssd300-vgg16-voc"}  # the recipe whose images it is shown
LOOK = 25  # passes from one look at AP to the next


def largest(dataset: DetectionSet) -> Tensor:
    """The photographs whose smallest object is the largest part of its photograph, 0 where there is none."""
    smallest = []
    for objects, (height, width) in zip(dataset.objects, dataset.sizes.tolist(), strict=True):
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
        areas = sides.prod(1) / (height * width)
        smallest.append(float(areas.min()) if len(areas) else 0.0)
    return torch.tensor(smallest).topk(IMAGES).indices.sort().values


def overfit(name: str, data: str, data_dir: Path | None, updates: int | None) -> dict[str, Any]:
    backbone = name.partition("_")[2].removeprefix("rcnn_")
    batch, updates = BATCH.get(backbone, IMAGES), updates or ALONE.get(name, UPDATES[family_of(name)])
    settings = {
        "network": name,
        "data": data,
        "arguments": {"side": 300} if family_of(name) == "faster_rcnn" else {},
        "epochs": updates * batch // IMAGES,
        "batch_size": batch,
        "optimiser.lr": RATES.get(backbone, 1e-3),
        "boxes.expand": 1.0,
        "boxes.overlaps": [],
        "boxes.mirror": False,
        "boxes.colours": False,
    }
    recipe, whole = open_recipe("ssd300-mobilenet-cpu", settings), open_detection_set(data, "train", data_dir=data_dir)
    if backbone in PREPARED:
        recipe = replace(recipe, preprocessing=open_recipe(PREPARED[backbone]).preprocessing)
    dataset = replace(whole.subset(largest(whole)), split="test")
    net = detector_for(recipe, dataset, 0)
    began, options = time.perf_counter(), Options(workers=0, judge_every=LOOK)
    history = fit(net, dataset, recipe, task=Detection(net), test=dataset, options=options)
    minutes = (time.perf_counter() - began) / 60
    result = result_of(dataset, find_all(net, dataset, recipe.preprocessing))
    return {
        "images": IMAGES,
        "batch_size": batch,
        "updates": recipe.epochs * IMAGES // batch,
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
    parser.add_argument("--only", action="append", default=[], choices=names())
    parser.add_argument("--updates", type=int)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    for name in asked.only or names():
        found = overfit(name, asked.data, asked.data_dir, asked.updates)
        print(name, found, flush=True)
        if asked.out:
            kept = json.loads(asked.out.read_text()) if asked.out.exists() else {}
            about = {"machine": describe_machine(), "versions": library_versions()}
            write_json(asked.out, kept | {name: found} | about)


if __name__ == "__main__":
    main()
