"""A convolution's filters as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from convbench.errors import RequestError, unknown
from convbench.explain.figure import Figure, Tile, sheet, signed

ACROSS, DOWN = 16, 16  # filters in a row; rows of units where each filter is a row of its inputs


@dataclass(frozen=True)
class Filters:
    """weights: (units, channels, rows, columns)

    in_channels: of the convolution's input, of which a group's filters see but some
    """

    layer: str
    weights: Tensor
    in_channels: int

    @cached_property
    def figure(self) -> Figure:
        """Of filters that see colours or one map the filters; of others a row for each, with a column for each input.

        Each filter is scaled by its own largest magnitude; grey is zero. Of the latter the first 16 by 16 are shown.
        """
        units, channels, rows, columns = self.weights.shape
        size = f"{units} filters of {channels}x{rows}x{columns}"
        if channels == 1 or self.in_channels == 3:
            tiles = [Tile(signed(one), str(unit)) for unit, one in enumerate(self.weights)]
            grid = [tiles[start : start + ACROSS] for start in range(0, units, ACROSS)]
            return sheet(grid, f"{self.layer}: {size}, each by its largest magnitude; grey is zero", least=48)
        grid = [
            [Tile(plane, f"{unit}, {i}") for i, plane in enumerate(signed(one)[:ACROSS, None])]
            for unit, one in enumerate(self.weights[:DOWN])
        ]
        return sheet(grid, f"{self.layer}: {size}; unit and input, the first {len(grid)}x{len(grid[0])}", least=40)

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the weights."""
        return {"layer": self.layer, "shape": list(self.weights.shape)}


def filters(net: nn.Module, layer: str | None = None) -> Filters:
    """The filters of a convolution.

    Args:
        net: any module
        layer: its name in `net.named_modules()`; by default the first convolution there, which is the first that runs
            only where the network registers its layers in the order in which they run

    Raises RequestError for an unknown layer, one that is no convolution, and a network that has none.
    """
    convolutions = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    if not convolutions:
        raise RequestError(f"{type(net).__name__}: expected a convolution to show the filters of, found none")
    if layer is None:
        layer = next(iter(convolutions))
    if layer not in convolutions:
        raise unknown("convolution", layer, list(convolutions))
    found = convolutions[layer]
    return Filters(layer, found.weight.detach().cpu().float().clone(), found.in_channels)
