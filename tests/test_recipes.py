"""Every packaged recipe builds what it names, and the documents' commands name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from convbench.bench.execute import resolve_recipe
from convbench.bench.suite import Suite, open_suite
from convbench.counting import Cost, trace
from convbench.data.catalogue import DATASETS
from convbench.models import build
from convbench.schema import packaged
from convbench.training.recipe import Recipe, open_recipe

DOCUMENT = (Path(__file__).parents[1] / "docs/training.md").read_text()
SEEDED = (
    "resnet-depth",
    "alexnet-ablation",
    "mobilenet-multipliers",
    "batchnorm",
    "resnext-vs-resnet",
    "pyramidnet-vs-resnet",
)


def answers(recipe: Recipe) -> torch.Size:
    """The shape of what the recipe's network says to two of its images, on meta."""
    channels, *sides = DATASETS[recipe.data].shape
    stored = recipe.stored or sides[0]
    size = recipe.view.size if recipe.view and recipe.view.size else None
    images = torch.zeros(2, channels, stored, stored, dtype=torch.uint8)
    prepared = recipe.preprocessing(images)
    assert size in (None, prepared.shape[2]), "training and evaluation see images of one size"
    with torch.device("meta"):
        net = build(
            recipe.network, num_classes=10, in_channels=channels, image_size=prepared.shape[2], **recipe.arguments
        ).eval()
    shape: torch.Size = net(prepared.to("meta")).shape
    return shape


@pytest.mark.parametrize("name", packaged("recipes"))
def test_a_packaged_recipe_builds_its_network(name: str) -> None:
    assert answers(open_recipe(name)) == (2, 10)


@pytest.mark.parametrize("name", SEEDED)
def test_a_suite_of_seeds_builds_its_networks(name: str) -> None:
    _, suite = open_suite(name)
    assert suite.seeds >= 3 and suite.statements and suite.cut
    assert [answers(recipe) for run in suite.runs if (recipe := resolve_recipe(suite, run))] == [(2, 10)] * len(
        suite.runs
    )
    assert settled_alike(suite)


def settled_alike(suite: Suite) -> bool:
    """Whether the runs that a statement compares see equally many images equally often."""
    recipes = {run.name: resolve_recipe(suite, run) for run in suite.runs}
    pairs = [(recipes[one.better], recipes[one.worse]) for one in suite.statements]
    return all(a and b and (a.epochs, a.images, a.batch_size) == (b.epochs, b.images, b.batch_size) for a, b in pairs)


def test_the_document_names_what_there_is() -> None:
    for recipe in {*re.findall(r"convbench train (\S+)", DOCUMENT), *re.findall(r"^\| `([^|]+)` \|", DOCUMENT, re.M)}:
        for name in recipe.split("`, `"):
            open_recipe(name)
    for name in packaged("recipes"):
        assert f"`{name}`" in DOCUMENT or name.startswith(("lenet5-", "mlp")), f"{name} is not in docs/training.md"
    assert set(re.findall(r"convbench run (\S+)", DOCUMENT)) <= set(SEEDED)
    assert all(f"`{name}`" in DOCUMENT for name in SEEDED)


def test_networks_said_to_be_of_equal_or_smaller_cost_are() -> None:
    """What the suites' statements say of multiply-adds and parameters."""

    def costs(name: str, run: str) -> Cost:
        _, suite = open_suite(name)
        recipe = next(r for one in suite.runs if one.name == run and (r := resolve_recipe(suite, one)))
        side = recipe.preprocessing.crop or 32
        with torch.device("meta"):
            net = build(recipe.network, num_classes=10, image_size=side)
        return trace(net, (3, side, side))

    mobilenet = costs("mobilenet-multipliers", "resolution-64")
    assert 27 <= costs("mobilenet-multipliers", "vgg16-64").macs / mobilenet.macs < 28
    assert mobilenet.macs < costs("mobilenet-multipliers", "googlenet-64").macs
    resnet, resnext = (costs("resnext-vs-resnet", run) for run in ("resnet50", "resnext50"))
    assert resnext.params < 1.01 * resnet.params and resnext.macs < 1.1 * resnet.macs
    resnet, pyramid = (costs("pyramidnet-vs-resnet", run) for run in ("resnet110", "pyramidnet110"))
    assert resnet.params == pytest.approx(1.7e6, rel=0.05) and pyramid.params == pytest.approx(1.7e6, rel=0.05)
