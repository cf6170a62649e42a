"""Do one run of a suite that learns: train, score, evaluate, record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from convbench import standing
from convbench.bench.class_gallery import write_class_gallery
from convbench.bench.contact_sheet import contact_sheet
from convbench.bench.record import new_record, recording
from convbench.bench.store import RunFolder
from convbench.bench.suite import RunSpec, Suite, read_claim
from convbench.classifier import Scorer
from convbench.counting import trace
from convbench.counting.split import LayerCost, split_by_layer
from convbench.data import Dataset, Preprocessing, open_dataset
from convbench.data.datasets import is_photographs, open_photographs
from convbench.errors import RequestError, unknown
from convbench.evaluation import result_from_scores
from convbench.evaluation.source import Source, prepared_shape
from convbench.files import write_whole
from convbench.models import build
from convbench.schema import parse
from convbench.training.boosting import Ensemble, fit_boosted
from convbench.training.choices import choose_for
from convbench.training.loop import Options, fit
from convbench.training.network import TrainedNetwork
from convbench.training.processes import Processes
from convbench.training.recipe import Recipe, open_recipe
from convbench.weights import load_file, load_weights, save_weights
from convbench.weights.files import read_weight_file

if TYPE_CHECKING:
    from convbench.rivals.rival import Rival


@dataclass(frozen=True)
class Trained:
    """What training left: something that scores, its cost, and how long it took.

    scores: (n, classes), float32, of a data set's images
    layers: of a single network, those that its cost is the sum of
    """

    scores: Callable[[Source], Tensor]
    preprocessing: Preprocessing
    params: int
    macs: int
    seconds: float
    layers: tuple[LayerCost, ...] = ()


def execute(
    suite_name: str,
    suite: Suite,
    run: RunSpec,
    folder: RunFolder,
    *,
    recipe: Recipe | None,
    seed: int,
    data_dir: Path | None,
    command: str,
    options: Options = Options(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """Do `run` in `folder`, going on from where it was stopped, and return the record, which is also written there.

    `recipe` is the run's, with its settings put in; None for a rival.
    A failure of the work is recorded with its one line and raised again; a wrong request leaves no record.
    """
    train, test = open_both(suite.data, data_dir, recipe.stored if recipe else None, judging=True)
    subject = {"kind": run.kind, "name": recipe.network if recipe else run.rival, "arguments": run.arguments}
    record = new_record(
        suite_name, run.name, run.title, subject=subject, spec=asdict(run), seed=seed, command=command
    ) | {
        "recipe": recipe.to_dict() if recipe else None,
        "choices": asdict(choose_for(recipe, choose_device(), Processes().count)) if recipe else None,
        "data": {**{part.split: describe(part) for part in (train, test)}, "classes": list(train.classes)},
        "published": read_claim(suite.ledger, run.claim) if suite.ledger and run.claim else None,
        "seconds": {"train": None, "evaluate": None},
    }
    with recording(record, folder):
        if recipe is not None and not run.boosted:
            trained = train_network(recipe, train, test, folder.path, seed, options)
        elif not (isinstance(train, Dataset) and isinstance(test, Dataset)):
            raise RequestError(f"{run.name}: expected images in memory, found photographs in files; set `stored`")
        elif recipe is not None:
            trained = train_boosted(recipe, train, test, folder.path, seed)
        else:
            trained = train_rival(suite, run, train, folder.path, seed)
        began = time.perf_counter()
        scores = trained.scores(test)
        record["seconds"] = {"train": trained.seconds, "evaluate": time.perf_counter() - began}
        record["preprocessing"] = asdict(trained.preprocessing)
        layers = [asdict(layer) for layer in trained.layers]
        record["cost"] = {"params": trained.params, "macs": trained.macs, "layers": layers}
        result = result_from_scores(scores, test.labels, test.classes)
        record["result"] = result.to_dict()
        write_whole(folder.path / "scores.safetensors", save({"scores": scores}))
        worst = test.subset(torch.tensor([mistake.index for mistake in result.worst], dtype=torch.int64))
        write_whole(folder.path / "worst.png", contact_sheet(worst))
        record["extremes"] = write_class_gallery(test, scores, folder.path)
    for name in ("state.pt", standing.FILE):  # of no use after the end, and the former larger than all the rest
        for left in folder.path.rglob(name):
            left.unlink()
    return record


@lru_cache(maxsize=1)
def open_both(data: str, data_dir: Path | None, stored: int | None, *, judging: bool) -> tuple[Source, Source]:
    """(train, test), kept for the next run: reading thousands of photographs takes longer than a short run.

    Photographs stay in their files unless `stored` says with how many pixels a side they are kept in memory. Bad ones
    among those for testing are left out before anything is trained, for which all are read; a process that does not
    judge, of several that train together, need not.
    """
    if stored is None and is_photographs(data):
        photographs, judged = (open_photographs(data, split, data_dir=data_dir) for split in ("train", "test"))
        return photographs, judged.readable() if judging else judged
    train, test = (open_dataset(data, split, data_dir=data_dir, stored=stored) for split in ("train", "test"))
    return train, test


def resolve_recipe(suite: Suite, run: RunSpec) -> Recipe | None:
    """The run's recipe with its settings and the suite's data put in; None for a rival."""
    if run.recipe is None:
        return None
    settings = {**run.settings, "data": suite.data}
    if run.preprocessing is not None:
        settings["preprocessing"] = run.preprocessing
    return open_recipe(run.recipe, settings)


def train_network(
    recipe: Recipe,
    train: Source,
    test: Source,
    folder: Path,
    seed: int,
    options: Options = Options(),  # noqa: B008 (frozen)
) -> Trained:
    """Build and train the recipe's network, with all processes; its weights are in `folder` afterwards."""
    net = build_for(recipe, train, seed).to(choose_device())
    history = fit(net, train, recipe, seed=seed, test=test, folder=folder, resume=True, options=options)
    if Processes().first:
        save_weights(net, folder / "weights.safetensors", weights_metadata(recipe, train))
    cost = trace(net, prepared_shape(train, recipe.preprocessing))
    seconds = sum(epoch.seconds for epoch in history)
    preprocessing = recipe.for_photographs
    network = TrainedNetwork(net, preprocessing)
    return Trained(network.scores_of, preprocessing, cost.params, cost.macs, seconds, split_by_layer(cost))


