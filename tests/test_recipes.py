"""Every packaged recipe builds what it names, and the documents' commands name what there is."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import mean

import pytest
import torch

from convbench.bench.execute import resolve_recipe
from convbench.bench.suite import Suite, open_full_suite, open_suite
from convbench.claims.ledger import read_claims
from convbench.claims.trials import read_trials
from convbench.counting import Cost, trace
from convbench.data.catalogue import DATASETS
from convbench.detection.registry import build_detector
from convbench.models import build, published_input
from convbench.schema import packaged
from convbench.training.recipe import Recipe, open_recipe, parse_recipe

DOCS = Path(__file__).parents[1] / "docs"
CLASSES = {"imagenet": 1000}  # else 10
PHOTOGRAPH = (3, 270, 360)  # of ImageNet, for one
DETECTORS = [name for name in packaged("recipes") if open_recipe(name).loss == "detection"]
PAPERS = [name for name in packaged("recipes") if name.endswith("-imagenet")]
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
    shape = PHOTOGRAPH if recipe.data == "imagenet" else DATASETS[recipe.data].shape
    if recipe.stored:
        shape = (shape[0], recipe.stored, recipe.stored)
    prepared = recipe.preprocessing(torch.zeros(2, *shape, dtype=torch.uint8))
    size = recipe.view.size if recipe.view and recipe.view.size else None
    assert size in (None, prepared.shape[2]), "training and evaluation see images of one size"
    fitted = {"num_classes": CLASSES.get(recipe.data, 10), "in_channels": shape[0], "image_size": prepared.shape[2]}
    with torch.device("meta"):
        net = build(recipe.network, **fitted, **recipe.arguments).eval()
    said: torch.Size = net(prepared.to("meta")).shape
    return said


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_recipe_builds_it(name: str) -> None:
    recipe = open_recipe(name)
    with torch.device("meta"):
        net = build_detector(recipe.network, num_classes=3, **recipe.arguments)
    sizes = {net.side, recipe.preprocessing.size, recipe.boxes.size if recipe.boxes else None}
    assert len(sizes) == 1, "training and evaluation see images of the detector's size"


@pytest.mark.parametrize("name", sorted(set(packaged("recipes")) - set(DETECTORS)))
def test_a_packaged_recipe_builds_its_network(name: str) -> None:
    recipe = open_recipe(name)
    assert answers(recipe) == (2, CLASSES.get(recipe.data, 10))


def test_each_paper_has_its_recipe_and_one_for_processors() -> None:
    assert len(PAPERS) == 13
    for name in PAPERS:
        paper = open_recipe(name)
        assert paper.preprocessing.crop == published_input(paper.network)[1], "images of the published size"
        if paper.network == "vgg11":  # column A, where the others begin
            continue
        small = open_recipe(name.replace("-imagenet", "-imagenette"))
        assert (small.network, small.loss) == (paper.network, paper.loss)
        assert small.stored == small.preprocessing.shorter and small.view is not None
        assert small.view.shorter == (small.stored, small.stored), "windows of what is stored"
        assert small.optimiser.decay_depthwise == paper.optimiser.decay_depthwise
        assert small.filter_radius == paper.filter_radius and small.clip_norm == paper.clip_norm


def test_deeper_vggs_begin_as_column_a() -> None:
    """Four convolutions and the fully connected layers (Simonyan & Zisserman 2015, section 3.1)."""
    begun = open_recipe("vgg16-imagenet").initial_layers
    with torch.device("meta"):
        column_a, column_d = (build(name).state_dict() for name in ("vgg11", "vgg16"))
    taken = [name for name in column_a if name.startswith(begun)]
    assert len(taken) == 2 * (4 + 3)  # weights and biases
    assert all(column_a[name].shape == column_d[name].shape for name in taken)


def test_batches_of_the_papers() -> None:
    """Passes, as the papers print updates: updates * batch / images."""
    for name, updates, images in (
        ("vgg16-imagenet", 370_000, 1_281_167),
        ("resnet50-imagenet", 600_000, 1_281_167),
        ("bn-inception-imagenet", 6_000_000, 1_281_167),
        ("resnet20-cifar10", 64_000, 50_000),
    ):
        recipe = open_recipe(name)
        assert recipe.epochs == round(updates * recipe.batch_size / images), name


@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_survives_its_record(name: str) -> None:
    recipe = open_recipe(name)
    assert parse_recipe(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize("name", SEEDED)
def test_a_suite_of_seeds_builds_its_networks(name: str) -> None:
    _, suite = open_suite(name)
    assert suite.seeds >= 3 and suite.statements and suite.cut
    assert {one.claim for one in suite.statements if one.claim} <= {claim.id for claim in read_claims()}
    assert [answers(recipe) for run in suite.runs if (recipe := resolve_recipe(suite, run))] == [(2, 10)] * len(
        suite.runs
    )
    assert settled_alike(suite)


@pytest.mark.parametrize("name", SEEDED)
def test_a_suite_carries_the_papers_recipes(name: str) -> None:
    """Its full tier, for those with GPUs: whole recipes, whole data, as many seeds."""
    _, suite = open_suite(name)
    full_name, full = open_full_suite(name)
    assert (full_name, full.seeds, full.cut) == (f"{name}-full", suite.seeds, "") and full.statements
    assert {one.claim for one in full.statements if one.claim} <= {claim.id for claim in read_claims()}
    for run in full.runs:
        recipe = resolve_recipe(full, run)
        assert recipe is not None and run.recipe is not None
        whole = open_recipe(run.recipe)
        assert (recipe.data, recipe.epochs, recipe.batch_size) == (whole.data, whole.epochs, whole.batch_size)
        assert recipe.epochs >= 70 and recipe.images is None and recipe.stored is None, run.name
        assert answers(recipe)[1] == CLASSES.get(recipe.data, 10), run.name


def settled_alike(suite: Suite) -> bool:
    """Whether the runs that a statement compares see equally many images equally often."""
    recipes = {run.name: resolve_recipe(suite, run) for run in suite.runs}
    pairs = [(recipes[one.better], recipes[one.worse]) for one in suite.statements]
    return all(a and b and (a.epochs, a.images, a.batch_size) == (b.epochs, b.images, b.batch_size) for a, b in pairs)


def test_the_documents_name_what_there_is() -> None:
    text = (DOCS / "training.md").read_text() + (DOCS / "recipes.md").read_text()
    for recipe in {*re.findall(r"convbench train (\S+)", text), *re.findall(r"^\| `([^|]+)` \|", text, re.M)}:
        for name in recipe.split("`, `"):
            open_recipe(name)
    for name in packaged("recipes"):
        assert f"`{name}`" in text or name.startswith(("lenet5-", "mlp")), f"{name} is in neither document"
    assert set(re.findall(r"convbench run (\S+)", text)) <= set(SEEDED)
    assert all(f"`{name}`" in text for name in SEEDED)


def costs(name: str, run: str) -> Cost:
    """Of the network of a suite's run, at the size that it sees."""
    _, suite = open_suite(name)
    recipe = next(r for one in suite.runs if one.name == run and (r := resolve_recipe(suite, one)))
    side = recipe.preprocessing.crop or 32
    with torch.device("meta"):
        net = build(recipe.network, num_classes=10, image_size=side)
    return trace(net, (3, side, side))


