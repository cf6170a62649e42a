"""Evaluate weights from a file on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convbench.data import Preprocessing, open_dataset
from convbench.errors import RequestError
from convbench.evaluation import evaluate
from convbench.models import build
from convbench.models.weights import load_weights, read_metadata
from convbench.schema import parse


def evaluate_weights(
    network: str, weights: Path, data: str, *, split: str = "test", data_dir: Path | None = None
) -> dict[str, Any]:
    """The result of `network` with the weights that a training wrote, as plain values.

    The file says how images are prepared, which classes there are and what the network reads. Raises RequestError where
    it does not, where it is another network's, or where the data's classes differ.
    """
    metadata = read_metadata(weights)
    missing = {"network", "preprocessing", "classes", "input_shape"} - metadata.keys()
    if missing:
        raise RequestError(
            f"{weights} does not say its {', '.join(sorted(missing))}: expected a file that a training wrote"
        )
    if metadata["network"] != network:
        raise RequestError(f"{weights} holds {metadata['network']}, found the name {network}")
    dataset = open_dataset(data, split, data_dir=data_dir)
    if list(dataset.classes) != metadata["classes"]:
        found = f"{len(dataset.classes)} ({', '.join(dataset.classes[:3])}, ...)"
        expected = f"{len(metadata['classes'])} ({', '.join(metadata['classes'][:3])}, ...)"
        raise RequestError(f"{weights} was trained on the classes {expected}, {data} has {found}")
    channels, side, _ = metadata["input_shape"]
    net = build(network, num_classes=len(dataset.classes), in_channels=channels, image_size=side)
    load_weights(net, weights)
    preprocessing = parse(Preprocessing, metadata["preprocessing"], f"{weights} preprocessing")
    result = evaluate(net, dataset, preprocessing=preprocessing)
    return {**result.to_dict(), "network": network, "data": dataset.name, "split": split, "engine": "eager"}
