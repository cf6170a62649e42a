"""Train a detector by a recipe: a run of its own."""

from __future__ import annotations

import inspect
import io
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convbench import standing
from convbench.bench.execute import choose_device
from convbench.bench.record import new_record, recording
from convbench.bench.store import RunFolder
from convbench.bench.train import require_folder
from convbench.data.photographs import read_photograph
from convbench.detection.annotations import DetectionSet
from convbench.detection.datasets import open_detection_set
from convbench.detection.detecting import find_all
from convbench.detection.detector import Detector
from convbench.detection.drawing import draw, sheet
from convbench.detection.registry import backbone_of, detector_of
from convbench.detection.result import Detections, coco_detections, coco_result, voc_ap
from convbench.detection.ssd import thinned
from convbench.detection.task import Detection
from convbench.errors import RequestError
from convbench.files import write_json, write_whole
from convbench.models import build
from convbench.models.registry import variant
from convbench.training.choices import choose_for
from convbench.training.loop import Metrics, Options, fit
from convbench.training.processes import Processes, joined_processes
from convbench.training.recipe import Recipe, open_recipe
from convbench.weights import load_file, save_weights
from convbench.weights.conventions import apply_conventions
from convbench.weights.files import WeightFile, read_weight_file
from convbench.weights.matching import match_tensors

WEIGHTS = "weights.safetensors"  # in a run's folder
SHOWN, CERTAIN = 12, 0.5  # photographs on a run's sheet, and the least score of the boxes in them


@dataclass(frozen=True)
class DetectorRun:
    """A finished training: its folder, its record (docs/design.md), the trained detector."""

    folder: Path
    record: dict[str, Any]
    detector: Detector


def train_detector(
    recipe: str | Path,
    *,
    out: str | Path,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    resume: bool = False,
    data_dir: str | Path | None = None,
    options: Options = Options(),  # noqa: B008 (frozen)
    command: str = "convbench.bench.train_detector.train_detector",
) -> DetectorRun:
    """Train and evaluate the detector of `recipe`, in the folder `out`: by the loop, states and processes of `train`.

    Args:
        recipe: a packaged recipe's name or a TOML file's path; its `data` is a folder as `open_detection_set` reads it
        out, settings, seed, resume, options: as in `train`

    In `out` are then, beside what every training leaves, found.json (what was found in the photographs for testing, in
    COCO's format) and found.png (some of them with boxes).

    Raises what `train` does.
    """
    out, chosen = Path(out).resolve(), open_recipe(recipe, settings)
    directory = None if data_dir is None else Path(data_dir)
    learnt, judged = (open_detection_set(chosen.data, split, data_dir=directory) for split in ("train", "test"))
    if learnt.classes != judged.classes:
        raise RequestError(f"{chosen.data}: expected {learnt.classes} for testing, too, found {judged.classes}")
    with joined_processes() as processes:
        net = detector_for(chosen, learnt, seed)
        folder, record = RunFolder(out), None

        def learn() -> list[Metrics]:
            task = Detection(net)
            return fit(net, learnt, chosen, task=task, seed=seed, test=judged, folder=out, resume=True, options=options)

        if processes.first:
            require_folder(out, resume=resume)
            record = new_record(
                *(out.parent.name, out.name, f"{chosen.network}, {out.name}"),
                subject={"kind": "detector", "name": chosen.network, "arguments": chosen.arguments},
                spec={"recipe": str(recipe), "settings": settings or {}},
                seed=seed,
                command=command,
            )
            with folder.lock(), recording(record, folder):
                _fill(record, net, chosen, learnt, judged, out, learn)
            for name in ("state.pt", standing.FILE):
                (out / name).unlink(missing_ok=True)
        else:
            learn()
        record = processes.share(record)
    assert record is not None
    return DetectorRun(out, record, net)


def _fill(
    record: dict[str, Any],
    net: Detector,
    recipe: Recipe,
    learnt: DetectionSet,
    judged: DetectionSet,
    out: Path,
    learn: Callable[[], list[Metrics]],
) -> None:
    """Learn, evaluate, and write what a run leaves."""
    record |= {
        "recipe": recipe.to_dict(),
        "choices": asdict(choose_for(recipe, choose_device(), Processes().count)),
        "data": {**{part.split: _describe(part) for part in (learnt, judged)}, "classes": list(learnt.classes)},
        "preprocessing": asdict(recipe.preprocessing),
    }
    history = learn()
    metadata = {
        "network": recipe.network,
        "arguments": recipe.arguments,
        "preprocessing": asdict(recipe.preprocessing),
        "classes": list(learnt.classes),
        "data": f"{learnt.name}:{learnt.fingerprint}",
    }
    save_weights(net, out / WEIGHTS, metadata)
    began = time.perf_counter()
    found = find_all(net, judged, recipe.preprocessing, title=f"evaluating {recipe.network}")
    record["seconds"] = {"train": sum(one.seconds for one in history), "evaluate": time.perf_counter() - began}
    record["detected"] = result_of(judged, found)
    write_json(out / "found.json", coco_detections(judged, found))
    write_whole(out / "found.png", _sheet(judged, found))


