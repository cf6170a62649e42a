"""Which layers of a network can be looked into."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from convbench.activations import output_shapes
from convbench.evaluation.scoring import device_of
from convbench.explain.projection import readable
from convbench.modes import evaluation_mode


@dataclass(frozen=True)
class Layer:
    """One that has maps or values.

    name: in `net.named_modules()`
    kind: its class
    units: of its output
    map_shape: (rows, columns) of a unit's map; (1, 1) of a layer without maps
    is_stage: whether it ends one of the network's stages
    """

    name: str
    kind: str
    units: int
    map_shape: tuple[int, int]
    is_stage: bool

    @property
    def has_maps(self) -> bool:
        return self.map_shape != (1, 1)


def layers(net: nn.Module, input_shape: tuple[int, int, int]) -> tuple[Layer, ...]:
    """All that run on an image (channels, height, width), in the order in which they end.

    Raises RequestError where `net` cannot read such an image.
    """
    image = torch.zeros(1, *input_shape, device=device_of(net))
    with evaluation_mode(net), torch.inference_mode(), readable(net, image):
        shapes = output_shapes(net, image)
    modules, stages = dict(net.named_modules()), tuple(getattr(net, "stages", ()))
    found = list[Layer]()
    for name, shape in shapes.items():
        if len(shape) in (2, 4):
            _, units, rows, columns = (*shape, 1, 1)[:4]
            found.append(Layer(name, type(modules[name]).__name__, units, (rows, columns), name in stages))
    return tuple(found)


def count_switches(net: nn.Module) -> int:
    """How many layers keep switches for a deconvnet: those of max pooling."""
    return sum(isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d) for module in net.modules())
