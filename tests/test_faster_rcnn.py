"""Faster R-CNNs: as large and as costly as the MobileNet paper's table 13 says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, nn

from convbench.counting import trace
from convbench.detection.faster_rcnn import (
    FasterRCNN,
    faster_rcnn_inception_v2,
    faster_rcnn_mobilenet_v1,
    faster_rcnn_vgg16,
)

PROPOSALS = 300
TABLE = {  # million parameters, thousand million multiply-adds at 300 and at 600 pixels, as printed
    "vgg16": (faster_rcnn_vgg16, 138.5, (64.3, 149.6)),
    "inception_v2": (faster_rcnn_inception_v2, 13.3, (118.2, 129.6)),
    "mobilenet_v1": (faster_rcnn_mobilenet_v1, 6.1, (25.2, 30.5)),
}


class Map(nn.Module):
    """The trunk's one map as such."""

    def __init__(self, net: FasterRCNN) -> None:
        super().__init__()
        self.trunk = net.trunk

    def forward(self, images: Tensor) -> Tensor:
        maps: list[Tensor] = self.trunk(images)
        return maps[-1]


@pytest.mark.parametrize("name", TABLE)
def test_the_counts_are_table_13s(name: str) -> None:
    make: Callable[[], FasterRCNN]
    make, params, macs = TABLE[name]
    net = make()
    assert sum(one.numel() for one in net.parameters()) / 1e6 == pytest.approx(params, abs=0.05)
    head = trace(net.head, (net.channels, net.region, net.region)).macs
    for side, published in zip((300, 600), macs, strict=True):
        trunk = trace(Map(net), (3, side, side))
        shape = trunk.rows[-1].output_shape
        total = trunk.macs + trace(net.proposals, shape).macs + PROPOSALS * head
        assert total / 1e9 == pytest.approx(published, abs=0.1), side
