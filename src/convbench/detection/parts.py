"""What a detector costs, part by part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convbench.counting import trace
from convbench.detection.detector import Detector
from convbench.detection.faster_rcnn import FasterRCNN
from convbench.detection.proposals import TESTING
from convbench.detection.registry import build_detector

BACKBONE, EXTRA, HEADS = "backbone", "extra layers", "heads"
PROPOSALS, REGIONS = "proposal network", "head of a region"


@dataclass(frozen=True)
class Part:
    """params; macs: of one image, multiply-adds; times: how often the part runs for it, which `macs` holds already"""

    name: str
    params: int
    macs: int
    times: int = 1


@dataclass(frozen=True)
class DetectorCost:
    """Counted for one image by `counting.trace`; decoding and suppression of boxes multiply next to nothing."""

    name: str
    side: int
    parts: tuple[Part, ...]

    @property
    def params(self) -> int:
        return sum(part.params for part in self.parts)

    @property
    def macs(self) -> int:
        return sum(part.macs for part in self.parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        parts = [{"name": one.name, "params": one.params, "macs": one.macs, "times": one.times} for one in self.parts]
        return {"name": self.name, "side": self.side, "params": self.params, "macs": self.macs, "parts": parts}


class _Trunk(nn.Module):
    """A detector's trunk, whose only map is its output."""

    def __init__(self, net: FasterRCNN) -> None:
        super().__init__()
        self.trunk = net.trunk

    def forward(self, images: Tensor) -> Tensor:
        maps: list[Tensor] = self.trunk(images)
        return maps[-1]


def count_detector(name: str, **arguments: Any) -> DetectorCost:
    """The detector of that name, by its parts; of Faster R-CNN, the head on as many regions as it proposes at most.

    arguments: as `build_detector` takes them

    >>> count_detector("ssd300_mobilenet_v1").params
    6819839
    """
    with torch.device("meta"):
        net = build_detector(name, **arguments)
    parts = _of_regions(net) if isinstance(net, FasterRCNN) else _of_heads(net, name)
    return DetectorCost(name, net.side, parts)


def _of_heads(net: Detector, name: str) -> tuple[Part, ...]:
    """SSD's, in one trace: rows are told apart by the names of their modules."""
    cost = trace(net, (3, net.side, net.side), name)
    assert not cost.unknown, f"no rule counts {cost.unknown}"
    totals = {part: [0, 0] for part in (BACKBONE, EXTRA, HEADS)}
    for row in cost.rows:
        part = {"trunk": BACKBONE, "extras": EXTRA}.get(row.name.partition(".")[0], HEADS)
        totals[part][0] += row.params
        totals[part][1] += row.macs
    return tuple(Part(part, params, macs) for part, (params, macs) in totals.items())


def _of_regions(net: FasterRCNN) -> tuple[Part, ...]:
    trunk = trace(_Trunk(net), (3, net.side, net.side))
    proposals = trace(net.proposals, trunk.rows[-1].output_shape)
    head = trace(net.head, (net.channels, net.region, net.region))
    assert not (trunk.unknown or proposals.unknown or head.unknown)
    times = TESTING.after
    return (
        Part(BACKBONE, trunk.params, trunk.macs),
        Part(PROPOSALS, proposals.params, proposals.macs),
        Part(REGIONS, head.params, times * head.macs, times),
    )