def _describe(part: DetectionSet) -> dict[str, Any]:
    objects = sum(len(one.labels) for one in part.objects)
    about = {"name": part.name, "split": part.split, "n": len(part), "fingerprint": part.fingerprint}
    return {**about, "objects": objects, "noted": dict(part.noted)}


def result_of(dataset: DetectionSet, found: Sequence[Detections]) -> dict[str, Any]:
    """COCO's twelve figures and, of each class, Pascal VOC's two: plain values for JSON."""
    voc = {
        method: {name: None if math.isnan(one) else one for name, one in precisions.items()}
        for method, precisions in voc_ap(dataset, found).items()
    }
    return {**coco_result(dataset, found).to_dict(), "voc": voc}


def _sheet(dataset: DetectionSet, found: Sequence[Detections]) -> bytes:
    """The first photographs with what was found in them, as a PNG."""
    pictures = [
        draw(read_photograph(dataset.open(place)), found[place].above(CERTAIN), dataset.classes)
        for place in range(min(SHOWN, len(dataset)))
    ]
    file = io.BytesIO()
    sheet(pictures).save(file, "PNG")
    return file.getvalue()


def detector_for(recipe: Recipe, dataset: DetectionSet, seed: int) -> Detector:
    """The recipe's detector for the data's classes, with the recipe's initial weights; the caller's RNG is left alone.

    Raises RequestError where the recipe's preprocessing makes images of another size than the detector reads.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = detector_of(recipe.network, len(dataset.classes), recipe.arguments)
    if recipe.preprocessing.size != net.side:
        raise RequestError(
            f"preprocessing.size: expected {net.side} pixels for {recipe.network}, found {recipe.preprocessing.size}"
        )
    if recipe.initial_weights is not None:
        begin_from(net, recipe)
    return net.to(choose_device())


def begin_from(net: Detector, recipe: Recipe) -> None:
    """Put into `net` the recipe's initial weights: those of a detector of ours, or of its backbone, of any classes.

    They lie in a file or in a run's folder. A classification network's may have any library's names; the detector then
    computes by their conventions. All of the trunk must fit, as far as `initial_layers` asks for it; what else does not
    fit begins anew. How many tensors were taken is told in a line.

    Raises RequestError where nothing fits, or not all of the trunk.
    """
    assert recipe.initial_weights is not None
    path, layers = weights_at(recipe.initial_weights), recipe.initial_layers or ("",)
    own = {key: tensor for key, tensor in net.state_dict().items() if tensor.ndim}  # no counters: these always fit
    file = read_weight_file(path)
    tensors, conventions = file.tensors, file.metadata.get("conventions", {})
    if not own.keys() & tensors.keys():
        tensors, conventions = _of_backbone(net, recipe, file)
    fitting = {
        key: tensors[key]
        for key, tensor in own.items()
        if key in tensors and tensors[key].shape == tensor.shape and key.startswith(layers)
    }
    trunk = [key for key in own if key.startswith("trunk.") and key.startswith(layers)]
    if lacking := [key for key in trunk if key not in fitting]:
        there = tuple(tensors[lacking[0]].shape) if lacking[0] in tensors else "nothing"
        raise RequestError(
            f"{path}: expected the {len(trunk)} tensors of the trunk of {recipe.network}, {len(lacking)} do not fit: "
            f"{lacking[0]} is {tuple(own[lacking[0]].shape)}, found {there}"
        )
    if not fitting:
        raise RequestError(f"{path}: expected weights that fit {recipe.network} or its backbone, found none that do")
    net.load_state_dict(fitting, strict=False)
    apply_conventions(net, conventions)
    if Processes().first:
        print(f"{recipe.network}: begins from {len(fitting)} of {len(own)} tensors of {path}", file=sys.stderr)


def weights_at(place: str | Path) -> Path:
    """The file of weights at a path, which may be a run's folder."""
    path = Path(place).expanduser()
    return path / WEIGHTS if path.is_dir() else path


def _of_backbone(net: Detector, recipe: Recipe, file: WeightFile) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors by the detector's names, conventions) of a file of its classification network's, of any classes."""
    name = backbone_of(recipe.network)
    known = _arguments_of(name)
    arguments = {key: value for key, value in recipe.arguments.items() if key in known}
    with torch.device("meta"):
        classes = match_tensors(build(name, **arguments), file.tensors).num_classes
    source = build(name, num_classes=classes, **arguments)
    conventions: dict[str, Any] = load_file(source, file)["conventions"]
    state = source.state_dict()
    if (fc6 := net.state_dict().get("trunk.fc6.weight")) is not None and fc6.ndim == 4:
        state = thinned(state)
    return {prefix + key: tensor for prefix in ("trunk.", "head.body.") for key, tensor in state.items()}, conventions


def _arguments_of(network: str) -> set[str]:
    return set(inspect.signature(variant(network)[0]).parameters)
