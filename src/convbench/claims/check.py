"""The claims of the deck and the figures of the papers, each compared with what the networks here really count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from convbench.claims.ledger import Claim, Figure, Reading, Verdict, read_claims, read_figures
from convbench.claims.quantities import compute, is_published
from convbench.errors import RequestError, unknown
from convbench.models import names
from convbench.notebook import table

SCALES = {"K": 10**3, "M": 10**6, "G": 10**9, "THOUSAND": 10**3, "MILLION": 10**6, "BILLION": 10**9}
PRINTED = re.compile(r"([\d,]*\.?\d+)\s*(thousand|million|billion|[KMG])?", re.IGNORECASE)
VERDICTS = ("right", "wrong", "ambiguous")
TOTALS = ("params", "weights", "macs", "activations", "activation_bytes")  # quantities of a whole network
COUNTED_METRICS = ("params", "weights", "macs", "connections")  # of figures: what can be counted


@dataclass(frozen=True)
class ClaimResult:
    """One claim of the deck after the check.

    published: the papers' figures that it was compared with, or what is so in words; counted: our counts, in the
        deck's unit; empty where there is none
    parts: how many of the claims that it sums up are right
    recomputed: whether the verdict comes from these figures and counts, not from judgement
    verdict: computed from the readings where there are any, else as judged; expected is the ledger's
    """

    id: str
    slide: str
    kind: str
    says: str
    deck: str
    published: str
    counted: str
    recomputed: bool
    verdict: Verdict
    expected: Verdict
    reason: str
    source: str
    confidence: str
    parts: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Claims(list[ClaimResult]):
    """Checked claims, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [(one.slide, one.says, one.deck, one.counted or one.published, one.verdict, one.reason) for one in self]
        counts = Counter[str](one.verdict for one in self)
        caption = f"{len(self)} claims: {', '.join(f'{counts[one]} {one}' for one in VERDICTS)}"
        return table(caption, ("slide", "claim", "deck", "so it is", "verdict", "reason"), rows)


@dataclass(frozen=True)
class FigureResult:
    """A published count of a registered network beside ours.

    agrees: ours is the printed figure after its rounding; otherwise `note` says why it is not
    """

    paper: str
    network: str
    metric: str
    what: str
    published: str
    counted: str
    agrees: bool
    note: str
    source: str
    confidence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def check_claims(*, slide: str | None = None, verdict: str | None = None, network: str | None = None) -> Claims:
    """The claims of the deck, recomputed where they can be, in the order of the slides: all by default.

    Args:
        slide: of slides whose title contains this, whatever the case
        verdict: with this one: right, wrong or ambiguous
        network: compared with this one, or mistaken for it

    Raises RequestError for a slide, verdict or network that no claim has.
    """
    if verdict not in (None, *VERDICTS):
        raise unknown("verdict", str(verdict), VERDICTS)
    claims = read_claims()
    if slide is not None:
        titles = dict.fromkeys(claim.slide for claim in claims)
        claims = tuple(claim for claim in claims if slide.casefold() in claim.slide.casefold())
        if not claims:
            raise unknown("slide", slide, titles)
    if network is not None:
        of_all = {name for claim in claims for name in claim.networks}
        claims = tuple(claim for claim in claims if network in claim.networks)
        if not claims:
            raise unknown("network with claims", network, of_all)
    results = [_check_parts(claim) if claim.parts else _check(claim) for claim in claims]
    return Claims(one for one in results if verdict in (None, one.verdict))


def check_totals(network: str) -> list[ClaimResult]:
    """The deck's claims on the counts of a whole network; none for a network that it does not count."""
    return [
        _check(claim)
        for claim in read_claims()
        if any(
            one.network == network and one.quantity in TOTALS and not (one.layer or one.minus or one.per)
            for one in claim.recompute
        )
    ]


def check_figures(network: str | None = None) -> list[FigureResult]:
    """Every published count of parameters, multiply-adds or connections of the networks here, or of one of them.

    Raises RequestError for an unknown network.
    """
    if network not in (None, *names()):
        raise unknown("network", str(network), names())
    registered = set(names()) if network is None else {network}
    return [
        _check_figure(paper, figure)
        for paper, figures in read_figures().items()
        for figure in figures
        if figure.network in registered and figure.metric in COUNTED_METRICS
    ]


