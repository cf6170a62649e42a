"""Suites and runs: what is done, what is under way, and the curves of a training while they grow."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import HTMLResponse, Response

from convbench.models import names
from convbench.report import tables
from convbench.report.found import learnt_rows
from convbench.report.records import Epoch
from convbench.report.run_charts import run_charts
from convbench.report.sections import Section, section
from convbench.standing import Standing
from convbench.web.explorer import Explorer
from convbench.web.measured import engine_rows
from convbench.web.pages import page
from convbench.web.photographs import MissingError
from convbench.web.problems import problems
from convbench.web.shelf import Item, Shelf, Shelves, State, stamp_of
from convbench.web.workshop import Made

PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins
REFUSALS = problems(404, 422, 503)
Name = Annotated[str, Path(max_length=1024)]


@dataclass(frozen=True)
class Point:
    """One epoch; errors in percent, AP50 from 0 to 1. None: not measured, or no number."""

    epoch: int
    loss: float | None
    lr: float | None
    train_error: float | None
    validation_error: float | None
    test_error: float | None
    test_ap50: float | None
    seconds: float | None
    images_per_s: float | None


@dataclass(frozen=True)
class Growth:
    """What is new of a run.

    line: why it has no result, for people
    total: whole epochs so far; epochs: those after the ones that the asker has
    begun: changes when the run was begun anew, and what the asker has is another's
    standing: within the epoch, of a training that is under way or was stopped
    """

    state: State
    line: str
    total: int
    begun: str
    epochs: list[Point]
    standing: Standing | None


def router(explorer: Explorer) -> APIRouter:
    """The pages of suites and runs, and what their script asks for."""
    pages, shelves = APIRouter(), Shelves(explorer.settings.runs)

    async def find(suite: str, run: str) -> tuple[Shelf, Item]:
        shelf = await explorer.quick.do(partial(shelves.one, suite))
        return shelf, shelf.item(run)

    @pages.get("/runs", include_in_schema=False)
    async def all_suites() -> HTMLResponse:
        found = await explorer.quick.do(shelves.all)
        return page("suites.html.j2", "runs", "Runs", shelves=found, folder=str(explorer.settings.runs))

    @pages.get("/runs/{suite}", include_in_schema=False)
    async def one_suite(suite: Name) -> HTMLResponse:
        shelf = await explorer.quick.do(partial(shelves.one, suite))
        done = shelf.finished
        stamp = (done.title, done.claim, stamp_of(shelf.items))
        made = Made[Section](whole=True)
        if done.runs:
            made = await explorer.workshop.get(("suite", suite), stamp, partial(section, done, 1))
        return page("suite.html.j2", "runs", shelf.title, shelf=shelf, made=made, unfinished=not made.whole)

    @pages.get("/runs/{suite}/{run}", include_in_schema=False)
    async def one_run(suite: Name, run: Name) -> HTMLResponse:
        shelf, item = await find(suite, run)
        made = None
        if item.state == "done" and item.run is not None and item.run.record and item.run.record.result:
            key, stamp = ("run", suite, run), stamp_of((item,))
            made = await explorer.workshop.get(key, stamp, partial(run_charts, item.run))
        values = {"shelf": shelf, "item": item, "made": made, "growth": growth(item), **_details(item)}
        unfinished = made is not None and not made.whole
        return page("run.html.j2", "runs", item.title, unfinished=unfinished, **values)

    @pages.get("/api/runs/{suite}/{run}/metrics", responses=REFUSALS)
    async def metrics(suite: Name, run: Name, after: Annotated[int, Query(ge=0, le=10**9)] = 0) -> Growth:
        """The run's state, and its epochs after the first `after`."""
        _, item = await find(suite, run)
        return growth(item, after)

    @pages.get(
        "/api/runs/{suite}/{run}/pictures/{position}",
        responses=REFUSALS | {200: {"content": {"image/png": {}}, "description": "The picture"}},
        response_class=Response,
    )
    async def picture(suite: Name, run: Name, position: Annotated[int, Path(ge=0, le=9999)]) -> Response:
        """One of the pictures that the run left, by its place among them."""
        _, item = await find(suite, run)
        if position >= len(item.pictures):
            raise MissingError(f"{item.name} has {len(item.pictures)} pictures, and none at place {position}")
        try:
            content = await explorer.quick.do(item.pictures[position].read_bytes)
        except OSError as error:
            raise MissingError(f"{item.pictures[position].name} cannot be read: {error.strerror}") from None
        if not content.startswith(PNG):
            raise MissingError(f"{item.pictures[position].name} is not a PNG")
        return Response(content, media_type="image/png")

    return pages


def growth(item: Item, after: int = 0) -> Growth:
    """What is new of a run to somebody who has its first `after` epochs."""
    epochs = item.run.epochs if item.run is not None else ()
    begun = hashlib.blake2b(repr(epochs[:1]).encode(), digest_size=6).hexdigest() if epochs else ""
    return Growth(item.state, item.line, len(epochs), begun, [_point(one) for one in epochs[after:]], item.standing)


def _point(epoch: Epoch) -> Point:
    return Point(**{one.name: _number(getattr(epoch, one.name)) for one in fields(Point)})


def _number(value: float | None) -> Any:
    """JSON has no word for what is no number."""
    return value if value is None or math.isfinite(value) else None


def _details(item: Item) -> dict[str, Any]:
    """What the page says of the record, in the report's own words where it has them."""
    record = item.run.record if item.run is not None else None
    learnt = [item.run] if item.run is not None and record is not None and record.detected else []
    profile, detector = (record.profile, record.detector) if record is not None else (None, None)
    measured = profile.measurements if profile else detector.measurements if detector else None
    return {
        "record": record,
        "row": next(iter(tables.rows([record])), None) if record is not None else None,
        "found": next(iter(learnt_rows(learnt)), None),
        "timed": engine_rows(measured) if measured else (),
        "known": record is not None and record.subject.name in names(),
    }
