"""The deck's and the papers' numbers beside what the networks here count, and what trainings here say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from convbench.claims import ClaimResult, Decision, FigureResult, Trial, check_claims, check_figures, read_trials
from convbench.claims.check import VERDICTS
from convbench.claims.ledger import read_claims
from convbench.errors import unknown
from convbench.models import names
from convbench.report.drawing import Figure, figure_of
from convbench.report.trial_charts import trial_curves, trial_ends
from convbench.web.explorer import Explorer
from convbench.web.pages import page

Choice = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True)
class Row:
    """One claim; networks: those that it is about, and whether each has a page."""

    claim: ClaimResult
    networks: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Slide:
    """The claims of one slide; counts: how many have each verdict that one has."""

    title: str
    rows: tuple[Row, ...]
    counts: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Audit:
    """How far the check is: the claims of the slides that are checked, and the papers' counts at the end.

    problem: why something could not be checked, one line
    """

    rows: tuple[Row, ...]
    done: int
    figures: tuple[FigureResult, ...] | None
    problem: str

    @property
    def whole(self) -> bool:
        return self.figures is not None or bool(self.problem)


@dataclass(frozen=True)
class Decided:
    """A statement on two runs, as text."""

    says: str
    better: str
    worse: str
    difference: str
    interval: str
    seeds: int
    verdict: str


@dataclass(frozen=True)
class Tried:
    """One trial: what was decided, and its charts."""

    trial: Trial
    minutes: float
    decisions: tuple[Decided, ...]
    curves: Figure
    ends: Figure


def router(explorer: Explorer) -> APIRouter:
    """The page of claims."""
    pages = APIRouter()
    titles = tuple(dict.fromkeys(claim.slide for claim in read_claims()))
    networks = {claim.id: sorted(claim.networks) for claim in read_claims()}
    choices: dict[str, Sequence[str]] = {
        "slide": titles,
        "verdict": VERDICTS,
        "network": sorted({name for found in networks.values() for name in found}),
    }
    known = set(names())

    async def audit() -> Audit:
        """Slide by slide, each once."""
        rows, done, problem = list[Row](), 0, ""
        for title in titles:
            made = await explorer.audit.get(title, None, partial(check_slide, title), patience=0)
            done, problem = done + made.whole, problem or made.problem
            rows += [Row(one, tuple((name, name in known) for name in networks[one.id])) for one in made.value or ()]
        figures = await explorer.audit.get("figures", None, check_figures)
        return Audit(tuple(rows), done, tuple(figures.value) if figures.value else None, problem or figures.problem)

    @pages.get("/claims", include_in_schema=False)
    async def claims(slide: Choice = "", verdict: Choice = "", network: Choice = "") -> HTMLResponse:
        chosen = {"slide": slide, "verdict": verdict, "network": network}
        for what, value in chosen.items():
            if value and value not in choices[what]:
                raise unknown(what, value[:80], choices[what])
        audited = await audit()
        tried = await explorer.workshop.get("trials", None, describe_trials)
        found = [row for row in audited.rows if _is_chosen(row, chosen)]
        values: dict[str, Any] = {
            "choices": choices,
            "chosen": chosen,
            "audited": audited,
            "tried": tried,
            "slides": _slides(found),
            "totals": totals([row.claim for row in found]),
            "count": len(found),
        }
        unfinished = not (audited.whole and tried.whole)
        return await explorer.quick.do(
            lambda: page("claims.html.j2", "claims", "Claims", unfinished=unfinished, **values)
        )

    return pages


def check_slide(title: str) -> list[ClaimResult]:
    """The claims of one slide, checked."""
    return [one for one in check_claims(slide=title) if one.slide == title]  # which takes parts of titles


def describe_trials() -> list[Tried]:
    """Those that are kept with the program, with their charts."""
    return [_tried(trial) for trial in read_trials()]


def totals(claims: Sequence[ClaimResult]) -> tuple[tuple[str, int], ...]:
    """How many have each verdict."""
    counts = Counter[str](one.verdict for one in claims)
    return tuple((verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict])


def _is_chosen(row: Row, chosen: dict[str, str]) -> bool:
    slide, verdict, network = chosen["slide"], chosen["verdict"], chosen["network"]
    return (
        slide in ("", row.claim.slide)
        and verdict in ("", row.claim.verdict)
        and (not network or network in {name for name, _ in row.networks})
    )


def _slides(rows: Sequence[Row]) -> list[Slide]:
    found = []
    for title, group in groupby(rows, key=lambda row: row.claim.slide):
        of_slide = tuple(group)
        found.append(Slide(title, of_slide, totals([row.claim for row in of_slide])))
    return found


def _tried(trial: Trial) -> Tried:
    seconds = sum(outcome.seconds for outcomes in trial.runs.values() for outcome in outcomes)
    return Tried(
        trial,
        seconds / 60,
        tuple(_decided(one) for one in trial.decisions),
        figure_of(partial(trial_curves, trial)),
        figure_of(partial(trial_ends, trial)),
    )


def _decided(one: Decision) -> Decided:
    unit = "passes" if one.metric == "epochs" else "points"
    better, worse = (f"{sum(values) / len(values):.2f}" for values in (one.better, one.worse))
    bounded = math.isfinite(one.low) and math.isfinite(one.high)
    interval = f"{one.low:+.2f} to {one.high:+.2f}" if bounded else "unbounded"
    return Decided(one.says, better, worse, f"{one.difference:+.2f} {unit}", interval, len(one.better), one.verdict)
