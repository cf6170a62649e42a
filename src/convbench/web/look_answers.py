"""What Look's page is answered: plain values, and pictures as data URIs."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel
from torch import Tensor

from convbench.bench.evaluate import Loaded
from convbench.bench.predict import Answer
from convbench.explain import Layer, Occlusion, Projection
from convbench.explain.figure import PALETTE, as_bytes, coloured, in_colours, projected, stretched
from convbench.report.sheets import data_uri
from convbench.web.errands import Waiting
from convbench.web.photographs import Photograph, png_of
from convbench.web.searched import Nine
from convbench.web.seen import UnitMap
from convbench.web.trained import Choice


class Looked(BaseModel):
    """A photograph that is kept. width, height: as kept, pixels"""

    id: str
    name: str
    width: int
    height: int

    @classmethod
    def of(cls, photograph: Photograph) -> Looked:
        height, width = photograph.pixels.shape[1:]
        return cls(id=photograph.id, name=photograph.name, width=width, height=height)


class NetworkChoice(BaseModel):
    """A trained network. network: its name in the registry"""

    id: str
    network: str
    title: str


class Networks(BaseModel):
    """What there is to look with, and at."""

    networks: list[NetworkChoice]
    samples: list[Looked]

    @classmethod
    def of(cls, choices: Sequence[Choice], samples: Sequence[Photograph]) -> Networks:
        return cls(
            networks=[NetworkChoice(id=one.id, network=one.network, title=one.title) for one in choices],
            samples=[Looked.of(one) for one in samples],
        )


class LayerRow(BaseModel):
    """A layer. rows, columns: of a unit's map, 1 where it has none"""

    name: str
    kind: str
    units: int
    rows: int
    columns: int
    is_stage: bool


class Layers(BaseModel):
    """A network's layers.

    input: channels, rows and columns that it reads
    switches: how many of its layers keep switches for a deconvnet
    """

    network: str
    title: str
    input: tuple[int, int, int]
    classes: int
    switches: int
    layers: list[LayerRow]

    @classmethod
    def of(cls, choice: Choice, loaded: Loaded, layers: Sequence[Layer], switches: int) -> Layers:
        rows = [
            LayerRow(
                name=one.name,
                kind=one.kind,
                units=one.units,
                is_stage=one.is_stage,
                rows=one.map_shape[0],
                columns=one.map_shape[1],
            )
            for one in layers
        ]
        classes = len(loaded.classes) or rows[-1].units
        return cls(
            network=choice.network,
            title=choice.title,
            input=loaded.input_shape,
            classes=classes,
            switches=switches,
            layers=rows,
        )


class Answered(BaseModel):
    """The most probable classes, and the photograph as the network read it."""

    answers: list[Answer]
    picture: str
    width: int
    height: int

    @classmethod
    def of(cls, shown: Tensor, answers: Sequence[Answer]) -> Answered:
        height, width = shown.shape[1:]
        return cls(answers=list(answers), picture=_png(shown), width=width, height=height)


class MapTile(BaseModel):
    """A unit's map; no picture of a layer without maps. name: of the class, where the unit is its score"""

    unit: int
    greatest: float
    name: str | None
    picture: str | None


class Maps(BaseModel):
    """Some of a layer's units, of `units` in all."""

    layer: str
    units: int
    rows: int
    columns: int
    maps: list[MapTile]

    @classmethod
    def of(cls, layer: str, shape: tuple[int, ...], maps: Sequence[UnitMap]) -> Maps:
        units, rows, columns = shape
        tiles = [
            MapTile(
                unit=one.unit,
                greatest=one.greatest,
                name=one.name,
                picture=None if one.picture is None else data_uri(one.picture),
            )
            for one in maps
        ]
        return cls(layer=layer, units=units, rows=rows, columns=columns, maps=tiles)


