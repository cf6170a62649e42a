"""The explorer's page of digits: a drawing goes through LeNet-5, layer by layer, beside what its rivals say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import torch
from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from convbench.bench.cost import cost
from convbench.errors import RequestError
from convbench.models.lenet import LENET5_TABLE, digit_codes
from convbench.web.digit_frames import FRAMES, PAD, prepare
from convbench.web.digit_network import NETWORK
from convbench.web.digit_readers import Kind, Readers
from convbench.web.digit_rivals import answer, nearest
from convbench.web.explorer import Explorer
from convbench.web.pages import page
from convbench.web.problems import problems

AMPLITUDE = 1.7159  # of LeNet's squashing: all that its units can say lies between its negative and it
ENCODED = 4 * -(-PAD * PAD // 3)  # characters of the pad's pixels in base64
LAYERS = {  # what each does, in a line
    "c1": "Six 5×5 filters slide over the image. A map is one filter's answers, wherever it finds its bit of stroke.",
    "s2": "Each 2×2 window is summed, weighted and squashed: what was found stays, its exact place matters less.",
    "c3": "5×5 filters over several maps of S2 at once. Table I says which: no two maps look at the same things.",
    "s4": "Sums of 2×2 windows again: 5×5 places are left of the image.",
    "c5": "120 units, each of which sees all of S4, and so the whole digit.",
    "f6": "84 units that learn to paint the digit's printed shape: 7×12 pixels, one a unit.",
    "output": "How far F6 is from each of ten fixed bitmaps, in squared distance. The nearest answers.",
}


class Drawing(BaseModel):
    """pixels: the pad's 28x28, a byte each, 0 for no ink, row by row, as base64"""

    model_config = ConfigDict(extra="forbid")
    pixels: str = Field(min_length=ENCODED, max_length=ENCODED, pattern="^[A-Za-z0-9+/]+={0,2}$")


@dataclass(frozen=True)
class Picture:
    """values: a byte each, row by row, map by map, as base64"""

    maps: int
    rows: int
    columns: int
    values: str


@dataclass(frozen=True)
class LeNetSays:
    """input: what it reads; layers: outputs, -1.7159 as 0 to 1.7159 as 255; distances: squared, to the codes"""

    answer: int
    input: Picture
    layers: dict[str, Picture]
    distances: list[float]


@dataclass(frozen=True)
class NeighbourSays:
    """A training digit, and its Euclidean distance."""

    digit: int
    distance: float
    image: Picture


@dataclass(frozen=True)
class NearestSay:
    """The nearest first."""

    answer: int
    neighbours: list[NeighbourSays]


@dataclass(frozen=True)
class MachinesSay:
    """scores: of each digit, the machines that voted for it, of nine, and a fraction that breaks ties"""

    answer: int
    scores: list[float]


@dataclass(frozen=True)
class Reading:
    """What all readers say of a drawing; knn, svm: None while they are being fitted."""

    prepared: Picture
    lenet: LeNetSays
    knn: NearestSay | None
    svm: MachinesSay | None


@dataclass(frozen=True)
class Ongoing:
    """How far the training of the network is."""

    epoch: int
    epochs: int
    error: str


@dataclass(frozen=True)
class State:
    """Who is there: of each reader a line, how drawings are prepared, and the pen's width in pixels of the pad."""

    ready: bool
    complete: bool
    training: Ongoing | None
    words: dict[str, str]
    placed: str
    pen: float


@dataclass(frozen=True)
class Offered:
    """A test digit for the pad, and what the network took it for where it was wrong."""

    digit: int
    pad: Picture
    read_as: int | None


