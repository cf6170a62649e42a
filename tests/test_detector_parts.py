"""What a detector costs, part by part: sums are the whole's, and Faster R-CNN's are table 13's."""

from __future__ import annotations

import pytest
import torch

from convbench.counting import trace
from convbench.detection.parts import BACKBONE, REGIONS, detector_cost, open_on_meta, split_cost
from convbench.detection.registry import build_detector, names

PRINTED = {  # of the MobileNet paper's table 13: thousand million multiply-adds at 300 and 600, million parameters
    "faster_rcnn_vgg16": (64.3, 149.6, 138.5),
    "faster_rcnn_inception_v2": (118.2, 129.6, 13.3),
    "faster_rcnn_mobilenet_v1": (25.2, 30.5, 6.1),
}


@pytest.mark.parametrize("name", names())
def test_the_parts_are_the_whole(name: str) -> None:
    cost = detector_cost(open_on_meta(name, num_classes=7))
    parts = split_cost(cost)
    assert (sum(one.params for one in parts), sum(one.macs for one in parts)) == (cost.params, cost.macs)
    with torch.device("meta"):
        net = build_detector(name, num_classes=7)
    assert cost.params == sum(one.numel() for one in net.parameters())
    backbone = next(part for part in parts if part.name == BACKBONE)
    assert backbone.params == sum(one.numel() for one in net.get_submodule("trunk").parameters())
    if name.startswith("ssd"):
        assert cost.macs == trace(net, (3, 300, 300)).macs


@pytest.mark.parametrize("name", PRINTED)
def test_faster_rcnns_are_table_13s(name: str) -> None:
    *macs, params = PRINTED[name]
    for side, printed in zip((300, 600), macs, strict=True):
        cost = detector_cost(open_on_meta(name, side=side))
        assert cost.macs / 1e9 == pytest.approx(printed, abs=0.06)
        assert cost.params / 1e6 == pytest.approx(params, abs=0.05)
        (head,) = (part for part in split_cost(cost) if part.name == REGIONS)
        assert head.times == 300 and head.macs % 300 == 0