def agrees(printed: str, exact: float | str, *, unit: float | None = None, rounding: str = "") -> bool:
    """Whether `exact` is what was `printed`, at the printed digits.

    Args:
        printed: "15.3", "3.2M", "about 1.2 million", or a text
        exact: a number in units of one, or a text that is then compared without regard to case and spaces
        unit: of the printed number; by default what its letter says, else 1
        rounding: "truncated", or "2 significant digits"; by default to the nearest

    >>> agrees("15.3", 15_346_630_656, unit=1e9), agrees("150K", 150_528, rounding="2 significant digits")
    (True, True)
    """
    if isinstance(exact, str):
        return _plain(printed) == _plain(exact)
    number, scale = read_number(printed)
    scaled = Decimal(str(exact)) / Decimal(str(unit or scale))
    if rounding == "truncated" or not rounding:
        step = Decimal(1).scaleb(min(int(number.as_tuple().exponent), 0))
        rounded = scaled.quantize(step, ROUND_DOWN if rounding else ROUND_HALF_UP)
    else:
        digits = int(rounding.split()[0])
        rounded = scaled.quantize(Decimal(1).scaleb(scaled.adjusted() - digits + 1), ROUND_HALF_UP)
    return rounded == number


def read_number(printed: str) -> tuple[Decimal, int]:
    """(number, unit) of the first number in a text; RequestError where there is none.

    >>> read_number("about 1.2 million")
    (Decimal('1.2'), 1000000)
    """
    match = PRINTED.search(printed)
    if match is None:
        raise RequestError(f"expected a number, such as 138M or 15.3, found {printed!r}")
    digits, letter = match.groups()
    return Decimal(digits.replace(",", "")), SCALES[letter.upper()] if letter else 1


def combine(agreeing: Sequence[bool]) -> Verdict:
    """Right where all agree, wrong where none does, ambiguous where some do."""
    return "right" if all(agreeing) else "ambiguous" if any(agreeing) else "wrong"


@cache
def _check(claim: Claim) -> ClaimResult:
    agreeing: list[bool] = []
    published, counted = [claim.correct] if claim.correct else [], list[str]()
    for reading in claim.recompute:
        value, of_paper = compute(reading), is_published(reading)
        agreeing.append(agrees(claim.deck, value, unit=reading.unit, rounding=reading.rounding))
        (published if of_paper else counted).append(_shown(claim.deck, value, reading.unit, exact=of_paper))
    return _result(claim, published, counted, combine(agreeing) if agreeing else claim.verdict)


def _check_parts(claim: Claim) -> ClaimResult:
    parts = [
        _check(one)
        for one in read_claims()
        if not one.parts and any(fnmatchcase(one.id, pattern) for pattern in claim.parts)
    ]
    if not parts:
        raise RequestError(f"claim {claim.id}: no claim's id matches {', '.join(claim.parts)}")
    verdicts = [one.verdict for one in parts]
    verdict = verdicts[0] if len(set(verdicts)) == 1 else "ambiguous"
    return replace(_result(claim, [], [], verdict), parts=f"{verdicts.count('right')} of {len(parts)} right")


def _result(claim: Claim, published: list[str], counted: list[str], verdict: Verdict) -> ClaimResult:
    return ClaimResult(
        id=claim.id,
        slide=claim.slide,
        kind=claim.kind,
        says=claim.says,
        deck=claim.deck,
        published="; ".join(dict.fromkeys(published)),
        counted="; ".join(dict.fromkeys(counted)),
        recomputed=bool(claim.recompute or claim.parts),
        verdict=verdict,
        expected=claim.verdict,
        reason=claim.reason,
        source=claim.source,
        confidence=claim.confidence,
    )


def _check_figure(paper: str, figure: Figure) -> FigureResult:
    of = {key: getattr(figure, key) for key in ("network", "layer", "image_size", "num_classes", "auxiliary")}
    exact = compute(Reading(quantity=figure.metric, **of))
    printed = figure.printed or f"{figure.value:,.0f}"
    return FigureResult(
        paper=paper,
        network=figure.network,
        metric=figure.metric,
        what=", ".join(part for part in (figure.layer, figure.protocol, "auxiliary heads" * figure.auxiliary) if part),
        published=printed,
        counted=f"{exact:,}",
        agrees=agrees(printed, exact, unit=figure.unit, rounding=figure.rounding),
        note=figure.note,
        source=figure.source,
        confidence=figure.confidence,
    )


def _shown(deck: str, value: float | str, unit: float | None, *, exact: bool) -> str:
    """A value in the deck's unit: a figure with all its digits, a count with one more than the deck has, or three."""
    if isinstance(value, str):
        return value
    number, scale = read_number(deck)
    scaled = Decimal(f"{value / (unit or scale):.10g}")
    digits, deck_digits = (max(0, -int(one.as_tuple().exponent)) for one in (scaled, number))
    shown = max(digits, deck_digits) if exact else min(digits, max(deck_digits + 1, 2 - scaled.adjusted()))
    return f"{scaled:,.{shown}f}"


def _plain(text: str) -> str:
    """A text as compared: no case, no spaces, and a vector's shape as its length."""
    return text.casefold().replace(" ", "").replace("×", "x").removeprefix("1x1x")
