"""SSD: boxes from several maps of one network in one pass.

Liu et al., SSD: Single shot multibox detector, ECCV 2016, arXiv:1512.02325, sections 2 and 3, at 300 pixels; and the
layout of TensorFlow's Object Detection API for Inception v2 and MobileNet, which table 13 of the MobileNet paper is of.

    network                maps                    boxes a place      boxes
    ssd300_vgg16           38, 19, 10, 5, 3, 1     4, 6, 6, 6, 4, 4   8,732
    ssd300_inception_v2    19, 10, 5, 3, 2, 1      3, 6, 6, 6, 6, 6   1,917
    ssd300_mobilenet_v1    19, 10, 5, 3, 2, 1      3, 6, 6, 6, 6, 6   1,917

Departures:
- `ssd300_vgg16`: the sides of the boxes are those of the authors' code, which rounds the paper's linear scale to
  pixels.
- `ssd300_inception_v2`, `ssd300_mobilenet_v1`: each class answers for itself, by a sigmoid, and heads are 1x1, as in
  the API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from convbench.detection.default_boxes import Shape, grid, object_detection_shapes, ssd_shapes
from convbench.detection.detector import Answers, Detector
from convbench.detection.finding import OBJECT_DETECTION_API, Finding
from convbench.detection.losses import matches, multibox_loss
from convbench.detection.result import Detections
from convbench.detection.trunk import Trunk
from convbench.layers import ConvBNReLU, init_normal
from convbench.models import build

SIDE = 300


class L2Norm(nn.Module):
    """Each place's vector at length 1, times a learnt scale for each map (Liu, Rabinovich & Berg 2016)."""

    def __init__(self, maps: int, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((maps,), scale))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=1) * self.scale[:, None, None]


