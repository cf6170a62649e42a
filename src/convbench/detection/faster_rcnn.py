"""Faster R-CNN: a network proposes regions, the same network's maps say what is in them.

Ren et al., Faster R-CNN: Towards real-time object detection with region proposal networks, NIPS 2015, arXiv:1506.01497;
on VGG-16 as there (section 3.3), on Inception v2 and MobileNet as the Object Detection API has them: the trunk up to
stride 16, a region of 14 x 14 of its map, and the rest of the classification network on each region.

    network                       trunk up to     of each region
    faster_rcnn_vgg16             relu5_3         7 x 7 by RoI align, fc6, fc7
    faster_rcnn_inception_v2      inception_4d    14 x 14, inception_4e to 5b, mean
    faster_rcnn_mobilenet_v1      separable11     14 x 14, separable12 and 13, mean

Departures:
- Images are squares, of 600 or 300 pixels, where the paper keeps their proportions; anchors have the same sides in
  pixels in both, as in the API.
- Where the paper pools regions, these are aligned (He et al. 2017, arXiv:1703.06870), by torchvision's `roi_align` with
  `aligned=True`, which its MultiScaleRoIAlign does without.
- Proposals and regions learn together, where the paper's learn in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from convbench.detection.anchors import anchors
from convbench.detection.boxes import centres_of
from convbench.detection.detector import Answers, Detector
from convbench.detection.finding import Finding
from convbench.detection.proposals import TESTING, TRAINING, proposal_loss
from convbench.detection.regions import region_loss, sample_regions
from convbench.detection.result import Detections
from convbench.detection.trunk import Trunk
from convbench.models import build

STRIDE = 16
SURE = 1e4  # the background's score where there is no proposal
ANCHOR_SIDES, RATIOS = (64, 128, 256, 512), (0.5, 1.0, 2.0)  # pixels, height to width
FINDING = Finding(score=0.01, overlap=0.6, most=100)  # the API's, whose least score is 0


class ProposalNetwork(nn.Module):
    """3 x 3, ReLU, and at each place of the map an objectness and four codes for each anchor (section 3.1).

    It gives (n, places * anchors, 2), background and object, and as many codes (x, y, width, height), place by place.
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
class Parts:
    """Of a classification network: the trunk, which gives `channels` maps; the body, which makes `width` values of a
    region of `region` x `region` places.
    """

    trunk: Trunk
    channels: int
    body: nn.Sequential
    width: int
    region: int