def train_boosted(recipe: Recipe, train: Dataset, test: Dataset, folder: Path, seed: int) -> Trained:
    """Train three of the recipe's networks by boosting."""
    nets = [build_for(recipe, train, seed + number) for number in range(3)]
    history = fit_boosted(nets, train, recipe, seed=seed, test=test, folder=folder, resume=True)
    for number, net in enumerate(nets, start=1):
        save_weights(net, folder / f"net{number}" / "weights.safetensors", weights_metadata(recipe, train))
    cost = trace(nets[0], prepared_shape(train, recipe.preprocessing))
    seconds = sum(epoch.seconds for epoch in history)
    scores = scores_in_memory(Ensemble(nets, recipe.preprocessing))
    return Trained(scores, recipe.preprocessing, 3 * cost.params, 3 * cost.macs, seconds)


def train_rival(suite: Suite, run: RunSpec, train: Dataset, folder: Path, seed: int) -> Trained:
    """Fit the run's rival, on pixels or on the features of another run's network."""
    from convbench.rivals import build_rival

    assert run.rival is not None
    preprocessing = parse(Preprocessing, run.preprocessing, f"{run.name}.preprocessing") if run.preprocessing else None
    features, extra = None, (0, 0)
    if run.features is not None:
        features, preprocessing, extra = features_of(suite, run, train, folder.parent)
    rival: Rival = build_rival(run.rival, preprocessing=preprocessing, seed=seed, features=features, **run.arguments)
    began = time.perf_counter()
    rival.fit(train)
    seconds = time.perf_counter() - began
    scores = scores_in_memory(rival)
    return Trained(scores, rival.preprocessing, rival.params + extra[0], rival.macs + extra[1], seconds)


