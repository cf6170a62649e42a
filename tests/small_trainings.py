"""Small trainings that tests share."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convbench.bench.execute import build_for
from convbench.data import Dataset, Preprocessing, open_dataset
from convbench.models import build
from convbench.training.loop import Metrics, fit
from convbench.training.recipe import Recipe, parse_recipe
from convbench.weights import save_weights

OPTIMISERS = {
    "sgd": {"name": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True},
    "adamw": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
    "rmsprop": {"name": "rmsprop", "lr": 0.003, "momentum": 0.5},
    "sdlm": {"name": "sdlm", "lr": 0.01, "mu": 0.2, "curvature_samples": 8},
}


def content(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "description": "a test",
        "network": "lenet5",
        "data": "digits",
        "loss": "map",
        "epochs": 3,
        "batch_size": 8,
        "optimiser": OPTIMISERS["sgd"],
        "preprocessing": {"size": 16, "low": -0.1, "high": 1.175},
    }
    return base | changes


def recipe_with(**changes: Any) -> Recipe:
    return parse_recipe(content(**changes))


def digits(count: int) -> Dataset:
    return open_dataset("digits", "train").subset(torch.arange(count))


def trained(recipe: Recipe, dataset: Dataset, *, seed: int = 0, **arguments: Any) -> tuple[nn.Module, list[Metrics]]:
    net = build_for(recipe, dataset, 1)
    return net, fit(net, dataset, recipe, seed=seed, **arguments)


def measured(history: list[Metrics]) -> list[tuple[Any, ...]]:
    """What must repeat bit for bit: everything but the clock."""
    return [(one.epoch, one.loss, one.lr, one.train_error, one.test_error) for one in history]


def same_state(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def untrained_weights(folder: Path, classes: tuple[str, ...]) -> Path:
    """A file of a ResNet-20 for colours as a training would leave it, which has learnt nothing."""
    torch.manual_seed(0)
    said = {
        "network": "resnet20",
        "classes": classes,
        "input_shape": (3, 32, 32),
        "preprocessing": asdict(Preprocessing()),
    }
    file = folder / "resnet20.safetensors"
    save_weights(build("resnet20", num_classes=len(classes)), file, said)
    return file