def test_networks_said_to_be_of_equal_or_smaller_cost_are() -> None:
    """What the suites' statements say of multiply-adds and parameters."""
    mobilenet, vgg, wider, googlenet = (
        costs("mobilenet-multipliers", run)
        for run in ("width-100-one-pass", "vgg16-one-pass", "width-100", "googlenet")
    )
    assert 27 < vgg.macs / mobilenet.macs < 28
    assert wider.macs < googlenet.macs
    resnet, resnext = (costs("resnext-vs-resnet", run) for run in ("resnet50", "resnext50"))
    assert resnext.params < 1.01 * resnet.params and resnext.macs < 1.1 * resnet.macs
    resnet, pyramid = (costs("pyramidnet-vs-resnet", run) for run in ("resnet110", "pyramidnet110"))
    assert resnet.params == pytest.approx(1.7e6, rel=0.05) and pyramid.params == pytest.approx(1.7e6, rel=0.05)


def test_the_document_says_what_mobilenets_runs_cost_and_ended_with() -> None:
    (trial,) = (trial for trial in read_trials() if trial.suite == "mobilenet-multipliers")
    errors = {run: [outcome.top1_error for outcome in outcomes] for run, outcomes in trial.runs.items()}
    told = (DOCS / "trials.md").read_text().partition("In millions of multiply-adds")[2].partition("![")[0]
    runs = (
        *("width-100", "width-075", "width-050", "width-025", "resolution-96", "googlenet"),
        *("vgg16-one-pass", "width-100-one-pass"),
    )
    for run, (macs, error) in zip(runs, re.findall(r"([\d.,]+)\s\((\d\d\.\d\d)\)", told), strict=True):
        millions = costs(trial.suite, run).macs / 1e6
        assert macs == f"{millions:,.{1 if millions < 10 else 0}f}", run
        assert error == f"{mean(errors[run]):.2f}", run
    recipe = trial.recipes["width-100"]
    steps = recipe["epochs"] * math.ceil(9469 / recipe["batch_size"])
    ours, googlenet = (max(errors[run]) - min(errors[run]) for run in ("width-100-one-pass", "googlenet"))
    told = " ".join(told.split())
    assert f"three passes are {steps} steps" in told
    assert f"two of its own seeds lie {ours:.0f} points apart and two of GoogLeNet's {googlenet:.0f}." in told
