"""What the units of a layer answer to an image, as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convbench.activations import features
from convbench.evaluation.scoring import device_of
from convbench.explain.deconvnet import one_image
from convbench.explain.figure import Figure, Tile, sheet, stretched
from convbench.explain.projection import readable, require_maps
from convbench.modes import evaluation_mode

ACROSS, MOST = 16, 256  # maps in a row, and on a sheet


@dataclass(frozen=True)
class Activations:
    """maps: (units, rows, columns), or (units, 1, 1) of a layer without maps"""

    layer: str
    maps: Tensor
    image: Tensor

    @cached_property
    def figure(self) -> Figure:
        """The image and the maps, each from its least value, black, to its greatest, white, which is its label."""
        tiles = [
            Tile(stretched(one)[None], f"{unit}: {float(one.max()):.2g}") for unit, one in enumerate(self.maps[:MOST])
        ]
        rows = [[Tile(stretched(self.image), "image")], *(tiles[i : i + ACROSS] for i in range(0, len(tiles), ACROSS))]
        units, height, width = self.maps.shape
        more = f", the first {MOST}" if units > MOST else ""
        return sheet(rows, f"{self.layer}: {units} maps of {height}x{width}{more}; unit and greatest value", least=64)

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the greatest of each map."""
        return {"layer": self.layer, "shape": list(self.maps.shape), "greatest": self.maps.flatten(1).amax(1).tolist()}


def activations(net: nn.Module, image: Tensor, layer: str) -> Activations:
    """Every map of `layer` for one image, (channels, h, w) or a batch of one, prepared as the network reads it.

    Raises RequestError for a layer that does not exist or run, one whose output is no maps, and an image that `net`
    cannot read.
    """
    batch = one_image(image)
    with evaluation_mode(net), torch.no_grad(), readable(net, batch):
        output = require_maps(features(net, batch.to(device_of(net)), layer), layer)[0].cpu()
    return Activations(layer, output.reshape(len(output), *(output.shape[1:] or (1, 1))), batch[0].detach())
