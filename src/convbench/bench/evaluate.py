"""Networks with weights from a file: ready to answer, and evaluated on a data set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.data import DATASETS, Dataset, Preprocessing, imagenet_classes, open_dataset
from convbench.data.datasets import splits_of
from convbench.errors import RequestError
from convbench.evaluation import result_from_scores
from convbench.evaluation.scoring import batch_size, score_images
from convbench.models import build, published_input
from convbench.progress import progress
from convbench.schema import parse
from convbench.timing.choice import AUTO, choose
from convbench.timing.engines import ENGINES
from convbench.timing.int8 import CALIBRATION, check_int8
from convbench.weights import load_file
from convbench.weights.files import read_weight_file
from convbench.weights.matching import match_tensors

MOST_CONFUSED = 100  # classes up to which the table of confusions is part of a result: it grows with their square


@dataclass(frozen=True)
class Loaded:
    """A network with its weights, and what is known of them.

    input_shape: (channels, height, width) of the prepared images that it reads
    classes: names, in the order of the outputs; empty where the file does not say
    metadata: as `load_weights` returns it
    """

    net: nn.Module
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    metadata: dict[str, Any]


@dataclass(frozen=True)
class _Said:
    """What the metadata of a file of ours say, of which a library's file says nothing."""

    network: str | None = None
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, int, int] | None = None
    preprocessing: Preprocessing | None = None


def load_network(network: str, weights: Path) -> Loaded:
    """The network by the name `network`, as large as the weights at `weights` ask, with them loaded.

    A file of ours says its classes, input and preprocessing. In another library's the classes are counted at the head
    (1,000 are ImageNet's, the 10 of a network for CIFAR are CIFAR-10's) and the preprocessing is that library's.

    Raises RequestError where the file is another network's, or nothing is known of how images are prepared for it.
    """
    file = read_weight_file(weights)
    known = {field.name: file.metadata[field.name] for field in fields(_Said) if field.name in file.metadata}
    said = parse(_Said, known, f"{weights}")
    if said.network not in (network, None):
        raise RequestError(f"{weights} holds {said.network}, found the name {network}")
    with torch.device("meta"):
        match = match_tensors(build(network), file.tensors)
    preprocessing = said.preprocessing
    if preprocessing is None and match.origin.preprocessing:
        preprocessing = parse(Preprocessing, match.origin.preprocessing, match.origin.library)
    published = published_input(network)
    side = preprocessing.crop if preprocessing and preprocessing.crop else published[1]
    channels, height, width = said.input_shape or (published[0], side, side)
    num_classes = len(said.classes) or match.num_classes
    net = build(network, num_classes=num_classes, in_channels=channels, image_size=height)
    metadata = load_file(net, file)
    if preprocessing is None:
        raise RequestError(f"{weights} does not say its preprocessing: expected a file that a training wrote")
    classes = said.classes or _presumed_classes(num_classes, published[1])
    return Loaded(net, (channels, height, width), classes, preprocessing, metadata)


def evaluate_weights(
    network: str,
    weights: Path,
    data: str,
    *,
    split: str = "test",
    engine: str = AUTO,
    precision: str = "fp32",
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """The result of `network` with the weights at `weights`, ours or another library's, as plain values.

    Args:
        engine: a name, or "auto": the fastest that answers as eager fp32 does, where there is work enough to choose
        precision: the lowest that "auto" may take; fp32 unless asked otherwise, since an error is to be the network's,
            not the engine's. int8 is calibrated on training images, or on a hundred of the evaluated ones where there
            are none, and its errors are compared with fp32's on all of them.

    Raises RequestError where the file is another network's, where the data's classes or images are not what the
    network was trained for, or an engine is not there; ConvbenchError where an engine answers otherwise than eager, or
    int8 loses more than a point. The table of confusions is left out for more than 100 classes.
    """
    loaded = load_network(network, weights)
    dataset = open_dataset(data, split, data_dir=data_dir)
    preprocessing = loaded.preprocessing.for_dataset(dataset)
    _check_classes(loaded.classes or dataset.classes, dataset, weights)
    _check_images(loaded.input_shape, preprocessing, dataset)
    size = batch_size(dataset.images, preprocessing)
    first, int8 = preprocessing(dataset.images[:size]), "int8" in (precision, engine.rpartition("-")[2])
    with progress(f"{network}: choosing an engine", len(ENGINES), "engines") as bar:
        chosen = choose(
            *(loaded.net, first),
            engine=engine,
            precision=precision,
            calibration=_calibration(data, dataset, loaded.preprocessing, data_dir) if int8 else None,
            batches=len(dataset) / size,
            say=bar.note,
        )
    scores = score_images(chosen, dataset.images, preprocessing, title=f"{network}, {chosen.engine}")
    if ENGINES[chosen.engine].precision == "int8":
        reference = score_images(loaded.net, dataset.images, preprocessing, title=f"{network}, eager")
        check_int8(reference, scores, dataset.labels, what=f"{network} in int8")
    result = result_from_scores(scores, dataset.labels, dataset.classes).to_dict()
    if len(dataset.classes) > MOST_CONFUSED:
        del result["confusion"]
    about = {"network": network, "data": dataset.name, "split": split, "engine": chosen.engine}
    return {**result, **about, "caution": loaded.metadata.get("caution", "")}


def _calibration(data: str, evaluated: Dataset, preprocessing: Preprocessing, data_dir: Path | None) -> Tensor:
    """A hundred images, from the first to the last, of the training split; of the evaluated one where it has none."""
    has_more = "train" in splits_of(data)
    dataset = open_dataset(data, "train", data_dir=data_dir) if has_more else evaluated
    picked = torch.linspace(0, len(dataset) - 1, min(CALIBRATION, len(dataset))).long()
    return preprocessing.for_dataset(dataset)(dataset.images[picked])


def _presumed_classes(num_classes: int | None, side: int) -> tuple[str, ...]:
    cifar10 = DATASETS["cifar10"]
    if num_classes == len(imagenet_classes()):
        return imagenet_classes()
    return cifar10.classes if (num_classes, side) == (len(cifar10.classes), cifar10.shape[1]) else ()


def _check_classes(classes: tuple[str, ...], dataset: Dataset, weights: Path) -> None:
    if classes != dataset.classes:
        found = f"{len(dataset.classes)} ({', '.join(dataset.classes[:3])}, ...)"
        expected = f"{len(classes)} ({', '.join(classes[:3])}, ...)"
        raise RequestError(f"{weights} was trained on the classes {expected}, {dataset.name} has {found}")


def _check_images(input_shape: tuple[int, int, int], preprocessing: Preprocessing, dataset: Dataset) -> None:
    prepared = tuple(preprocessing(dataset.images[:1]).shape[1:])
    if prepared != input_shape:
        expected, found = ("x".join(map(str, shape)) for shape in (input_shape, prepared))
        raise RequestError(f"the network reads {expected} images, {dataset.name}'s are {found} once prepared")