class SSD(Detector):
    """A trunk, extra layers that halve its map, and a head of convolutions on each map.

    Args:
        trunk: gives the first maps
        norms: of the trunk's maps, before their heads
        extras: each makes the next map from the one before
        maps: how many channels each map has
        shapes: of the boxes at each place of each map
        num_classes: of the data, without the background
        finding: how answers become detections; its `sigmoid` is the loss's, too
        kernel_size: of the heads

    It reads (n, 3, 300, 300) and gives (n, boxes, 4 + 1 + classes): codes (x, y, width, height), and the scores of the
    background and the classes. `default_boxes` are their references, centres as shares of the image.
    """

    side = SIDE
    default_boxes: Tensor

    def __init__(
        self,
        trunk: Trunk,
        norms: nn.ModuleList,
        extras: nn.ModuleList,
        maps: Sequence[int],
        sides: Sequence[int],
        shapes: Sequence[Sequence[Shape]],
        *,
        num_classes: int,
        finding: Finding,
        kernel_size: int,
    ) -> None:
        super().__init__()
        self.trunk, self.norms, self.extras = trunk, norms, extras
        self.num_classes, self.finding = num_classes, finding
        self.outputs = 4, num_classes + 1
        self.box_heads, self.class_heads = nn.ModuleList(), nn.ModuleList()
        for channels, own in zip(maps, shapes, strict=True):
            for heads, outputs in zip((self.box_heads, self.class_heads), self.outputs, strict=True):
                heads.append(nn.Conv2d(channels, len(own) * outputs, kernel_size, padding=kernel_size // 2))
        self.register_buffer("default_boxes", grid(sides, shapes), persistent=False)

    def forward(self, images: Tensor, targets: Tensor | None = None) -> Tensor:
        answers = self.answers(images)
        if targets is None:
            return answers
        answers = answers.to(torch.promote_types(answers.dtype, torch.float32))
        return multibox_loss(answers, self.default_boxes, targets, sigmoid=self.finding.sigmoid)

    def weight(self, targets: Tensor) -> Tensor:
        """The references that answer for an object, as published."""
        return matches(self.default_boxes, targets)

    def find(self, answers: Answers, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """By `finding`."""
        assert isinstance(answers, Tensor)
        references = self.default_boxes.expand(len(answers), -1, -1)
        return self.finding(answers[..., 4:], answers[..., None, :4], references, sizes)

    def answers(self, images: Tensor) -> Tensor:
        """Of all maps' heads, in the order of the default boxes."""
        found = self.trunk(images)
        maps = [norm(x) for norm, x in zip(self.norms, found, strict=True)]
        x = found[-1]
        for extra in self.extras:
            x = extra(x)
            maps.append(x)
        answers = []
        for x, box_head, class_head in zip(maps, self.box_heads, self.class_heads, strict=True):
            parts = [
                head(x).permute(0, 2, 3, 1).unflatten(3, (-1, outputs)).flatten(1, 3)
                for head, outputs in zip((box_head, class_head), self.outputs, strict=True)
            ]
            answers.append(torch.cat(parts, -1))
        return torch.cat(answers, 1)


LEAST = {"voc": (30, 60, 111, 162, 213, 264), "coco": (21, 45, 99, 153, 207, 261)}  # pixels
MOST = {"voc": (60, 111, 162, 213, 264, 315), "coco": (45, 99, 153, 207, 261, 315)}
RATIOS = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))


def ssd300_vgg16(*, num_classes: int = 80, scales: str = "coco") -> SSD:
    """Figure 2's network: VGG-16 whose fc6 and fc7 are convolutions, the former with holes, and four extra layers.

    scales: of the default boxes, "coco" (section 3.4) or "voc" (section 3.1)
    """
    vgg = build("vgg16", image_size=SIDE)
    assert isinstance(vgg, nn.Sequential)
    vgg.pool3 = nn.MaxPool2d(2, ceil_mode=True)  # 75 to 38
    body = nn.Sequential()
    for name, child in vgg.named_children():
        if name == "flatten":
            break
        body.add_module(name, child)
    body.pool5 = nn.MaxPool2d(3, 1, 1)
    body.add_module("fc6", nn.Conv2d(512, 1024, 3, padding=6, dilation=6))
    body.add_module("relu6", nn.ReLU())
    body.add_module("fc7", nn.Conv2d(1024, 1024, 1))
    body.add_module("relu7", nn.ReLU())
    extras = nn.ModuleList(
        nn.Sequential(
            *(nn.Conv2d(channels, inner, 1), nn.ReLU()),
            *(nn.Conv2d(inner, 2 * inner, 3, stride, padding), nn.ReLU()),
        )
        for channels, inner, stride, padding in (
            (1024, 256, 2, 1),
            (512, 128, 2, 1),
            (256, 128, 1, 0),
            (256, 128, 1, 0),
        )
    )
    shapes = ssd_shapes(LEAST[scales], MOST[scales], RATIOS, SIDE)
    net = SSD(
        *(Trunk(body, ("relu4_3", "relu7")), nn.ModuleList([L2Norm(512), nn.Identity()]), extras),
        maps=(512, 1024, 512, 256, 256, 256),
        sides=(38, 19, 10, 5, 3, 1),
        shapes=shapes,
        num_classes=num_classes,
        finding=Finding(),
        kernel_size=3,
    )
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return net


def thinned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A VGG's weights with fc6 and fc7 as SSD begins from them: every fourth unit, of fc6 every third row and column.

    Chen et al. 2015, arXiv:1412.7062, section 3.1
    """
    changed = dict(state)
    changed["fc6.weight"] = state["fc6.weight"].view(4096, 512, 7, 7)[::4, :, ::3, ::3]
    changed["fc7.weight"] = state["fc7.weight"].view(4096, 4096, 1, 1)[::4, ::4]
    for name in ("fc6.bias", "fc7.bias"):
        changed[name] = state[name][::4]
    return changed


def _api_ssd(trunk: Trunk, maps: tuple[int, int], extra: Sequence[int], num_classes: int) -> SSD:
    """The Object Detection API's: extra layers of 1x1 and 3x3 convolutions with batch normalisation, heads of 1x1."""
    extras, channels = nn.ModuleList(), maps[-1]
    for width in extra:
        extras.append(
            nn.Sequential(
                ConvBNReLU(channels, width // 2, 1, eps=1e-3),
                ConvBNReLU(width // 2, width, 3, stride=2, same=True, eps=1e-3),
            )
        )
        channels = width
    net = SSD(
        *(trunk, nn.ModuleList([nn.Identity(), nn.Identity()]), extras),
        maps=(*maps, *extra),
        sides=(19, 10, 5, 3, 2, 1),
        shapes=object_detection_shapes(6),
        num_classes=num_classes,
        finding=OBJECT_DETECTION_API,
        kernel_size=1,
    )
    init_normal(net, 0.03, truncate=True)
    return net


def ssd300_mobilenet_v1(*, num_classes: int = 90, width_multiplier: float = 1.0) -> SSD:
    """MobileNet's maps of 19 and 10 places a side and four extra layers, the widths of all by the multiplier."""
    mobilenet = build("mobilenet_v1", image_size=SIDE, width_multiplier=width_multiplier)
    assert isinstance(mobilenet, nn.Sequential)
    scaled = [int(maps * width_multiplier) for maps in (512, 1024, 512, 256, 256, 128)]
    trunk = Trunk(mobilenet, ("separable11", "separable13"))
    return _api_ssd(trunk, (scaled[0], scaled[1]), scaled[2:], num_classes)


def ssd300_inception_v2(*, num_classes: int = 90) -> SSD:
    """Inception v2's maps of 19 (TF-slim's Mixed_4c) and 10 places a side, and four extra layers."""
    inception = build("inception_v2_slim", image_size=SIDE)
    assert isinstance(inception, nn.Sequential)
    trunk = Trunk(inception, ("inception_4b", "inception_5b"))
    return _api_ssd(trunk, (576, 1024), (512, 256, 256, 128), num_classes)
