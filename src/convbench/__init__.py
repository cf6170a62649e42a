"""convbench: the convolutional networks that made ImageNet, as published, and the bench to compare them.

The names below are loaded when first used, so that `import convbench` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convbench import explain as explain
    from convbench.activations import features as features
    from convbench.bench.cost import cost as cost
    from convbench.bench.export import export as export
    from convbench.bench.measure import measure as measure
    from convbench.bench.runner import run_suite as run_suite
    from convbench.bench.train import Run as Run
    from convbench.bench.train import train as train
    from convbench.data import Dataset as Dataset
    from convbench.data import Distortion as Distortion
    from convbench.data import Preprocessing as Preprocessing
    from convbench.data import open_dataset as open_dataset
    from convbench.errors import ConvbenchError as ConvbenchError
    from convbench.errors import RequestError as RequestError
    from convbench.evaluation import Result as Result
    from convbench.evaluation import evaluate as evaluate
    from convbench.models import build as build
    from convbench.rivals import build_rival as build_rival
    from convbench.training.recipe import Recipe as Recipe
    from convbench.training.recipe import open_recipe as open_recipe
    from convbench.weights import fold_batch_norm as fold_batch_norm
    from convbench.weights import load_weights as load_weights
    from convbench.weights import save_weights as save_weights

__version__ = "0.1.0"

_HOME = {
    "build": "convbench.models",
    "build_rival": "convbench.rivals",
    "ConvbenchError": "convbench.errors",
    "cost": "convbench.bench.cost",
    "Dataset": "convbench.data",
    "Distortion": "convbench.data",
    "evaluate": "convbench.evaluation",
    "export": "convbench.bench.export",
    "features": "convbench.activations",
    "fold_batch_norm": "convbench.weights",
    "load_weights": "convbench.weights",
    "measure": "convbench.bench.measure",
    "open_dataset": "convbench.data",
    "open_recipe": "convbench.training.recipe",
    "Preprocessing": "convbench.data",
    "Recipe": "convbench.training.recipe",
    "RequestError": "convbench.errors",
    "Result": "convbench.evaluation",
    "Run": "convbench.bench.train",
    "run_suite": "convbench.bench.runner",
    "save_weights": "convbench.weights",
    "train": "convbench.bench.train",
}

_PACKAGES = ("explain",)  # whose functions are called by the package's name: cb.explain.deconvnet

__all__ = sorted((*_HOME, *_PACKAGES))


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'convbench' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
