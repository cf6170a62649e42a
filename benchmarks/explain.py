"""What explanations cost beside what they are made of.

    python benchmarks/explain.py [--data-dir DIR] [--rounds 7]

deconvnet: one unit's projection beside a forward and a backward pass of the same part of the network to the image, for
    some layers of some networks, in turns
top9: 16 units of 4 layers of alexnet over Imagenette's validation images beside an evaluation of that set
occlusion: 49 places in batches, by the engine that is chosen, beside one after the other in torch; the engine is
    prepared before, at a first image

Prints one JSON line; a ratio is the explanation's time over the other's (occlusion: the other's over ours), the median
of the rounds with its 95 % interval.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import convbench as cb
from convbench.bench.store import describe_versions
from convbench.data import Preprocessing
from convbench.data.datasets import open_photographs
from convbench.timing.clock import median_interval
from convbench.timing.machine import describe_machine

NETWORKS = ("alexnet", "mobilenet_v1", "resnet50", "googlenet")
LAYERS = ("relu1", "relu2", "relu3", "relu5")  # of alexnet
UNITS, PLACES, SQUARE = 16, 7, 44


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(ours: Callable[[], Any], other: Callable[[], Any], rounds: int) -> dict[str, Any]:
    """Seconds of both, and ours over the other's in the same round; the first round warms up."""
    pairs = [(timed(ours), timed(other)) for _ in range(rounds + 1)][1:]
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    interval = median_interval(ratios)
    return {
        "ours_s": sorted(mine for mine, _ in pairs)[rounds // 2],
        "other_s": sorted(theirs for _, theirs in pairs)[rounds // 2],
        "ratio": round(ratios[rounds // 2], 3),
        "interval": interval and [round(end, 3) for end in interval],
    }


def forward_and_backward(net: nn.Module, image: Tensor, layer: str) -> None:
    """To the image alone, which is the less that it could be."""
    pixels = image[None].clone().requires_grad_()
    output = cb.features(net, pixels, layer)
    torch.autograd.grad(output.sum(), pixels)


def network_and_image(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return cb.build(name).eval(), torch.randn(cb.models.published_input(name))


def deconvnets(rounds: int) -> dict[str, Any]:
    found = {}
    for name in NETWORKS:
        net, image = network_and_image(name)
        for layer in (net.stages[len(net.stages) // 2], net.stages[-1]):
            found[f"{name} {layer}"] = compare(
                partial(cb.explain.deconvnet, net, image, layer),
                partial(forward_and_backward, net, image, layer),
                rounds,
            )
    return found


def top9(data_dir: Path | None, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    net = cb.build("alexnet", num_classes=10).eval()
    reading = Preprocessing(shorter=256, crop=227, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    source = open_photographs("imagenette", "test", data_dir=data_dir)
    return {
        "images": len(source),
        **compare(
            lambda: cb.explain.top9(net, source, LAYERS, UNITS, preprocessing=reading),
            lambda: cb.evaluate(net, source, preprocessing=reading),
            rounds,
        ),
    }


def one_by_one(net: nn.Module, image: Tensor) -> None:
    step = (image.shape[1] - SQUARE) / (PLACES - 1)
    for row in range(PLACES):
        for column in range(PLACES):
            covered = image[None].clone()
            top, left = round(row * step), round(column * step)
            covered[:, :, top : top + SQUARE, left : left + SQUARE] = 0
            with torch.inference_mode():
                net(covered).softmax(1)


def occlusions(rounds: int, precision: str) -> dict[str, Any]:
    found = {}
    for name in NETWORKS:
        net, image = network_and_image(name)
        occluder = cb.explain.Occluder(net, steps=PLACES, square=SQUARE, precision=precision)
        first = timed(partial(occluder, image))
        (session,) = occluder.sessions.values()
        compared = compare(partial(occluder, image), partial(one_by_one, net, image), rounds)
        found[name] = {"engine": session.engine, "first_image_s": round(first, 2), **inverse(compared)}
    return found


def inverse(compared: dict[str, Any]) -> dict[str, Any]:
    """With how many times ours is faster for the ratio."""
    low, high = compared["interval"] or (None, None)
    interval = compared["interval"] and [round(1 / high, 2), round(1 / low, 2)]
    return compared | {"ratio": round(1 / compared["ratio"], 2), "interval": interval}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--top9-rounds", type=int, default=3)
    parser.add_argument("--only", choices=("deconvnet", "top9", "occlusion"))
    asked = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "deconvnet": lambda: deconvnets(asked.rounds),
        "top9": lambda: top9(asked.data_dir, asked.top9_rounds),
        "occlusion": lambda: {one: occlusions(asked.rounds, one) for one in ("fp32", "bf16")},
    }
    print(
        json.dumps(
            {
                "benchmark": "explain",
                **{name: part() for name, part in parts.items() if asked.only in (None, name)},
                "threads": torch.get_num_threads(),
                "machine": describe_machine(),
                "versions": describe_versions(),
            }
        )
    )


if __name__ == "__main__":
    main()
