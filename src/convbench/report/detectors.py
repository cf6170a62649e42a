"""What a record says of a detector that was costed and measured: the typed, checked part of it that a report shows."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import FiniteFloat

from convbench.report.profiles import Measurements, Verdict


@dataclass(frozen=True)
class Part:
    """A part of a detector, which runs `times` for an image; macs are of all these times."""

    name: str
    params: int
    macs: int
    times: int


@dataclass(frozen=True)
class DeckFigure:
    """One number of the lecture deck about the detector. metric: "ap", "macs" or "params"; counted: "" of an ap"""

    metric: str
    says: str
    deck: str
    published: str
    counted: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Finds:
    """Of the image that was timed: regions looked at (None of one stage), boxes that were certain enough for the
    suppression, those that were found, and the milliseconds of all that follows the network's passes."""

    proposals: int | None
    candidates: int
    found: int
    ms: FiniteFloat


@dataclass(frozen=True)
class DetectorProfile:
    """What a detector costs, what the deck says that it costs, and how fast it is.

    family, backbone: such as "ssd" and "vgg16"; side: of its images, in pixels
    ap: ours, of weights that were trained here, percent; None where none were
    measurements, finds: None where it was counted alone
    """

    family: str
    backbone: str
    side: int
    num_classes: int
    parts: tuple[Part, ...]
    deck: tuple[DeckFigure, ...]
    ap: FiniteFloat | None
    measurements: Measurements | None
    finds: Finds | None

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts)

    @property
    def macs(self) -> int:
        return sum(part.macs for part in self.parts)

    def deck_figure(self, metric: str) -> DeckFigure | None:
        """The deck's number of this metric; None where it has none."""
        return next((one for one in self.deck if one.metric == metric), None)
