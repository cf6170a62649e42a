"""What an answer that is none looks like to scripts, as their description says it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

TOLD = {
    400: "Wrong request",
    404: "Not here",
    413: "Too many bytes",
    422: "Cannot be worked on",
    503: "Busy: ask again, after the seconds that Retry-After says",
}


class Problem(BaseModel):
    """What is wrong, in one line."""

    error: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that tell of a problem, for an endpoint's description."""
    return {status: {"model": Problem, "description": TOLD[status]} for status in statuses}
