"""Look: a photograph through one network or two, layer by layer, down to what made a unit answer."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from convbench.explain.layers import count_switches
from convbench.explain.projection import Method
from convbench.web.errands import Waiting
from convbench.web.explorer import Explorer
from convbench.web.look_answers import (
    Answered,
    Covered,
    Layers,
    Looked,
    Maps,
    Networks,
    NineFound,
    Nines,
    Occluded,
    Projected,
)
from convbench.web.pages import page
from convbench.web.problems import problems
from convbench.web.searched import IMAGES, Searched
from convbench.web.seen import Order, Seen
from convbench.web.trained import Choice

TOP = 5
MANY = 64  # maps on a page, and places of a list of values

Network = Annotated[str, Query(max_length=200, description="An id of /api/look/networks.")]
Photo = Annotated[str, Query(pattern="^[0-9a-f]{24}$", description="An id of an uploaded photograph or a sample.")]
LayerName = Annotated[str, Query(max_length=200, description="A name of /api/look/layers.")]
Number = Annotated[int, Query(ge=0, le=10**6)]
Maybe = Annotated[int | None, Query(ge=0, le=10**6)]


ASKED = problems(400, 404, 422, 503)


def router(explorer: Explorer) -> APIRouter:
    """The page and what its script asks for."""
    routes = APIRouter()
    seen, searched = Seen(explorer.trained), Searched(explorer)
    photographs, quick = explorer.photographs, explorer.quick

    @routes.get("/look", include_in_schema=False)
    def look() -> HTMLResponse:
        return page(
            "look.html.j2",
            "look",
            "Look inside",
            samples=photographs.samples(),
            networks=choices(explorer),
            runs=explorer.settings.runs,
        )

    @routes.post(
        "/api/photographs",
        responses=problems(400, 413, 422, 503),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(request: Request) -> Looked:
        """Decode a photograph, the request's body, and keep it for a while."""
        content = await request.body()
        return Looked.of(await quick.do(lambda: photographs.add(content)))

    @routes.get(
        "/api/photographs/{id}.png",
        response_class=Response,
        responses=problems(404, 422, 503) | {200: {"content": {"image/png": {}}, "description": "The photograph"}},
    )
    async def photograph(id: Annotated[str, Path(pattern="^[0-9a-f]{24}$")]) -> Response:
        """A photograph as it is kept, at most 1,024 pixels a side."""
        found = photographs.get(id)
        content = await quick.do(lambda: found.png)
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    @routes.get("/api/look/networks")
    def networks() -> Networks:
        """Trained networks for colour photographs, and photographs to begin with."""
        return Networks.of(choices(explorer), photographs.samples())

    @routes.get("/api/look/layers", responses=ASKED)
    async def layers(network: Network) -> Layers:
        """The layers of a network that can be looked into, in the order in which they end."""
        choice = explorer.trained.choice(network)

        def work() -> Layers:
            found, loaded = seen.layers(network), explorer.trained.load(network)
            return Layers.of(choice, loaded, found, count_switches(loaded.net))

        return await quick.do(work)

    @routes.get("/api/look/answers", responses=ASKED)
    async def answers(photograph: Photo, network: Network) -> Answered:
        """The five most probable classes, and the photograph as the network reads it."""
        found = photographs.get(photograph)

        def work() -> Answered:
            view, best = seen.answers(found, network, TOP)
            return Answered.of(view.shown, best)

        return await quick.do(work)

    @routes.get("/api/look/activations", responses=ASKED)
    async def activations(
        photograph: Photo,
        network: Network,
        layer: LayerName,
        order: Order = "number",
        first: Number = 0,
        count: Annotated[int, Query(ge=1, le=4 * MANY)] = MANY,
    ) -> Maps:
        """Some of a layer's maps, each from black, its least, to white, its greatest value."""
        found = photographs.get(photograph)

        def work() -> Maps:
            whole, units = seen.unit_maps(found, network, layer, order, first, count)
            return Maps.of(layer, tuple(whole.maps.shape), units)

        return await quick.do(work)

    @routes.get("/api/look/projection", responses=ASKED)
    async def projection(
        photograph: Photo,
        network: Network,
        layer: LayerName,
        unit: Maybe = None,
        row: Maybe = None,
        column: Maybe = None,
        method: Method = "deconvnet",
    ) -> Projected:
        """One activation projected down to the pixels: by default the strongest unit's, where it is strongest."""
        found = photographs.get(photograph)
        position = None if row is None or column is None else (row, column)

        def work() -> Projected:
            what, unit_map = seen.projection(found, network, layer, unit, position, method)
            return Projected.of(what, unit_map)

        return await quick.do(work)

    @routes.get("/api/look/occlusion", responses=ASKED)
    async def occlusion(
        photograph: Photo,
        network: Network,
        layer: Annotated[str | None, Query(max_length=200)] = None,
        unit: Maybe = None,
        target: Maybe = None,
        steps: Annotated[int, Query(ge=2, le=20)] = 14,
    ) -> Occluded:
        """What the network answers where a grey square covers the photograph; asked again, how far it is."""
        found = photographs.get(photograph)
        explorer.trained.choice(network)
        what = await searched.occlusion(found, network, layer, unit, target, steps)
        if isinstance(what, Waiting):
            return Occluded(waiting=what)
        return Occluded(found=await quick.do(lambda: Covered.of(what)))

    @routes.get("/api/look/top9", responses=ASKED)
    async def top9(
        network: Network, layer: LayerName, unit: Number, method: Method = "deconvnet", search: bool = False
    ) -> Nines:
        """The nine images at which a unit is strongest: those kept with the run, or, with `search`, some of the data
        set that the explorer was started with; asked again, how far it is."""
        choice = explorer.trained.choice(network)
        known = await quick.do(lambda: searched.kept(choice, layer, unit, method))
        if known is not None:
            return Nines(found=NineFound.of(known))
        if searched.data is None or not search:
            return Nines(
                data=searched.data and FilePath(searched.data).name,
                images=IMAGES,
                command=command(choice, layer, unit, method),
            )
        what = await searched.top9(network, layer, unit, method)
        return Nines(waiting=what) if isinstance(what, Waiting) else Nines(found=NineFound.of(what))

    return routes


def choices(explorer: Explorer) -> list[Choice]:
    """The networks that photographs are for."""
    return [one for one in explorer.trained.choices() if one.colours]


def command(choice: Choice, layer: str, unit: int, method: Method) -> str:
    """What would show a unit's strongest images on this page."""
    if choice.run is None:
        return f"convbench serve --weights {choice.network}=FILE --data NAME"
    asked = (
        f"convbench explain top9 {choice.network} --weights {choice.run} --data NAME --layers {layer} --units {unit},"
    )
    return asked + ("" if method == "deconvnet" else f" --method {method}")
