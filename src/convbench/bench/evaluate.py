"""Networks with weights from a file: ready to answer, and evaluated on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.bench.score import calibration_images, open_source, score_source
from convbench.data import DATASETS, Preprocessing, imagenet_classes
from convbench.errors import RequestError
from convbench.evaluation import result_from_scores
from convbench.evaluation.cropped import Cropped
from convbench.evaluation.crops import open_crops
from convbench.evaluation.ensemble import mean_probabilities
from convbench.evaluation.gallery import gallery as draw_gallery
from convbench.evaluation.per_class import per_class
from convbench.evaluation.probe import linear_probe
from convbench.evaluation.source import Source
from convbench.files import make_folder, write_whole
from convbench.models import build, published_input
from convbench.schema import parse
from convbench.timing.choice import AUTO
from convbench.weights import load_file
from convbench.weights.files import read_weight_file
from convbench.weights.matching import match_tensors

MOST_CONFUSED = 100  # classes up to which the table of confusions is part of a result: it grows with their square
WEIGHTS = "weights.safetensors"  # in a run's folder


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

    weights: a file, or the folder of a run
    A file of ours says its classes, input and preprocessing. In another library's the classes are counted at the head
    (1,000 are ImageNet's, the 10 of a network for CIFAR are CIFAR-10's) and the preprocessing is that library's.

    Raises RequestError where the file is another network's, or nothing is known of how images are prepared for it.
    """
    if (weights / WEIGHTS).is_file():
        weights = weights / WEIGHTS
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
    weights: Path | Sequence[Path],
    data: str,
    *,
    split: str = "test",
    crops: str = "centre",
    by_class: bool = False,
    gallery: Path | None = None,
    engine: str = AUTO,
    precision: str = "fp32",
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """The result of `network` with the weights at `weights`, ours or another library's, as plain values.

    Args:
        network: a name, or as many with commas between as there are weights
        weights: a file, a run's folder, or several of these: an ensemble, whose members' probabilities are averaged
        crops: a name in `evaluation.crops.CROPS`
        by_class: whether "classes" says what `evaluation.per_class` finds
        gallery: a PNG of the easiest and hardest classes to write
        engine: a name, or "auto": the fastest that answers as eager fp32 does, where there is work enough to choose;
            eager for dense crops, of which each has a size of its own
        precision: the lowest that "auto" may take; fp32 unless asked otherwise, since an error is to be the network's,
            not the engine's. int8 is calibrated on training images, or on a hundred of the evaluated ones where there
            are none, and its errors are compared with fp32's on all of them.

    Raises RequestError where the file is another network's, where the data's classes or images are not what the
    network was trained for, or an engine is not there; ConvbenchError where an engine answers otherwise than eager,
    int8 loses more than a point, or a photograph cannot be read. The table of confusions is left out for more than 100
    classes.
    """
    source, protocol = open_source(data, split, data_dir), open_crops(crops)
    if gallery:
        make_folder(gallery.parent)  # before the scores are computed, not after
    int8 = "int8" in (precision, engine.rpartition("-")[2])
    members, probabilities, cautions = list[dict[str, Any]](), list[Tensor](), list[str]()
    for name, file in _members(network, weights):
        loaded = load_network(name, file)
        _check_classes(loaded.classes or source.classes, source, file)
        cropped = Cropped(source, protocol, loaded.preprocessing, loaded.input_shape)
        images = calibration_images(data, source, loaded.preprocessing, loaded.input_shape, data_dir) if int8 else None
        scores, used = score_source(name, loaded.net, cropped, images, engine, precision)
        cautions += [loaded.metadata.get("caution", ""), cropped.caution]
        probabilities.append(cropped.probabilities(scores))
        error = 100 * float((scores.argmax(dim=1) != source.labels).double().mean())
        members.append({"network": name, "weights": str(file), "engine": used, "top1_error": error})
    if len(members) > 1:
        scores = mean_probabilities(probabilities)
    result = result_from_scores(scores, source.labels, source.classes).to_dict()
    if len(source.classes) > MOST_CONFUSED:
        del result["confusion"]
    if by_class or gallery:
        classes = per_class(scores, source.labels, source.classes)
        result["classes"] = classes.to_dict()
        if gallery:
            write_whole(gallery, draw_gallery(source, scores.argmax(dim=1), classes))
    return {
        **result,
        **{"network": network, "data": source.name, "split": split, "crops": crops, "views": protocol.views},
        "engine": ", ".join(dict.fromkeys(member["engine"] for member in members)),
        "members": members if len(members) > 1 else [],
        "caution": "; ".join(dict.fromkeys(filter(None, cautions))),
    }


def probe_weights(
    network: str,
    weights: Path,
    data: str,
    layer: str,
    *,
    kind: str = "svm",
    split: str = "test",
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """How well a linear classifier, trained on the features of `layer`, does on `split`; see `linear_probe`.

    The data need not be what the network was trained for. Raises RequestError as `load_network` and `linear_probe` do,
    and where the data set has no training split.
    """
    ((name, file),) = _members(network, weights)
    loaded = load_network(name, file)
    train, test = (open_source(data, one, data_dir) for one in ("train", split))
    probe = linear_probe(loaded.net, train, test, loaded.preprocessing, layer, loaded.input_shape, kind)
    about = {"network": network, "data": test.name, "split": split, "caution": loaded.metadata.get("caution", "")}
    return {**probe.to_dict(), **about}


def _members(network: str, weights: Path | Sequence[Path]) -> list[tuple[str, Path]]:
    """Each member's name, and its file or run's folder."""
    places = [weights] if isinstance(weights, Path) else list(weights)
    names = network.split(",")
    if len(names) not in (1, len(places)):
        raise RequestError(
            f"expected one network's name, or one for each of {len(places)} weights, found {len(names)}: {network}"
        )
    return list(zip(names * len(places) if len(names) == 1 else names, places, strict=True))


def _presumed_classes(num_classes: int | None, side: int) -> tuple[str, ...]:
    cifar10 = DATASETS["cifar10"]
    if num_classes == len(imagenet_classes()):
        return imagenet_classes()
    return cifar10.classes if (num_classes, side) == (len(cifar10.classes), cifar10.shape[1]) else ()


def _check_classes(classes: tuple[str, ...], source: Source, weights: Path) -> None:
    if classes != source.classes:
        found = f"{len(source.classes)} ({', '.join(source.classes[:3])}, ...)"
        expected = f"{len(classes)} ({', '.join(classes[:3])}, ...)"
        raise RequestError(f"{weights} was trained on the classes {expected}, {source.name} has {found}")
