"""The claims ledger as data: `published/*.toml`, the papers' figures and every number of the lecture deck.

A paper's file holds `paper` and `figures`. The deck's holds `sections`, each a part of a slide whose claims share what
is written once: a claim takes from its section every key that it does not give itself.
"""

from __future__ import annotations

from dataclasses import field
from functools import cache
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from convbench.errors import RequestError, unknown
from convbench.schema import packaged, parse, read_toml

Verdict = Literal["right", "wrong", "ambiguous"]
Confidence = Literal["verified", "recalled", "computed"]
STRICT = ConfigDict(extra="forbid")
SHARED = ("slide", "kind", "verdict", "reason", "source", "confidence")  # what claims take from their section


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Paper:
    """Where figures come from. year: first public; the venue ends in the year of publication."""

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Figure:
    """One published number.

    network: a registered name where convbench builds it, else a free label
    metric: top1_error, top5_error, error (percent), params, macs, connections (absolute), ...
    data, protocol: what it was measured on, and how; empty for counts
    printed, rounding: as the source prints it, and how it rounded where that is not to the nearest
    note: why our count differs, or what else to know
    layer, image_size, num_classes, auxiliary: what of the network was counted, where not all of the published one;
        auxiliary heads only where said
    unit: of the printed number, where its letter does not say it (K of 1024)
    """

    network: str
    metric: str
    value: float
    data: str
    protocol: str
    source: str
    confidence: Confidence
    printed: str = ""
    rounding: str = ""
    note: str = ""
    layer: str = ""
    image_size: int | None = None
    num_classes: int | None = None
    auxiliary: bool = False
    unit: float | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Reading:
    """What a claim's number can be compared with: a count of one of our networks, or a figure of a paper.

    quantity: a name of `quantities.QUANTITIES`
    network, layer, part: what is counted; part is "conv" or "fc", by default both and everything else
    minus, per: another network, whose count is subtracted or divided by
    paper, metric, data, protocol, source: which of a paper's figures
    kernel, row, kernels: further arguments of single quantities
    unit: of the deck's number, where its letter does not say it; 1 by default
    rounding: "truncated" or "2 significant digits"; by default to the nearest, at the digits that the deck prints
    """

    quantity: str
    network: str = ""
    layer: str = ""
    part: Literal["", "conv", "fc"] = ""
    image_size: int | None = None
    num_classes: int | None = None
    auxiliary: bool = False
    minus: str = ""
    per: str = ""
    paper: str = ""
    metric: str = ""
    data: str = ""
    protocol: str = ""
    source: str = ""
    kernel: str = ""
    row: int = 0
    kernels: tuple[int, ...] = ()
    unit: float | None = None
    rounding: str = ""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Claim:
    """One thing that the deck says.

    kind: a "statement", one of the audited sentences, tables and single numbers, or a "detail", any further number
    deck, correct: what the deck says, and what is so where no reading computes it
    recompute: its readings. The claim is right where all agree with the deck, wrong where none does, else ambiguous
    parts: patterns of the ids of the claims that it sums up, by the same rule, in place of readings
    really: what a wrong number of the deck is instead
    verdict: as expected; where there is nothing to compute, as judged
    """

    id: str
    slide: str
    kind: Literal["statement", "detail"]
    says: str
    deck: str
    verdict: Verdict
    reason: str
    source: str
    confidence: Confidence
    correct: str = ""
    recompute: tuple[Reading, ...] = ()
    parts: tuple[str, ...] = ()
    really: tuple[Reading, ...] = ()

    @property
    def networks(self) -> set[str]:
        """The networks that it is compared with, or confused with."""
        readings = (*self.recompute, *self.really)
        return {name for one in readings for name in (one.network, one.minus, one.per) if name}

    def __post_init__(self) -> None:
        if not (self.correct or self.recompute or self.parts):
            raise RequestError(f"claim {self.id}: expected correct, recompute or parts, found none")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Section:
    """A part of a slide. recompute: keys that every reading of its claims takes where it does not give them."""

    slide: str
    kind: Literal["statement", "detail"] = "detail"
    verdict: Verdict = "right"
    reason: str = ""
    source: str = ""
    confidence: Confidence = "verified"
    recompute: dict[str, Any] = field(default_factory=dict)
    claims: tuple[dict[str, Any], ...] = Field(min_length=1)


@cache
def read_claims() -> tuple[Claim, ...]:
    """The deck's claims in the order of its slides; RequestError says what is wrong in the file."""
    _, content = read_toml("deck", "published")
    claims: list[Claim] = []
    for number, table in enumerate(content["sections"], 1):
        section = parse(Section, table, f"deck: section {number}")
        shared = {key: getattr(section, key) for key in SHARED}
        for entry in section.claims:
            readings = [section.recompute | one for one in _several(entry.get("recompute", []))]
            own = entry | {"recompute": readings, "really": _several(entry.get("really", []))}
            claims.append(parse(Claim, shared | own, f"deck: {entry.get('id', section.slide)}"))
    seen: set[str] = set()
    for claim in claims:
        if claim.id in seen:
            raise RequestError(f"deck: expected each id once, found {claim.id} again")
        seen.add(claim.id)
    return tuple(claims)


def _several(readings: Any) -> list[dict[str, Any]]:
    """A single reading may stand without the brackets of a list."""
    return [readings] if isinstance(readings, dict) else list(readings)


@cache
def read_figures() -> dict[str, tuple[Figure, ...]]:
    """The figures of each paper, by the name of its file."""
    contents = {name: read_toml(name, "published")[1] for name in packaged("published")}
    return {
        name: tuple(
            parse(Figure, one, f"{name}: {one.get('network')} {one.get('metric')}") for one in content["figures"]
        )
        for name, content in contents.items()
        if "figures" in content
    }


@cache
def read_paper(name: str) -> Paper:
    """The paper of the file `name`."""
    return parse(Paper, read_toml(name, "published")[1]["paper"], name)


def find_figure(reading: Reading) -> Figure:
    """The figure that a reading names; RequestError unless it is exactly one."""
    papers = read_figures()
    if reading.paper not in papers:
        raise unknown("paper", reading.paper, papers)
    keys = ("network", "metric", "data", "protocol", "source")
    wanted = {key: getattr(reading, key) for key in keys if getattr(reading, key)}
    found = [one for one in papers[reading.paper] if all(getattr(one, key) == wanted[key] for key in wanted)]
    if len(found) != 1:
        raise RequestError(f"{reading.paper}: expected one figure of {wanted}, found {len(found)}")
    return found[0]
