"""What in an image made one unit of any layer answer: its activation, projected down to the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convbench.counting.receptive import ReceptiveField
from convbench.counting.trace import receptive_field
from convbench.errors import RequestError
from convbench.explain.figure import Box, Figure, Tile, projected, sheet, stretched
from convbench.explain.projection import Method, project

Position = tuple[int, int]  # row, column
LARGE = 224  # pixels of a tile


@dataclass(frozen=True)
class Field:
    """What the units of a layer see of images (channels, height, width), found when it is asked for.

    A small network's trace takes as long as a projection, and not everybody wants the box.
    """

    net: nn.Module
    input_shape: tuple[int, ...]
    layer: str

    @cached_property
    def found(self) -> ReceptiveField | None:
        """None where it cannot be followed, as through a module that looks at values on its way."""
        try:
            return receptive_field(self.net, self.input_shape, self.layer)
        except RuntimeError:  # of torch, where shapes alone are not enough
            return None


@dataclass(frozen=True)
class Projection:
    """One unit's activation at the pixels.

    pixels: (channels, h, w), of the image's size and the network's scale; what pushed the unit up is positive
    image: (channels, h, w), as the network read it
    position: where in the unit's map; None of a layer without maps
    activation: of the unit there
    field: of the layer's units
    """

    pixels: Tensor
    image: Tensor
    layer: str
    unit: int
    position: Position | None
    activation: float
    method: Method
    field: Field = dataclass_field(repr=False)

    @cached_property
    def box(self) -> Box:
        """The pixels that the unit sees, (top, left, bottom, right), cut at the image's border.

        The whole image where its receptive field is not known.
        """
        height, width = self.image.shape[1:]
        found = self.field.found
        return found.box(self.position or (0, 0), (height, width)) if found else (0, 0, height, width)

    @cached_property
    def patch(self) -> Tensor:
        """The part of the image that the unit sees."""
        return self.crop(self.image)

    def crop(self, picture: Tensor) -> Tensor:
        """The box of any picture of the image's size, (channels, h, w)."""
        top, left, bottom, right = self.box
        return picture[:, top:bottom, left:right]

    @cached_property
    def figure(self) -> Figure:
        """The image, the projection, and both within the box, where that is less."""
        place = "" if self.position is None else f" at row {self.position[0]}, column {self.position[1]}"
        title = f"{self.layer}, unit {self.unit}{place}: {self.activation:.3g}"
        shown, signal = stretched(self.image), projected(self.pixels)
        whole = [Tile(shown, "image", self.box), Tile(signal, self.method, self.box)]
        parts = [Tile(self.crop(shown), "what it sees"), Tile(self.crop(signal), self.method)]
        sees_all = self.box == (0, 0, *self.image.shape[1:])
        return sheet([whole if sees_all else [*whole, *parts]], title, least=LARGE)

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pixels."""
        keys = ("layer", "unit", "position", "activation", "method", "box")
        return {key: getattr(self, key) for key in keys}


def deconvnet(
    net: nn.Module,
    image: Tensor,
    layer: str,
    unit: int | None = None,
    position: Position | None = None,
    *,
    method: Method = "deconvnet",
) -> Projection:
    """Project one activation of `layer` down to the pixels (Zeiler & Fergus 2014, section 2.1).

    Args:
        net: any module; left as it is
        image: (channels, h, w) or a batch of one, prepared as the network reads it
        layer: a name in `net.named_modules()`
        unit: a map, or a value of a layer without maps; by default the one with the strongest activation
        position: (row, column) in the map; by default where the unit is strongest
        method: "deconvnet", or its relatives "guided" and "gradient", which differ by one rule: docs/deconvnet.md.
            The deconvnet begins with the activation itself, all others being zero; the relatives are gradients of it,
            and so begin with 1

    Raises RequestError for a layer, unit or position that does not exist, and what `project` raises.
    """
    batch = one_image(image)
    chosen: list[tuple[int, Position | None]] = []

    def seed(output: Tensor) -> Tensor:
        chosen.append(choose_unit(output[0], layer, unit, position))
        return one_hot(output, [chosen[0]], method)

    signal, output = project(net, batch, layer, seed, method)
    number, place = chosen[0]
    activation = output[0, number] if place is None else output[0, number][place]
    field = Field(net, tuple(batch.shape[1:]), layer)
    return Projection(signal[0], batch[0].detach(), layer, number, place, float(activation), method, field)


def one_hot(output: Tensor, picks: list[tuple[int, Position | None]], method: Method) -> Tensor:
    """Of each image the one activation that is picked, for a deconvnet, or 1 in its place; zero everywhere else."""
    seed = torch.zeros_like(output)
    for i, (unit, position) in enumerate(picks):
        place = (i, unit, *(position or ()))
        seed[place] = output[place] if method == "deconvnet" else 1
    return seed


def choose_unit(output: Tensor, layer: str, unit: int | None, position: Position | None) -> tuple[int, Position | None]:
    """The unit and position that are asked for, or the strongest. output: of one image, (units, ...)

    Raises RequestError where there is no such unit or position.
    """
    if unit is None:
        unit = int(output.reshape(len(output), -1).amax(1).argmax())
    if not 0 <= unit < len(output):
        raise RequestError(f"{layer}: expected a unit from 0 to {len(output) - 1}, found {unit}")
    if output.dim() == 1:
        if position is not None:
            raise RequestError(f"{layer} has no maps: expected no position, found {position}")
        return unit, None
    rows, columns = output.shape[1:]
    if position is None:
        place = int(output[unit].argmax())
        return unit, (place // columns, place % columns)
    row, column = position
    if not (0 <= row < rows and 0 <= column < columns):
        raise RequestError(f"{layer}: expected a position from 0,0 to {rows - 1},{columns - 1}, found {row},{column}")
    return unit, (row, column)


def one_image(image: Tensor) -> Tensor:
    """As a batch of one; RequestError for anything else."""
    batch = image[None] if image.dim() == 3 else image
    if batch.dim() != 4 or len(batch) != 1 or not batch.is_floating_point():
        found = f"{tuple(image.shape)} of {image.dtype}"
        raise RequestError(f"expected one prepared image (channels, rows, columns) of floats, found {found}")
    return batch