def scores_in_memory(scorer: Scorer) -> Callable[[Source], Tensor]:
    """What `scorer` says of images in memory."""

    def scores(source: Source) -> Tensor:
        assert isinstance(source, Dataset)
        return scorer.scores(source.images)

    return scores


def features_of(
    suite: Suite, run: RunSpec, train: Dataset, suite_folder: Path
) -> tuple[Callable[[Tensor], Tensor], Preprocessing, tuple[int, int]]:
    """The trained network of another run up to a layer, its preprocessing, and its (parameters, multiply-adds)."""
    assert run.features is not None
    source = next(other for other in suite.runs if other.name == run.features.run)
    recipe = resolve_recipe(suite, source)
    if recipe is None or source.boosted:
        raise RequestError(f"run {run.name}: features come from a network, found {source.kind} {source.name}")
    net = build_for(recipe, train, seed=0)
    load_weights(net, suite_folder / source.name / "weights.safetensors")
    layers = [name for name, _ in net.named_children()]
    if run.features.layer not in layers:
        raise unknown(f"layer of {recipe.network}", run.features.layer, layers)
    assert isinstance(net, nn.Sequential)
    trunk = nn.Sequential(*list(net)[: layers.index(run.features.layer) + 1]).eval()
    cost = trace(trunk, prepared_shape(train, recipe.preprocessing))
    return trunk, recipe.preprocessing, (cost.params, cost.macs)


def choose_device() -> torch.device:
    """This process's GPU, or the processor where there is none."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def build_for(recipe: Recipe, dataset: Source, seed: int) -> nn.Module:
    """The recipe's network for the data's classes, channels and (preprocessed) size; the caller's RNG is left alone."""
    channels, height, width = prepared_shape(dataset, recipe.preprocessing)
    if height != width:
        raise RequestError(f"{recipe.network} reads square images, found {height}x{width}: set preprocessing.size")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fitted = {"num_classes": len(dataset.classes), "in_channels": channels, "image_size": height}
        net = build(recipe.network, **fitted, **recipe.arguments)
    if recipe.initial_weights is not None:
        begin_from(net, recipe)
    return net


def begin_from(net: nn.Module, recipe: Recipe) -> None:
    """Put into `net` those of the recipe's initial weights that fit by name and shape: all but another task's head.

    The file may have our names, of any network, or another library's, of the recipe's.

    Raises RequestError where none fits.
    """
    assert recipe.initial_weights is not None
    file, own = read_weight_file(Path(recipe.initial_weights)), net.state_dict()
    tensors = file.tensors
    if not own.keys() & tensors.keys():
        source = build(recipe.network, **recipe.arguments)
        load_file(source, file)
        tensors = source.state_dict()
    fitting = {
        name: tensor
        for name, tensor in tensors.items()
        if name in own and tensor.shape == own[name].shape and name.startswith(recipe.initial_layers or ("",))
    }
    if not fitting:
        raise RequestError(f"{recipe.initial_weights}: expected weights that fit {recipe.network}, found none that do")
    net.load_state_dict(fitting, strict=False)


def weights_metadata(recipe: Recipe, dataset: Source) -> dict[str, Any]:
    """What travels with the weights."""
    return {
        "network": recipe.network,
        "preprocessing": asdict(recipe.for_photographs),
        "classes": list(dataset.classes),
        "input_shape": list(prepared_shape(dataset, recipe.preprocessing)),
        "data": f"{dataset.name}:{dataset.fingerprint}",
    }


def describe(dataset: Source) -> dict[str, Any]:
    """What a record says of a data set."""
    return {
        "name": dataset.name,
        "split": dataset.split,
        "n": len(dataset),
        "fingerprint": dataset.fingerprint,
    }
