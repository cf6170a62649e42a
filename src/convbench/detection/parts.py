"""What a detector costs, and which of its parts costs it.

A detector of one stage is counted in one pass. Of Faster R-CNN each network is counted by itself, the last one with all
proposals at once: how many regions a trunk's map gives to look at is the detector's to say, not the image's. What lies
between the networks (aligning regions, choosing boxes) multiplies no weights and is no part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from convbench.counting import Cost, Row, trace
from convbench.detection.detector import Detector
from convbench.detection.faster_rcnn import FasterRCNN
from convbench.detection.proposals import TESTING
from convbench.detection.registry import build_detector
from convbench.errors import RequestError

BACKBONE, EXTRA, HEADS, RPN, REGIONS = "backbone", "extra layers", "heads", "RPN", "per-proposal head"
PARTS = {  # a detector's children -> the parts that they are
    "trunk": BACKBONE,
    "norms": EXTRA,
    "extras": EXTRA,
    "box_heads": HEADS,
    "class_heads": HEADS,
    "proposals": RPN,
    "head": REGIONS,
}


@dataclass(frozen=True)
class Part:
    """One part of a detector. times: how often it runs for an image; macs: of all these times together"""

    name: str
    params: int
    macs: int
    times: int = 1


def open_on_meta(name: str, **arguments: Any) -> Detector:
    """A detector on `meta` tensors, without memory or initial weights; RequestError as of `build_detector`."""
    with torch.device("meta"):
        return build_detector(name, **arguments)


def detector_cost(net: Detector, name: str = "", proposals: int = TESTING.after) -> Cost:
    """Every layer of a detector for one image of its side; layers after the trunk's are named by their part.

    proposals: regions of an image that a detector of two stages looks at

    >>> detector_cost(open_on_meta("ssd300_mobilenet_v1")).macs
    1237129408
    """
    name, shape = name or type(net).__name__, (3, net.side, net.side)
    if not isinstance(net, FasterRCNN):
        return trace(net, shape, name)
    if proposals < 1:
        raise RequestError(f"{name} looks at 1 proposal or more, found {proposals}")
    trunk = trace(net.trunk, shape, name)
    first = trace(net.proposals, trunk.rows[-1].output_shape, name)
    regions = torch.empty(proposals, net.channels, net.region, net.region, device="meta")
    second = trace(net.head, tuple(regions.shape[1:]), name, inputs=(regions,))
    counted = {"trunk": trunk, "proposals": first, "head": second}
    rows = tuple(_of_part(child, row) for child, one in counted.items() for row in one.rows)
    cost = Cost(name, shape, rows, tuple(gap for one in counted.values() for gap in one.unknown))
    assert cost.params == sum(p.numel() for p in net.parameters())
    return cost


def split_cost(cost: Cost, proposals: int = TESTING.after) -> tuple[Part, ...]:
    """The parts of a `detector_cost`, which add up to it, in the order in which they run."""
    parts = dict[str, Part]()
    for row in cost.rows:
        name = PARTS.get(row.name.partition(".")[0], HEADS)  # SSD itself only puts its heads' answers together
        part = parts.get(name, Part(name, 0, 0, proposals if name == REGIONS else 1))
        parts[name] = replace(part, params=part.params + row.params, macs=part.macs + row.macs)
    return tuple(parts.values())


def _of_part(child: str, row: Row) -> Row:
    """A row of one of the networks, named as in the detector; only the trunk's sees what it seems to of the image."""
    name = child if row.name == "(net)" else f"{child}.{row.name}"
    return replace(row, name=name, receptive_field=row.receptive_field if child == "trunk" else None)
