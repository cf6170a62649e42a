"""The pages of all networks, and of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, FastAPI, Path, Query
from fastapi.responses import HTMLResponse

from convbench.counting import CONVENTIONS
from convbench.detection.registry import names as detectors
from convbench.errors import RequestError
from convbench.report.drawing import Figure
from convbench.report.published_figures import told_errors, told_facts, told_precisions
from convbench.report.records import Record
from convbench.report.retelling import describe_network
from convbench.web.counted import FORWARD, count, judge
from convbench.web.explorer import Explorer
from convbench.web.measured import Measured
from convbench.web.network_list import (
    COMPARISON,
    detector_rows,
    error_against_latency,
    error_against_operations,
    families,
    machines,
    network_rows,
    timed_networks,
)
from convbench.web.network_page import DETAILS, LEVELS, Detail, view_cost
from convbench.web.once import Once
from convbench.web.pages import page
from convbench.web.photographs import MissingError

SUITES = {True: "detection-matrix", False: COMPARISON}  # which measures detectors, and which networks


def router(explorer: Explorer) -> APIRouter:
    """`/networks` and `/networks/NAME`."""
    once, measured = Once(explorer.counting), Measured(explorer.settings.runs)

    async def charts() -> tuple[list[Record], Figure, Figure | None]:
        """What is measured, and the charts of the first page, which take seconds when they are drawn first."""
        records = await explorer.quick.do(measured.records)
        timed = timed_networks(records)
        operations = await once.do("operations", error_against_operations)
        return records, operations, await once.do(("latency", timed), partial(error_against_latency, timed))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        drawing = asyncio.ensure_future(charts())
        yield
        drawing.cancel()

    pages = APIRouter(include_in_schema=False, lifespan=lifespan)

    @pages.get("/networks")
    async def networks(
        family: Annotated[str, Query(max_length=40)] = "", text: Annotated[str, Query(max_length=80)] = ""
    ) -> HTMLResponse:
        """All networks and detectors, or those of a family, or that have a text."""
        records, operations, latency = await charts()

        def made() -> HTMLResponse:
            return page(
                "networks.html.j2",
                "networks",
                "Networks",
                networks=network_rows(family or None, text, records),
                detectors=detector_rows(family or None, text, records),
                families=families(),
                family=family,
                text=text,
                operations=operations,
                latency=latency,
                machines=machines(records),
                suite=COMPARISON,
            )

        return await explorer.quick.do(made)

    @pages.get("/networks/{name}")
    async def network(
        name: Annotated[str, Path(max_length=60)],
        convention: Annotated[str, Query(max_length=40)] = "macs",
        detail: Annotated[Detail | None, Query()] = None,
    ) -> HTMLResponse:
        """One of them: drawn, counted, told."""
        try:
            story = describe_network(name)
        except RequestError as error:
            raise MissingError(str(error)) from None
        is_detector = name in detectors()
        cost = await count(once, name, convention)
        view = await once.do(("view", name, convention, detail), lambda: view_cost(cost, detail))
        claims = await judge(explorer.audit, name)

        def made() -> HTMLResponse:
            return page(
                "network.html.j2",
                "networks",
                story["title"],
                story=story,
                facts=told_facts(story),
                errors=told_errors(story["figures"]),
                precisions=told_precisions(story["figures"]),
                view=view,
                convention=convention,
                conventions={one: CONVENTIONS[one].name for one in (FORWARD if is_detector else CONVENTIONS)},
                details=DETAILS,
                levels=LEVELS,
                claims=claims,
                unfinished=not claims.whole,
                measured=measured.of(name),
                suite=SUITES[is_detector],
                commands=[*story["commands"], f"convbench measure {name}"],
            )

        return await explorer.quick.do(made)

    return pages
