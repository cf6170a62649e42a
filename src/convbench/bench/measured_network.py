"""What is measured: a network with real photographs, prepared as it reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convbench.bench.evaluate import load_network
from convbench.bench.networks import Network, Shape, open_network
from convbench.counting import Cost, trace
from convbench.data import Preprocessing
from convbench.data.samples import sample_photographs
from convbench.errors import RequestError

CHECKED = 32  # photographs on which outputs are compared
CALIBRATION = 100  # photographs for int8
COLOUR = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # ImageNet's, where no weights say it
INITIAL = "initial"  # weights, which no training has touched


@dataclass(frozen=True)
class Subject:
    """A network, what it costs, and photographs (n, c, h, w): some to compare outputs on, some to calibrate int8 with.

    weights: whose they are: a file's name, INITIAL of a network by name, "its own" of a module
    finish: what is done with a batch's outputs in the time that is measured; of a classifier nothing
    """

    name: str
    net: nn.Module
    cost: Cost
    checked: Tensor
    calibration: Tensor
    weights: str
    finish: Callable[[Tensor], object] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; product_layers are those that multiply and add."""
        return {
            "network": self.name,
            "input_shape": list(self.cost.input_shape),
            "weights": self.weights,
            **{name: getattr(self.cost, name) for name in ("params", "macs", "activations")},
            "product_layers": sum(1 for row in self.cost.rows if row.macs),
        }


def open_subject(
    net: nn.Module | str,
    *,
    input_shape: tuple[int, ...] | None = None,
    image_size: int | None = None,
    weights: Path | None = None,
) -> Subject:
    """Make a subject of a module, whose input_shape (channels, height, width) must be given, or of a name.

    A network by name without weights is initialised with seed 0; the caller's random numbers are as before.

    Raises RequestError for an unknown name, and for a shape or weights that do not fit.
    """
    if isinstance(net, nn.Module):
        if input_shape is None or len(input_shape) != 3:
            expected = "(channels, height, width)"
            raise RequestError(
                f"{type(net).__name__}: expected the shape of its images, {expected}, found {input_shape}"
            )
        channels, height, width = input_shape
        return _subject(Network(type(net).__name__, net, (channels, height, width)), None, "its own")
    if weights is not None:
        loaded = load_network(net, weights)
        if image_size not in (None, loaded.input_shape[1]) or input_shape not in (None, loaded.input_shape):
            raise RequestError(f"{weights} is for images of shape {loaded.input_shape}: expected no other size")
        return _subject(Network(net, loaded.net, loaded.input_shape), loaded.preprocessing, weights.name)
    channels_asked, side = (input_shape[0], input_shape[1]) if input_shape else (None, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _subject(open_network(net, image_size=side, in_channels=channels_asked), None, INITIAL)


def _subject(network: Network, preprocessing: Preprocessing | None, weights: str) -> Subject:
    cost = trace(network.net, network.input_shape, network.name)  # refuses a shape that does not fit
    checked, calibration = (photographs(n, network.input_shape, preprocessing) for n in (CHECKED, CALIBRATION))
    return Subject(network.name, network.net, cost, checked, calibration, weights)


def photographs(n: int, shape: Shape, preprocessing: Preprocessing | None) -> Tensor:
    """`n` crops of scikit-learn's photographs, as the network reads them: float32 (n, *shape)."""
    channels, height, width = shape
    prepare = preprocessing or (COLOUR if channels == 3 else Preprocessing())
    side = prepare.shorter or max(height, width) - 2 * prepare.pad
    images = prepare(sample_photographs(n, channels, side))[..., :height, :width]
    if images.shape[1:] != shape:
        raise RequestError(f"expected photographs of shape {shape}, found {tuple(images.shape[1:])} once prepared")
    return images