class Projected(BaseModel):
    """One activation at the pixels.

    position: row and column in the map; None of a layer without
    box: what the unit sees there: top, left, bottom, right, the latter two the first outside
    sees: rows and columns of its receptive field; None where it cannot be followed
    projection: of the picture's size; grey is zero
    map: the unit's own, from black, its least, to white, its greatest
    """

    layer: str
    unit: int
    position: tuple[int, int] | None
    activation: float
    method: str
    box: tuple[int, int, int, int]
    sees: tuple[int, int] | None
    projection: str
    map: str
    rows: int
    columns: int

    @classmethod
    def of(cls, found: Projection, unit_map: Tensor) -> Projected:
        field = found.field.found
        rows, columns = unit_map.shape
        return cls(
            layer=found.layer,
            unit=found.unit,
            position=found.position,
            method=found.method,
            activation=found.activation,
            box=found.box,
            sees=None if field is None else field.size,
            projection=_png(projected(found.pixels)),
            map=_png(stretched(unit_map)[None]),
            rows=rows,
            columns=columns,
        )


class Colour(BaseModel):
    """A class and its colour on the map of answers."""

    index: int
    name: str
    colour: str


class Covered(BaseModel):
    """What the network answered at each place of the grey square, row by row.

    target, name, clean: the class that is asked for, and its probability when nothing is covered
    square: pixels of a side
    probability, activation, answers: a value for each place; the activation, summed, of the unit, if one is watched
    pictures: of these three, from dark blue, the least, to yellow, the greatest; of the answers in `legend`'s colours
    """

    target: int
    name: str
    clean: float
    square: int
    steps: int
    layer: str | None
    unit: int | None
    clean_activation: float | None
    probability: list[list[float]]
    activation: list[list[float]] | None
    answers: list[list[int]]
    names: dict[int, str]
    legend: list[Colour]
    pictures: tuple[str, str | None, str]

    @classmethod
    def of(cls, found: Occlusion) -> Covered:
        shown = found.shown()
        drawn = None if found.activation is None else _png(coloured(found.activation))
        return cls(
            target=found.target,
            name=found.name(found.target),
            clean=found.clean,
            square=found.square,
            steps=len(found.probability),
            layer=found.layer,
            unit=found.projection.unit if found.projection else None,
            clean_activation=found.clean_activation,
            probability=found.probability.tolist(),
            activation=None if found.activation is None else found.activation.tolist(),
            answers=found.answers.tolist(),
            names={index: found.name(index) for index in found.answers.unique().tolist()},
            legend=[
                Colour(index=index, name=found.name(index), colour="#{:02x}{:02x}{:02x}".format(*colour))
                for index, colour in zip(shown, PALETTE, strict=False)
            ],
            pictures=(_png(coloured(found.probability)), drawn, _png(in_colours(found.answers, shown))),
        )


class Occluded(BaseModel):
    """One of both: how far it is, or what was found."""

    waiting: Waiting | None = None
    found: Covered | None = None


class Place(BaseModel):
    """One of the nine. index: in the data set"""

    index: int
    activation: float


class NineFound(BaseModel):
    """A unit's nine strongest images. projected, seen: 3 x 3 projections, and the parts of the images that it saw"""

    among: str
    method: str
    is_active: bool
    strongest: list[Place]
    projected: str
    seen: str

    @classmethod
    def of(cls, nine: Nine) -> NineFound:
        return cls(
            among=nine.among,
            method=nine.method,
            is_active=nine.is_active,
            strongest=[Place(index=index, activation=activation) for index, activation in nine.strongest],
            projected=data_uri(nine.projected),
            seen=data_uri(nine.seen),
        )


class Nines(BaseModel):
    """How far it is, what was found, or what would find it.

    data, images: the server's data set, of which so many would be searched; None where it has none
    command: what searches a whole data set, and keeps what it finds
    """

    waiting: Waiting | None = None
    found: NineFound | None = None
    data: str | None = None
    images: int = 0
    command: str | None = None


def _png(pixels: Tensor) -> str:
    """(1 or 3, h, w) in [0, 1]"""
    return data_uri(png_of(as_bytes(pixels)))
