"""Faster R-CNN: a network proposes regions, the same network's maps say what is in them.

Ren et al., Faster R-CNN: Towards real-time object detection with region proposal networks, NIPS 2015, arXiv:1506.01497;
on VGG-16 as there (section 3.3), on Inception v2 and MobileNet as the Object Detection API has them: the trunk up to
stride 16, a region of 14 x 14 of its map, and the rest of the classification network on each region.

    network                       trunk up to     of each region
    faster_rcnn_vgg16             relu5_3         7 x 7 by RoI align, fc6, fc7
    faster_rcnn_inception_v2      inception_4d    14 x 14, inception_4e to 5b, mean
    faster_rcnn_mobilenet_v1      separable11     14 x 14, separable12 and 13, mean
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from convbench.detection.trunk import Trunk
from convbench.models import build

STRIDE = 16
ANCHOR_SIDES, RATIOS = (64, 128, 256, 512), (0.5, 1.0, 2.0)  # pixels of an image of 600


class ProposalNetwork(nn.Module):
    """3 x 3, ReLU, and at each place of the map an objectness and four codes for each anchor (section 3.1).

    It gives (n, places * anchors, 5): objectness and codes (x, y, width, height), place by place.
    """

    def __init__(self, channels: int, width: int, anchors: int) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()
        self.objectness = nn.Conv2d(width, 2 * anchors, 1)
        self.codes = nn.Conv2d(width, 4 * anchors, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        x = self.relu(self.conv(maps))
        scores, codes = (
            one.permute(0, 2, 3, 1).reshape(len(maps), -1, size)
            for one, size in ((self.objectness(x), 2), (self.codes(x), 4))
        )
        return scores, codes


class RegionHead(nn.Module):
    """The rest of a classification network on regions (m, channels, size, size): classes' scores and codes."""

    def __init__(self, body: nn.Sequential, width: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.scores, self.codes = nn.Linear(width, num_classes + 1), nn.Linear(width, 4 * num_classes)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(regions)
        return self.scores(x), self.codes(x)


@dataclass(frozen=True)
class _Parts:
    trunk: Trunk
    channels: int
    body: nn.Sequential
    width: int
    region: int


class FasterRCNN(nn.Module):
    """trunk, proposals, head: each a network of its own, which counting and engines take apart.

    region: rows and columns of what the head reads of each proposal
    """

    def __init__(self, parts: _Parts, num_classes: int) -> None:
        super().__init__()
        self.trunk, self.region, self.channels = parts.trunk, parts.region, parts.channels
        self.proposals = ProposalNetwork(parts.channels, 512, len(ANCHOR_SIDES) * len(RATIOS))
        self.head = RegionHead(parts.body, parts.width, num_classes)


def split(net: nn.Sequential, last: str, end: Sequence[str]) -> tuple[Trunk, nn.Sequential]:
    """The children up to `last`, and those after it but for those named in `end`."""
    names = [name for name, _ in net.named_children()]
    rest = nn.Sequential()
    for name in names[names.index(last) + 1 :]:
        if name not in end:
            rest.add_module(name, net.get_submodule(name))
    return Trunk(net, (last,)), rest


def faster_rcnn_vgg16(*, num_classes: int = 90) -> FasterRCNN:
    """fc6 and fc7 on 7 x 7 places of the last block's map."""
    vgg = build("vgg16")
    assert isinstance(vgg, nn.Sequential)
    trunk, body = split(vgg, "relu5_3", ("pool5", "fc8"))
    return FasterRCNN(_Parts(trunk, 512, body, 4096, 7), num_classes)


def faster_rcnn_inception_v2(*, num_classes: int = 90) -> FasterRCNN:
    """inception_4e to 5b on each region."""
    inception = build("inception_v2_slim")
    assert isinstance(inception, nn.Sequential)
    trunk, body = split(inception, "inception_4d", ("drop", "fc"))
    return FasterRCNN(_Parts(trunk, 576, body, 1024, 14), num_classes)


def faster_rcnn_mobilenet_v1(*, num_classes: int = 90) -> FasterRCNN:
    """separable12 and 13 on each region."""
    mobilenet = build("mobilenet_v1")
    assert isinstance(mobilenet, nn.Sequential)
    trunk, body = split(mobilenet, "separable11", ("fc",))
    return FasterRCNN(_Parts(trunk, 512, body, 1024, 14), num_classes)
