"""What measuring yields: plain records of what ran how fast, with what else is needed to judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from convbench.notebook import figure, interval, table
from convbench.timing.clock import Ratio, Timing
from convbench.timing.fidelity import Fidelity
from convbench.timing.load import Load
from convbench.timing.machine import Limits, describe_machine, library_versions
from convbench.timing.roofline import Placement


@dataclass(frozen=True)
class LayerTime:
    """One layer of a measured network: milliseconds of a batch, share of the sum, and its place on the roofline."""

    name: str
    kind: str
    ms: float
    share: float
    roofline: Placement | None


@dataclass(frozen=True)
class Measurement:
    """One network by one engine at one batch size.

    status: "ok", "failed" (its outputs are not eager's, or it cannot run the network) or "missing" (not on this
        machine); `reason` says why. What follows is None unless "ok", but for a failed engine's fidelity
    latency_ms: of a batch
    peak_memory_mib: by which this process grew at its peak, from before the engine's preparation to its answers
    prepare_s: conversion and compilation
    ratio_to_eager: how many times faster, paired round by round
    roofline: of the whole network
    """

    network: str
    engine: str
    precision: str
    batch_size: int
    input_shape: tuple[int, ...]
    status: Literal["ok", "failed", "missing"] = "ok"
    reason: str = ""
    fidelity: Fidelity | None = None
    latency_ms: Timing | None = None
    peak_memory_mib: float | None = None
    prepare_s: float | None = None
    ratio_to_eager: Ratio | None = None
    roofline: Placement | None = None
    layers: tuple[LayerTime, ...] = ()

    @property
    def images_per_s(self) -> float | None:
        return 1000 * self.batch_size / self.latency_ms.p50 if self.latency_ms else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "images_per_s": self.images_per_s}

    def _repr_html_(self) -> str:
        """The figures in a notebook."""
        return as_html([self])


@dataclass(frozen=True)
class Measurements:
    """Results in the order network, batch size, engine; the machine, its limits, and what else kept it busy."""

    subjects: tuple[dict[str, Any], ...]
    results: tuple[Measurement, ...]
    limits: Limits
    load: Load
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        machine = {**describe_machine(), "threads": torch.get_num_threads(), "versions": library_versions()}
        about = {"limits": asdict(self.limits), "load": asdict(self.load), "seconds": self.seconds}
        return {
            "machine": {**machine, **about},
            "networks": list(self.subjects),
            "results": [one.to_dict() for one in self.results],
        }

    def _repr_html_(self) -> str:
        """The figures in a notebook, with what else kept the machine busy."""
        return as_html(self.results, f"other work: {figure(self.load.other, 0)} % of all cores")


def as_html(results: Sequence[Measurement], note: str = "") -> str:
    """A table for notebooks; of what was not timed, the reason."""
    rows = [
        (
            *(one.network, one.engine, one.batch_size),
            *((figure(one.latency_ms.p50), interval(one.latency_ms.interval)) if one.latency_ms else (one.reason, "")),
            *(figure(one.images_per_s, 0), figure(one.ratio_to_eager.value if one.ratio_to_eager else None)),
            f"{one.fidelity.top1_agreement:.0f} %" if one.fidelity else None,
        )
        for one in results
    ]
    headings = ("network", "engine", "batch", "ms", "interval", "images/s", "x eager", "same answers")
    return table("latency of a batch on this machine, the median call", headings, rows, note)
