"""What an export starts from: a network, what is known of it, and the images on which the file is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.bench.evaluate import load_network
from convbench.bench.networks import Shape, open_network
from convbench.data import Preprocessing, open_dataset
from convbench.data.samples import sample_photographs
from convbench.errors import RequestError
from convbench.evaluation.source import fit_size
from convbench.timing.int8 import CALIBRATION

BATCH = 8
PHOTOGRAPHS = 16  # crops on which answers are compared
JUDGED = 1000  # labelled images at most on which int8 is judged
UNLABELLED = 64  # crops on which it is judged where there are none


@dataclass(frozen=True)
class Exportable:
    """A network, what it reads, and what is known of it.

    preprocessing: of stored images and photographs; a network that says nothing of it gets values from -1 to 1
    notes: plain values, for whoever has the file alone: network, input_shape, preprocessing, preparation (the same in
        words), classes, and the metadata of the weights
    """

    net: nn.Module
    input_shape: Shape
    preprocessing: Preprocessing
    notes: dict[str, Any]


@dataclass(frozen=True)
class Images:
    """What a file is judged on, and what calibrates int8.

    judging: uint8 (n, c, h, w), which `preprocessing` prepares; labels: (n,), or None
    calibration: prepared, float32; None for fp32
    """

    judging: Tensor
    preprocessing: Preprocessing
    labels: Tensor | None = None
    calibration: Tensor | None = None

    def batches(self) -> Iterator[Tensor]:
        """All to judge on, prepared: one image, then batches of eight, as no batch size may be fixed in a file."""
        for images in (self.judging[:1], *self.judging[1:].split(BATCH)):
            yield self.preprocessing(images)


def open_exportable(
    network: str | nn.Module, name: str, weights: Path | None, *, image_size: int | None, in_channels: int | None
) -> Exportable:
    """The network as `export` is given it, under the name `name`."""
    metadata: dict[str, Any] = {}
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    if weights is not None:
        if not isinstance(network, str) or ":" in network:
            raise RequestError(f"weights are loaded into networks of convbench by name, found {name}")
        if (image_size, in_channels) != (None, None):
            raise RequestError("weights say what the network reads: expected no image size and no channels beside them")
        loaded = load_network(network, weights)
        net, shape, preprocessing, classes = loaded.net, loaded.input_shape, loaded.preprocessing, loaded.classes
        metadata = loaded.metadata
    elif isinstance(network, str):
        made = open_network(network, image_size=image_size, in_channels=in_channels)
        net, shape = made.net, made.input_shape
        if ":" not in network:
            metadata = {"caution": "untrained: no weights were given"}
    else:
        net, shape = network, (in_channels or 3, image_size or 224, image_size or 224)
    notes = {
        **metadata,
        "network": name,
        "input_shape": list(shape),
        "preprocessing": asdict(preprocessing) if preprocessing else None,
        "preparation": in_words(preprocessing, shape[0]),
        "classes": list(classes),
    }
    return Exportable(net, shape, fit_size(preprocessing or Preprocessing(low=-1.0), shape[1]), notes)


def in_words(preprocessing: Preprocessing | None, channels: int) -> str:
    """How a stored image becomes what the network reads, for people who have not got `Preprocessing`.

    >>> in_words(Preprocessing(shorter=256, crop=224, low=-1.0), channels=3)
    'RGB; shorter side to 256 pixels, bilinear, antialiased; central 224x224; 0..255 to -1..1'
    """
    if preprocessing is None:
        return "not known"
    p = preprocessing
    steps = {
        "grey" if channels == 1 else "BGR" if p.bgr else "RGB": True,
        "sheared until the ink stands upright": p.deslant,
        f"shorter side to {p.shorter} pixels, bilinear, antialiased": p.shorter,
        f"central {p.crop}x{p.crop}": p.crop,
        f"resampled to {p.size}x{p.size}, bilinear, antialiased": p.size,
        f"{p.pad} pixels of background (0) on each side": p.pad,
        f"0..255 to {p.low:g}..{p.high:g}": True,
        f"less {_listed(p.mean)}": p.mean,
        f"over {_listed(p.std)}": p.std,
    }
    return "; ".join(step for step, done in steps.items() if done)


def photographs_for(exportable: Exportable) -> Images:
    """Crops of photographs, for fp32."""
    return Images(_crops(exportable, PHOTOGRAPHS), exportable.preprocessing)


def images_for_int8(exportable: Exportable, data: str | None, data_dir: Path | None) -> Images:
    """Images to calibrate on, and others to judge on: of the data set's test split, or crops of photographs.

    Raises RequestError where the data set's classes are not the network's, or its images too few.
    """
    if data is None:
        stored, labels = _crops(exportable, CALIBRATION + UNLABELLED), None
        preprocessing = exportable.preprocessing
    else:
        dataset = open_dataset(data, "test", data_dir=data_dir)
        classes = tuple(exportable.notes["classes"])
        if classes != dataset.classes:
            found = f"{len(classes)} classes ({', '.join(classes[:3])}, ...)" if classes else "a network without names"
            raise RequestError(f"{dataset.name} judges networks of its {len(dataset.classes)} classes, found {found}")
        if len(dataset) < 2 * CALIBRATION:
            raise RequestError(f"int8: expected {2 * CALIBRATION} labelled images or more, found {len(dataset)}")
        chosen = _spread_over(len(dataset), min(len(dataset), CALIBRATION + JUDGED))
        stored, labels = dataset.images[chosen], dataset.labels[chosen]
        preprocessing = exportable.preprocessing.for_dataset(dataset)
    calibrates = torch.zeros(len(stored), dtype=torch.bool)
    calibrates[_spread_over(len(stored), CALIBRATION)] = True
    return Images(
        judging=stored[~calibrates],
        preprocessing=preprocessing,
        labels=None if labels is None else labels[~calibrates],
        calibration=preprocessing(stored[calibrates]),
    )


def _spread_over(n: int, count: int) -> Tensor:
    """`count` different indices, evenly from 0 to n - 1."""
    return torch.linspace(0, n - 1, count, dtype=torch.float64).long()


def _crops(exportable: Exportable, n: int) -> Tensor:
    channels, side, _ = exportable.input_shape
    return sample_photographs(n, channels, max(side, exportable.preprocessing.shorter or 0))


def _listed(values: tuple[float, ...] | None) -> str:
    return f"({', '.join(f'{value:g}' for value in values or ())})"