class FasterRCNN(Detector):
    """trunk, proposals, head: each a network of its own, which counting and engines take apart.

    region: rows and columns of what the head reads of each proposal
    side: of the images

    It reads (n, 3, side, side) and gives, of at most 300 proposals an image, corners as shares of it (n, 300, 4),
    scores of the background and the classes (n, 300, 1 + classes), and codes (n, 300, classes, 4). Rows that are left
    over are sure to be background.
    """

    def __init__(self, parts: Parts, num_classes: int, side: int) -> None:
        super().__init__()
        self.trunk, self.region, self.channels = parts.trunk, parts.region, parts.channels
        self.num_classes, self.side, self.finding = num_classes, side, FINDING
        self.proposals = ProposalNetwork(parts.channels, 512, len(ANCHOR_SIDES) * len(RATIOS))
        self.head = RegionHead(parts.body, parts.width, num_classes)
        init_new(self)

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Answers:
        (maps,) = self.trunk(images)
        objectness, codes = (one.float() for one in self.proposals(maps))
        rows, columns = maps.shape[2:]
        references = anchors(rows, columns, STRIDE, ANCHOR_SIDES, RATIOS).to(maps.device) / self.side
        if targets is not None:
            return self.losses(maps, objectness, codes, references, targets)
        found = TESTING(objectness, codes, references)
        scores, offsets = self.look(maps, found)
        counts = [len(one) for one in found]
        nothing = scores.new_zeros(scores.shape[1])
        nothing[0] = SURE
        return (
            _filled(found, found[0].new_zeros(4)),
            _filled(scores.split(counts), nothing),
            _filled(offsets.split(counts), offsets.new_zeros(offsets.shape[1:])),
        )

    def look(self, maps: Tensor, regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(scores, codes) of all images' regions, one after the other: (m, 1 + classes) and (m, classes, 4)."""
        pixels = [one * self.side for one in regions]
        aligned = roi_align(maps.float(), pixels, self.region, 1 / STRIDE, sampling_ratio=2, aligned=True)
        scores, codes = self.head(aligned.contiguous(memory_format=torch.channels_last))
        return scores.float(), codes.float().view(len(codes), self.num_classes, 4)

    def losses(self, maps: Tensor, objectness: Tensor, codes: Tensor, references: Tensor, targets: Tensor) -> Tensor:
        """The sum over the images; proposals are given, no gradient flows through where they lie."""
        objects = [target[target[:, 0] >= 0] for target in targets]
        with torch.no_grad():
            proposed = TRAINING(objectness, codes, references)
            sampled = [
                sample_regions(regions, own[:, 1:], own[:, 0].long())
                for regions, own in zip(proposed, objects, strict=True)
            ]
        scores, offsets = self.look(maps, [one.boxes for one in sampled])
        total, counts = scores.new_zeros(()), [len(one.boxes) for one in sampled]
        rows = zip(objectness, codes, objects, scores.split(counts), offsets.split(counts), sampled, strict=True)
        for certain, code, own, score, offset, one in rows:
            total = total + proposal_loss(certain, code, references, own[:, 1:]) + region_loss(score, offset, one)
        return total

    def weight(self, targets: Tensor) -> Tensor:
        """The images: each one's loss is a mean already."""
        return torch.tensor(len(targets), device=targets.device)

    def find(self, answers: Answers, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """By the Object Detection API's suppression."""
        boxes, scores, codes = answers
        return self.finding(scores, codes, centres_of(boxes), sizes)


def _filled(images: Sequence[Tensor], row: Tensor) -> Tensor:
    """Rows of each image, with `row` in those that are left over: (n, 300, ...)."""
    return torch.stack([torch.cat([own, row.expand(TESTING.after - len(own), *row.shape)]) for own in images])


def init_new(net: FasterRCNN) -> None:
    """What no classification network has begins small: deviations 0.01, of the last codes 0.001 (the release's)."""
    for layer in net.proposals.modules():
        if isinstance(layer, nn.Conv2d):
            _begin(layer, 0.01)
    _begin(net.head.scores, 0.01)
    _begin(net.head.codes, 0.001)


def _begin(layer: nn.Conv2d | nn.Linear, deviation: float) -> None:
    nn.init.normal_(layer.weight, std=deviation)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def split(net: nn.Sequential, last: str, end: Sequence[str]) -> tuple[Trunk, nn.Sequential]:
    """The children up to `last`, and those after it but for those named in `end`."""
    names = [name for name, _ in net.named_children()]
    rest = nn.Sequential()
    for name in names[names.index(last) + 1 :]:
        if name not in end:
            rest.add_module(name, net.get_submodule(name))
    return Trunk(net, (last,)), rest


def faster_rcnn_vgg16(*, num_classes: int = 90, side: int = 600) -> FasterRCNN:
    """fc6 and fc7 on 7 x 7 places of the last block's map."""
    vgg = build("vgg16")
    assert isinstance(vgg, nn.Sequential)
    trunk, body = split(vgg, "relu5_3", ("pool5", "fc8"))
    return FasterRCNN(Parts(trunk, 512, body, 4096, 7), num_classes, side)


def faster_rcnn_inception_v2(*, num_classes: int = 90, side: int = 600) -> FasterRCNN:
    """inception_4e to 5b on each region."""
    inception = build("inception_v2_slim")
    assert isinstance(inception, nn.Sequential)
    trunk, body = split(inception, "inception_4d", ("drop", "fc"))
    return FasterRCNN(Parts(trunk, 576, body, 1024, 14), num_classes, side)


def faster_rcnn_mobilenet_v1(*, num_classes: int = 90, side: int = 600) -> FasterRCNN:
    """separable12 and 13 on each region."""
    mobilenet = build("mobilenet_v1")
    assert isinstance(mobilenet, nn.Sequential)
    trunk, body = split(mobilenet, "separable11", ("fc",))
    return FasterRCNN(Parts(trunk, 512, body, 1024, 14), num_classes, side)
