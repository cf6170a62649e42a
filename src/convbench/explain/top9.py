"""The images at which units are strongest, with what they saw in them (Zeiler & Fergus 2014, figure 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from convbench.activations import watch
from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError
from convbench.evaluation.scoring import at_a_time, device_of
from convbench.evaluation.source import Source, image_of, prepared, prepared_shape, preprocessing_for
from convbench.explain.deconvnet import Field, Position, Projection, choose_unit, one_hot
from convbench.explain.figure import Figure, Tile, projected, sheet, stretched
from convbench.explain.projection import Method, project, readable, require_maps, require_method
from convbench.modes import evaluation_mode
from convbench.progress import progress
from convbench.timing.choice import AUTO, choose

NINE = 9
CHECKED = 32  # images on which an engine's answers are compared with eager's


@dataclass(frozen=True)
class Strongest:
    """One of a unit's strongest images. index: in the data set"""

    index: int
    projection: Projection


@dataclass(frozen=True)
class UnitTop:
    """A unit and its strongest images, the strongest first."""

    unit: int
    strongest: tuple[Strongest, ...]

    @property
    def is_active(self) -> bool:
        """Whether any image makes it answer; of a rectified unit that learnt nothing none does."""
        return self.strongest[0].projection.activation > 0


@dataclass(frozen=True)
class LayerTop:
    """Units of one layer, each with its strongest images."""

    layer: str
    units: tuple[UnitTop, ...]

    @cached_property
    def figure(self) -> Figure:
        """For each unit 3 x 3 projections and beside them the 3 x 3 parts of the images that it saw."""
        return draw(self)

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pixels."""
        units = [
            {"unit": one.unit, "strongest": [{"index": s.index, **s.projection.to_dict()} for s in one.strongest]}
            for one in self.units
        ]
        return {"layer": self.layer, "units": units}


class Peaks(nn.Module):
    """Of chosen units of several layers the strongest activation in each image: (n, units in all).

    It runs `net` no farther than the last of the layers, and shares its weights.
    """

    def __init__(self, net: nn.Module, units: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.net, self.units = net, {layer: list(numbers) for layer, numbers in units.items()}
        self.widths = [len(numbers) for numbers in units.values()]

    def forward(self, images: Tensor) -> Tensor:
        peaks = watch(self.net, images, self.units, strongest)
        return torch.cat([peaks[layer][:, numbers] for layer, numbers in self.units.items()], 1)


def strongest(output: Tensor, layer: str) -> Tensor:
    """The strongest activation of each unit of the layer, (n, units)."""
    return output.flatten(2).amax(2) if output.dim() == 4 else output


def top9(
    net: nn.Module,
    source: Source,
    layers: Sequence[str],
    units: int | Sequence[int] = 16,
    *,
    preprocessing: Preprocessing | None = None,
    method: Method = "deconvnet",
    count: int = NINE,
    engine: str = AUTO,
    precision: str = "fp32",
    seed: int = 0,
) -> tuple[LayerTop, ...]:
    """For each of `layers` some units, each with the `count` images at which it is strongest and their projections.

    Args:
        net: any module; left as it is
        source: from `open_dataset` or `open_photographs`; its images are read in one pass, batch by batch
        units: so many of each layer, chosen by chance from `seed`, or which
        preprocessing: of the images; by default scaled to [0, 1]
        method: of the projections, as in `deconvnet`
        engine, precision: of the pass over the data set, as in `choose`; projections are torch's, in fp32

    Raises RequestError for a layer or unit that does not exist, no layers, units or images at all, and what `choose`
    and `project` raise.
    """
    require_method(method)  # before the pass over the data set, as all else that can be wrong
    if count < 1:
        raise RequestError(f"count: expected at least 1 image for each unit, found {count}")
    preprocessing = preprocessing or Preprocessing()
    shape = prepared_shape(source, preprocessing)
    chosen = choose_units(net, torch.zeros(1, *shape), layers, units, seed)
    ranked = rank(*(net, source, chosen), preprocessing=preprocessing, count=count, engine=engine, precision=precision)
    return tuple(
        project_strongest(net, source, layer, numbers, ranked[layer], preprocessing=preprocessing, method=method)
        for layer, numbers in chosen.items()
    )


def rank(
    net: nn.Module,
    source: Source,
    units: Mapping[str, Sequence[int]],
    *,
    preprocessing: Preprocessing | None = None,
    count: int = NINE,
    engine: str = AUTO,
    precision: str = "fp32",
) -> dict[str, Tensor]:
    """The first half of `top9`: for each layer (count, units) indices in the data set, the strongest image first.

    units: of each layer; it costs one pass over the data set, however many they are
    """
    preprocessing = preprocessing or Preprocessing()
    shape = prepared_shape(source, preprocessing)
    todo = preprocessing_for(source, preprocessing, shape[1])
    best = _strongest_images(Peaks(net, units), source, todo, shape, count, engine, precision)
    return dict(zip(units, best.split([len(numbers) for numbers in units.values()], 1), strict=True))


def project_strongest(
    net: nn.Module,
    source: Source,
    layer: str,
    units: Sequence[int],
    images: Tensor,
    *,
    preprocessing: Preprocessing | None = None,
    method: Method = "deconvnet",
) -> LayerTop:
    """The second half of `top9`: some units of a layer with their projections. images: (count, units), of `rank`"""
    preprocessing = preprocessing or Preprocessing()
    shape = prepared_shape(source, preprocessing)
    todo, field = preprocessing_for(source, preprocessing, shape[1]), Field(net, shape, layer)
    picks = [(unit, int(index)) for column, unit in enumerate(units) for index in images[:, column]]
    shown: list[Strongest] = []
    with progress(f"projecting {layer}", len(picks), "projections") as bar:
        for some in _batches(picks, at_a_time(shape[1] * shape[2])):
            shown += _projections(net, source, todo, field, some, method)
            bar.advance(len(some))
    each = iter(shown)
    return LayerTop(layer, tuple(UnitTop(unit, tuple(islice(each, len(images)))) for unit in units))


def choose_units(
    net: nn.Module, image: Tensor, layers: Sequence[str], units: int | Sequence[int], seed: int
) -> dict[str, list[int]]:
    """Of each layer the units that are asked for, or as many as that by chance.

    Raises RequestError where it has them not, and for no layers or units at all.
    """
    if not layers:
        raise RequestError("layers: expected the name of at least one, found none")
    if (units if isinstance(units, int) else len(units)) < 1:
        found = units if isinstance(units, int) else "none"
        raise RequestError(f"units: expected at least 1 of each layer, found {found}")
    chosen: dict[str, list[int]] = {}
    for layer, total in count_units(net, image, layers).items():
        if isinstance(units, int):
            generator = torch.Generator().manual_seed(seed)
            chosen[layer] = sorted(torch.randperm(total, generator=generator)[:units].tolist())
        elif wrong := [unit for unit in units if not 0 <= unit < total]:
            raise RequestError(f"{layer}: expected units from 0 to {total - 1}, found {wrong[0]}")
        else:
            chosen[layer] = list(units)
    return chosen


def count_units(net: nn.Module, image: Tensor, layers: Sequence[str]) -> dict[str, int]:
    """How many units each layer has; RequestError where one has no maps or values, or `net` cannot read the image."""
    with evaluation_mode(net), torch.no_grad(), readable(net, image):
        return watch(net, image.to(device_of(net)), layers, lambda *seen: require_maps(*seen).shape[1])


def _strongest_images(
    peaks: Peaks,
    source: Source,
    todo: Preprocessing,
    shape: tuple[int, int, int],
    count: int,
    engine: str,
    precision: str,
) -> Tensor:
    """The images at which each unit is strongest, the strongest first: (count, units); so many are kept at a time."""
    values = indices = torch.empty(0)
    session = None
    done = 0
    with progress("looking", len(source), "images") as bar:
        for batch in prepared(source, todo, shape):
            if session is None:
                session = choose(
                    *(peaks, batch),
                    engine=engine,
                    precision=precision,
                    batches=-(-len(source) // len(batch)),
                    widths=peaks.widths,
                )
            here = session(batch)
            places = torch.arange(done, done + len(batch))[:, None].expand(-1, here.shape[1])
            done += len(batch)
            if not len(values):
                values, indices = here, places
            else:
                values, indices = torch.cat([values, here]), torch.cat([indices, places])
            values, order = values.topk(min(count, len(values)), 0)
            indices = indices.gather(0, order)
            bar.advance(len(batch))
    return indices


def _batches(picks: Sequence[tuple[int, int]], size: int) -> Iterator[Sequence[tuple[int, int]]]:
    for start in range(0, len(picks), size):
        yield picks[start : start + size]


def _projections(
    net: nn.Module, source: Source, todo: Preprocessing, field: Field, picks: Sequence[tuple[int, int]], method: Method
) -> list[Strongest]:
    """Of (unit, image) pairs, all at once: each image's own unit where it is strongest."""
    read = {index: todo(image_of(source, index)[None]) for index in {index for _, index in picks}}
    images = torch.cat([read[index] for _, index in picks])
    layer, places = field.layer, list[tuple[int, Position | None]]()

    def seed(output: Tensor) -> Tensor:
        places.extend(choose_unit(one, layer, unit, None) for one, (unit, _) in zip(output, picks, strict=True))
        return one_hot(output, places, method)

    signals, output = project(net, images, layer, seed, method)
    return [
        Strongest(
            index,
            Projection(
                *(signal, image, layer, unit, position),
                activation=float(one[(unit, *(position or ()))]),
                method=method,
                field=field,
            ),
        )
        for (_, index), (unit, position), signal, image, one in zip(picks, places, signals, images, output, strict=True)
    ]


