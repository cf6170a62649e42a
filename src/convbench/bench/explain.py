"""Explanations of a network by name, with weights from a file, on photographs and data sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench import explain
from convbench.bench.evaluate import WEIGHTS, Loaded, load_network
from convbench.bench.networks import open_network
from convbench.bench.predict import fit_size
from convbench.bench.score import open_source
from convbench.bench.store import RunFolder
from convbench.data import Dataset, Preprocessing
from convbench.data.photographs import read_photograph, require_image_file
from convbench.errors import RequestError
from convbench.evaluation.source import Source, preprocessing_for
from convbench.explain.projection import Method
from convbench.files import write_json
from convbench.weights import load_file
from convbench.weights.files import read_weight_file


def open_subject(network: str, weights: Path | None) -> Loaded:
    """The network to explain: by name with its weights, a file or a run's folder, or package.module:callable without.

    What a callable makes is taken as it is, and reads photographs of 224 pixels a side scaled to [0, 1].

    Raises RequestError for a name without weights, as an untrained network has nothing to explain, and a callable with.
    """
    if ":" in network:
        if weights is not None:
            raise RequestError(f"{network} brings its own weights: expected no --weights, found {weights}")
        made = open_network(network)
        return Loaded(made.net, made.input_shape, (), Preprocessing(), {})
    if weights is None:
        raise RequestError(f"{network}: expected --weights, as an untrained network has learnt nothing, found none")
    return load_network(network, weights)


def prepare_image(loaded: Loaded, file: Path) -> Tensor:
    """The photograph in a file as the network reads it, (channels, h, w); what `read_photograph` raises."""
    require_image_file(file)
    channels, side, _ = loaded.input_shape
    prepared: Tensor = fit_size(loaded.preprocessing, side)(read_photograph(file, channels)[None])[0]
    return prepared


def grey_of(loaded: Loaded) -> list[float]:
    """The middle grey, of each channel, on the network's scale."""
    middle = loaded.preprocessing.scale(torch.full((1, loaded.input_shape[0], 1, 1), 0.5))
    return [float(value) for value in middle.flatten()]


def top9(
    network: str,
    weights: Path | None,
    data: str,
    layers: Sequence[str],
    units: int | Sequence[int],
    out: Path,
    *,
    split: str = "test",
    method: Method = "deconvnet",
    seed: int = 0,
    engine: str = "auto",
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """`explain.top9`, a picture for each layer and top9.json in the folder `out`; what is there already is not redone.

    Raises what `open_subject` and `explain.top9` raise.
    """
    loaded, source = open_subject(network, weights), open_source(data, split, data_dir)
    reading = _reading(loaded, source)
    asked = {
        **{"network": network, "weights": _digest(loaded.net), "preprocessing": asdict(reading)},
        **{"data": source.name, "split": split, "fingerprint": source.fingerprint},
        **{"layers": list(layers), "units": units if isinstance(units, int) else list(units)},
        **{"method": method, "seed": seed},
    }
    kept = out / "top9.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text())
        if found["asked"] == json.loads(json.dumps(asked)) and all((out / one).is_file() for one in found["pictures"]):
            return found
    tops = explain.top9(
        *(loaded.net, source, layers, units),
        preprocessing=reading,
        method=method,
        seed=seed,
        engine=engine,
    )
    pictures = [top.figure.save(out / f"{top.layer or 'net'}.png").name for top in tops]
    result = {"asked": asked, "pictures": pictures, "layers": [top.to_dict() for top in tops]}
    write_json(kept, result)
    return result


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
    source = open_source(record["recipe"]["data"], split, data_dir)
    n = min(images, len(source))
    part = source.subset(torch.arange(n) * len(source) // n)  # spread over the classes, which often lie in order

    def checkpoints() -> Iterator[tuple[str, nn.Module]]:
        for file in files:
            load_file(loaded.net, read_weight_file(file))
            yield f"epoch {int(file.stem.removeprefix('epoch-'))}", loaded.net

    return explain.evolution(
        *(checkpoints(), part, layer, units), preprocessing=_reading(loaded, part), method=method, seed=seed
    )


def _reading(loaded: Loaded, source: Source) -> Preprocessing:
    """The network's preprocessing; of photographs such that they get the size that it reads."""
    if isinstance(source, Dataset):
        return loaded.preprocessing
    return preprocessing_for(source, loaded.preprocessing, loaded.input_shape[1])


def _digest(net: nn.Module) -> str:
    """Of all weights: the same for the same numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
