"""The explorer as an ASGI application: its pages, its answers to their scripts, and its errors as one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from convbench.bench.store import describe_versions
from convbench.errors import ConvbenchError, RequestError
from convbench.web import claims, digits, look, networks, runs
from convbench.web.desk import BusyError
from convbench.web.explorer import Explorer, Settings
from convbench.web.pages import page
from convbench.web.photographs import MissingError
from convbench.web.safety import Guard


def create_app(settings: Settings) -> FastAPI:
    """The whole explorer."""
    explorer = Explorer(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        explorer.warm()
        yield
        explorer.close()

    app = FastAPI(
        title="convbench explorer",
        version=describe_versions()["convbench"],
        lifespan=lifespan,
        docs_url=None,  # these pages of FastAPI's load scripts from elsewhere
        redoc_url=None,
    )
    app.state.explorer = explorer
    app.add_middleware(Guard, hosts=settings.hosts)
    app.mount("/static", StaticFiles(directory=Path(str(resources.files("convbench.web").joinpath("static")))))
    app.add_exception_handler(ConvbenchError, _told)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)

    @app.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse("/networks")

    @app.get("/report.css", include_in_schema=False)
    def report_css() -> FileResponse:
        return _of_report("report.css")

    @app.get("/sort.js", include_in_schema=False)
    def sort_js() -> FileResponse:
        return _of_report("sort.js")

    for section in (networks, look, digits, runs, claims):
        app.include_router(section.router(explorer))
    return app


def _of_report(name: str) -> FileResponse:
    """A file that the report puts into its page."""
    return FileResponse(Path(str(resources.files("convbench.report").joinpath("templates", name))))


async def _told(request: Request, error: Exception) -> Response:
    """convbench's own errors, each with the status that it stands for."""
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, BusyError) else {}
    kinds = ((BusyError, 503), (MissingError, 404), (RequestError, 400))
    status = next((status for kind, status in kinds if isinstance(error, kind)), 422)
    return _error(request, status, str(error), headers)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _error(request, 422, f"{where}: {first['msg']}")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = "nothing is here" if error.status_code == 404 else error.detail
    return _error(request, error.status_code, found, dict(error.headers or {}))


def _error(request: Request, status: int, line: str, headers: dict[str, str] | None = None) -> Response:
    """One line: as JSON for scripts, as a page for people."""
    if request.url.path.startswith(("/api/", "/static/")):
        return JSONResponse({"error": line}, status, headers)
    section = request.url.path.split("/")[1]
    answer = page("error.html.j2", section, "Not to be had", status=status, line=line)
    answer.headers.update(headers or {})
    return answer