SQUARE, BLOCK = 3, 120  # tiles on a side of a unit's block; its least pixels
WIDEST = 1500  # pixels of a sheet


def draw(top: LayerTop) -> Figure:
    """Blocks of 3 x 3 projections and, beside each, of the 3 x 3 image parts."""
    side = widest([top])
    rows: list[list[Tile]] = []
    pixels = SQUARE * (side + 1)
    across = max(1, WIDEST // (2 * pixels * -(-BLOCK // pixels)))
    for start in range(0, len(top.units), across):
        row: list[Tile] = []
        for unit in top.units[start : start + across]:
            projections, patches = mosaics(unit, side)
            name = f"unit {unit.unit}" + ("" if unit.is_active else ", never active")
            row += [Tile(projections, name), Tile(patches)]
        rows.append(row)
    return sheet(rows, f"{top.layer}: the strongest images of each unit, projected and as they are", least=BLOCK)


def mosaics(unit: UnitTop, side: int) -> tuple[Tensor, Tensor]:
    """3 x 3 projections, and 3 x 3 parts of the images that the unit saw; side: of a tile, pixels"""
    projections = [cut_square(projected(one.projection.pixels), one.projection, side) for one in unit.strongest]
    patches = [cut_square(stretched(one.projection.image), one.projection, side) for one in unit.strongest]
    return mosaic(projections, side), mosaic(patches, side)


def widest(tops: Sequence[LayerTop]) -> int:
    """Pixels of the longest side of all parts that the units see."""
    return max(max(one.projection.patch.shape[1:]) for top in tops for unit in top.units for one in unit.strongest)


def cut_square(picture: Tensor, projection: Projection, side: int) -> Tensor:
    """The box of a picture, in the middle of a square with `side` pixels."""
    part = projection.crop(picture)
    channels, rows, columns = part.shape
    square = torch.ones(channels, side, side)
    down, across = (side - rows) // 2, (side - columns) // 2
    square[:, down : down + rows, across : across + columns] = part
    return square


def mosaic(tiles: Sequence[Tensor], side: int) -> Tensor:
    """Squares of `side` pixels, three in a row, with a white line between."""
    rows = -(-len(tiles) // SQUARE)
    step = side + 1
    page = torch.ones(len(tiles[0]), rows * step - 1, SQUARE * step - 1)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, SQUARE)
        page[:, row * step : row * step + side, column * step : column * step + side] = tile
    return page
