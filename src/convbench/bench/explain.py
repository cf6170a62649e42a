"""Explanations of a network by name, with weights from a file, on photographs and data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from convbench import explain
from convbench.bench.evaluate import WEIGHTS, Loaded, load_network
from convbench.bench.networks import open_network
from convbench.bench.score import open_source
from convbench.bench.store import RunFolder
from convbench.data import Dataset, Preprocessing
from convbench.data.photographs import read_photograph, require_image_file
from convbench.errors import RequestError
from convbench.evaluation.source import Source, fit_size, preprocessing_for
from convbench.explain.projection import Method
from convbench.weights import load_file
from convbench.weights.files import read_weight_file


def open_subject(
    network: str,
    weights: Path | None,
    *,
    image_size: int | None = None,
    in_channels: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Loaded:
    """The network to explain: by name with its weights, a file or a run's folder, or package.module:callable without.

    Args: of a callable, as weights say for themselves how images are prepared
        image_size: rows and columns that it reads, of photographs and of a data set's images; by default 224 of a
            photograph, and a data set's images as they are
        in_channels: by default 3
        mean, std: of each channel in [0, 1], which are subtracted and divided by; by default neither

    Raises RequestError for a name without weights, as an untrained network has nothing to explain, a callable with, and
    weights with what they say themselves.
    """
    told = {"--image-size": image_size, "--in-channels": in_channels, "--mean": mean, "--std": std}
    if ":" in network:
        if weights is not None:
            raise RequestError(f"{network} brings its own weights: expected no --weights, found {weights}")
        made = open_network(network, image_size=image_size, in_channels=in_channels)
        reading = Preprocessing(mean=None if mean is None else tuple(mean), std=None if std is None else tuple(std))
        if image_size is not None:
            reading = fit_size(reading, image_size)
        return Loaded(made.net, made.input_shape, (), reading, {})
    if given := [option for option, value in told.items() if value is not None]:
        raise RequestError(f"{network}: its weights say how images are prepared: expected no {given[0]}")
    if weights is None:
        raise RequestError(f"{network}: expected --weights, as an untrained network has learnt nothing, found none")
    return load_network(network, weights)


def prepare_image(loaded: Loaded, file: Path) -> Tensor:
    """The photograph in a file as the network reads it, (channels, h, w); what `read_photograph` raises."""
    require_image_file(file)
    prepared: Tensor = fitted(loaded)(read_photograph(file, loaded.input_shape[0])[None])[0]
    return prepared


def fitted(loaded: Loaded) -> Preprocessing:
    """The network's preprocessing, such that a photograph of any size gets the one that it reads."""
    return fit_size(loaded.preprocessing, loaded.input_shape[1])


def grey_of(loaded: Loaded) -> list[float]:
    """The middle grey, of each channel, on the network's scale."""
    middle = loaded.preprocessing.scale(torch.full((1, loaded.input_shape[0], 1, 1), 0.5))
    return [float(value) for value in middle.flatten()]


def evolution(
    run: Path,
    layer: str,
    units: int | Sequence[int],
    *,
    images: int = 1000,
    split: str = "test",
    method: Method = "deconvnet",
    seed: int = 0,
    data_dir: Path | None = None,
) -> explain.Evolution:
    """`explain.evolution` of the training in the folder `run`, over so many `images` of its data set's split.

    Raises RequestError where the run kept no checkpoints, and what `load_network` and `explain.evolution` raise.
    """
    record = RunFolder(run).read_record()
    if record is None or record["recipe"] is None:
        raise RequestError(f"{run}: expected the folder of a training that has ended, found none")
    files = sorted((run / "checkpoints").glob("epoch-*.safetensors"))
    if not files:
        raise RequestError(f"{run} has kept no checkpoints: train with --keep 0,1,2,5, for example")
    name = record["recipe"]["network"]
    loaded = load_network(name, run / WEIGHTS)
    part = spread(open_source(record["recipe"]["data"], split, data_dir), images)

    def checkpoints() -> Iterator[tuple[str, nn.Module]]:
        for file in files:
            load_file(loaded.net, read_weight_file(file))
            yield f"epoch {int(file.stem.removeprefix('epoch-'))}", loaded.net

    return explain.evolution(
        *(checkpoints(), part, layer, units), preprocessing=reading_of(loaded, part), method=method, seed=seed
    )


def spread(source: Source, images: int) -> Source:
    """So many of a data set's images, spread over it, as the classes often lie in order; all where it has fewer."""
    n = min(images, len(source))
    return source.subset(torch.arange(n) * len(source) // n)


def reading_of(loaded: Loaded, source: Source) -> Preprocessing:
    """The network's preprocessing; of photographs such that they get the size that it reads."""
    if isinstance(source, Dataset):
        return loaded.preprocessing
    return preprocessing_for(source, loaded.preprocessing, loaded.input_shape[1])


def digest_of(net: nn.Module) -> str:
    """Of all weights: the same for the same numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
