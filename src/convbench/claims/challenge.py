"""The entries of the ImageNet challenge year by year, from the ledger."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from convbench.claims.addresses import address_of
from convbench.claims.ledger import Confidence, read_figures

Kind = Literal["hand-made features", "networks", "person"]


@dataclass(frozen=True)
class Entry:
    """One entry's top-5 error in percent on the year's test images. won: it is the year's first in the ledger"""

    year: int
    name: str
    kind: Kind
    won: bool
    top5_error: float
    protocol: str
    source: str
    url: str | None
    confidence: Confidence


def read_challenge() -> tuple[Entry, ...]:
    """All entries, by year, the winner first; of an entry with several figures the first."""
    entries = dict[tuple[int, str], Entry]()
    years = set[int]()
    for one in read_figures()["ilsvrc"]:
        year = re.fullmatch(r"ILSVRC-(\d{4}) test", one.data)
        if one.metric != "top5_error" or year is None:
            continue
        key = int(year[1]), one.network
        if key not in entries:
            entries[key] = Entry(
                *key,
                kind=_kind(one.protocol),
                won=key[0] not in years,
                top5_error=one.value,
                protocol=one.protocol,
                source=one.source,
                url=address_of(one.source),
                confidence=one.confidence,
            )
            years.add(key[0])
    return tuple(sorted(entries.values(), key=lambda one: (one.year, not one.won)))


def _kind(protocol: str) -> Kind:
    if "human" in protocol:
        return "person"
    return "hand-made features" if "hand-made" in protocol else "networks"
