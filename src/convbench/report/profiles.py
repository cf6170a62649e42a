"""What a record says of a network that was costed and measured: the typed, checked part of it that a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import FiniteFloat

Verdict = Literal["right", "wrong", "ambiguous"]


@dataclass(frozen=True)
class Counts:
    """A network's size for one image; layers and depth along the longest path, as the names of networks count them."""

    input_shape: tuple[int, int, int]
    depth: int
    conv_layers: int
    full_layers: int
    kernels: str
    params: int
    conv_params: int
    full_params: int
    macs: int
    conv_macs: int
    full_macs: int


@dataclass(frozen=True)
class Cell:
    """One number of the lecture deck about the network, and the truth.

    own: it stands in the network's own row; by mistake some numbers stand in another network's
    """

    column: str
    own: bool
    says: str
    deck: str
    truth: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch; `interval` is of the median, p50."""

    p50: FiniteFloat
    p95: FiniteFloat
    interval: tuple[FiniteFloat, FiniteFloat]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as eager, measured in pairs."""

    value: FiniteFloat
    interval: tuple[FiniteFloat, FiniteFloat]


@dataclass(frozen=True)
class Timed:
    """One engine at one batch size. `reason` says why there are no times where the status is not "ok"."""

    engine: str
    batch_size: int
    status: Literal["ok", "failed", "missing"]
    reason: str | None = None
    latency_ms: Latency | None = None
    images_per_s: FiniteFloat | None = None
    ratio_to_eager: Ratio | None = None

    def __post_init__(self) -> None:
        if self.status == "ok" and self.latency_ms is None:
            raise ValueError("an engine whose status is ok has `latency_ms`")


@dataclass(frozen=True)
class Load:
    """`other`: percent of the machine's time that other work took meanwhile; None where the system does not tell."""

    other: FiniteFloat | None = None


@dataclass(frozen=True)
class Conditions:
    """Under which the times were taken."""

    load: Load


@dataclass(frozen=True)
class MeasuredNetwork:
    """The network that was measured; weights: "initial", which no training touched, "its own", or a file's name"""

    weights: str


@dataclass(frozen=True)
class Measurements:
    """Of all engines and batch sizes that the suite asks for."""

    machine: Conditions
    results: tuple[Timed, ...]
    networks: tuple[MeasuredNetwork, ...] = ()

    @property
    def weights(self) -> str:
        """Whose weights were measured: "initial", or the file's name."""
        return self.networks[0].weights if self.networks else "initial"

    def fastest(self, batch_size: int) -> Timed | None:
        """The engine with the lowest median at this batch size, among those whose answers are eager's."""
        return min(self._timed(batch_size), key=median, default=None)

    def eager(self, batch_size: int) -> Timed | None:
        return next((one for one in self._timed(batch_size) if one.engine == "eager"), None)

    def _timed(self, batch_size: int) -> list[Timed]:
        return [one for one in self.results if one.status == "ok" and one.batch_size == batch_size]


@dataclass(frozen=True)
class Profile:
    """What a network costs, what the deck says that it costs, and how fast it is."""

    counts: Counts
    deck: tuple[Cell, ...]
    measurements: Measurements


def median(timed: Timed) -> float:
    """Milliseconds of a batch, the median."""
    assert timed.latency_ms is not None
    return timed.latency_ms.p50