def router(explorer: Explorer) -> APIRouter:
    """The page, and what its script asks."""
    readers = Readers(explorer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        readers.close()

    routes = APIRouter(lifespan=lifespan)

    @routes.get("/digits", include_in_schema=False)
    async def digits() -> HTMLResponse:
        await explorer.quick.do(lambda: readers.look_again(retry=True))
        return page("digits.html.j2", "digits", "Digits", **_explained(), state=state_of(readers))

    @routes.get("/api/digits", responses=problems(503))
    async def state() -> State:
        """Who is there to read drawings."""
        await explorer.quick.do(readers.look_again)
        return state_of(readers)

    @routes.post("/api/digits", responses=problems(400, 413, 422, 503))
    async def read(drawing: Drawing) -> Reading:
        """What LeNet-5, layer by layer, and its rivals make of a drawing."""
        return await explorer.quick.do(lambda: read_drawing(readers, decoded(drawing.pixels)))

    @routes.get("/api/digits/samples", responses=problems(422, 503))
    async def samples(
        kind: Kind = "each", number: Annotated[int, Query(ge=0, le=99, description="of ten digits each")] = 0
    ) -> list[Offered]:
        """Digits of the test set: one of each class, or ten that the network got wrong."""
        found = await explorer.quick.do(lambda: readers.samples(kind, number))
        return [Offered(one.digit, picture(one.pad[None]), one.read_as) for one in found]

    return routes


def read_drawing(readers: Readers, pad: Tensor) -> Reading:
    """pad: uint8 (28, 28). Raises RequestError for an empty one, and what `Readers.ready` raises."""
    network, rivals = readers.ready(), readers.rivals
    image = prepare(pad, FRAMES[network.data])[None, None]
    seen, maps, scores = network.look(image)
    layers = {name: picture(((values / AMPLITUDE + 1) * 127.5).round()) for name, values in maps.items()}
    says = LeNetSays(int(scores.argmax()), picture((seen[None] * 255).round()), layers, (-scores).tolist())
    knn, svm = None, None
    if rivals is not None and rivals.train is not None:
        theirs = image if rivals.train.name == network.data else prepare(pad, FRAMES[rivals.train.name])[None, None]
        if rivals.knn is not None:
            voted, near = nearest(rivals.knn, rivals.train, theirs)
            shown = [NeighbourSays(one.digit, one.distance, picture(one.image[None])) for one in near]
            knn = NearestSay(voted, shown)
        if rivals.svm is not None:
            votes = answer(rivals.svm, theirs)[0]
            svm = MachinesSay(int(votes.argmax()), votes.tolist())
    return Reading(picture(image[0]), says, knn, svm)


def state_of(readers: Readers) -> State:
    """As the page and its script are told."""
    progress, rivals = readers.progress(), readers.rivals
    training = Ongoing(progress.epoch, progress.epochs, progress.error) if progress else None
    complete = rivals is not None and rivals.is_ready
    return State(
        readers.network is not None, complete, training, readers.words(), readers.frame.words, readers.frame.pen
    )


def decoded(pixels: str) -> Tensor:
    """uint8 (28, 28); RequestError for what is not base64 of so many bytes."""
    try:
        content = base64.b64decode(pixels, validate=True)
    except binascii.Error as error:
        raise RequestError(f"pixels: expected base64, found other: {error}") from None
    if len(content) != PAD * PAD:
        raise RequestError(f"pixels: expected {PAD * PAD} bytes, found {len(content)}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).view(PAD, PAD)


def picture(maps: Tensor) -> Picture:
    """Maps (n, h, w) of values from 0 to 255."""
    values = base64.b64encode(maps.clamp(0, 255).to(torch.uint8).contiguous().numpy().tobytes()).decode()
    count, rows, columns = maps.shape
    return Picture(count, rows, columns, values)


@cache
def _explained() -> dict[str, Any]:
    """The layers with what they cost, the table and the codes: the same for every LeNet-5."""
    counted = cost(NETWORK)
    rows = {row.name: row for row in counted.rows}
    layers = {
        name: {"line": line, "params": rows[name].params, "connections": rows[name].connections}
        for name, line in LAYERS.items()
    }
    bitmaps = ["".join("#" if value > 0 else "." for value in code) for code in digit_codes().tolist()]
    return {
        "layers": layers,
        "params": counted.params,
        "connections": counted.connections,
        "table": LENET5_TABLE,
        "codes": bitmaps,
    }
