"""SSDs: counts and boxes as published, outputs as torchvision's with its weights, boxes back from their codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16 as torchvisions
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from convbench.counting import trace
from convbench.detection.boxes import Coder, centres_of, corners_of
from convbench.detection.ssd import LEAST, MOST, RATIOS, SSD, ssd300_inception_v2, ssd300_mobilenet_v1, ssd300_vgg16

COUNTS = {  # of the ledger
    "vgg16, COCO": (lambda: ssd300_vgg16(num_classes=80), 34_305_206, 34_360_351_232, 8732),
    "vgg16, VOC": (lambda: ssd300_vgg16(num_classes=20, scales="voc"), 26_285_486, 31_373_537_792, 8732),
    "mobilenet_v1": (ssd300_mobilenet_v1, 6_819_839, 1_237_129_408, 1917),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_ledgers(name: str) -> None:
    make, params, macs, boxes = COUNTS[name]
    net = make()
    cost = trace(net, (3, 300, 300))
    assert (cost.params, cost.macs, len(net.default_boxes)) == (params, macs, boxes)


def test_inception_v2_is_as_large_as_the_mobilenet_paper_says() -> None:
    """13.7 million, cut and not rounded, as it cuts others, and 3.8 thousand million."""
    cost = trace(ssd300_inception_v2(), (3, 300, 300))
    assert cost.params // 100_000 == 137
    assert round(cost.macs / 1e9, 1) == 3.8


@pytest.mark.parametrize("make", [ssd300_vgg16, ssd300_mobilenet_v1, ssd300_inception_v2])
def test_every_box_gets_an_answer(make: type[SSD]) -> None:
    net = make(num_classes=7).eval()
    with torch.no_grad():
        answers = net(torch.rand(2, 3, 300, 300))
    assert answers.shape == (2, len(net.default_boxes), 4 + 1 + 7)


def test_answers_are_torchvisions() -> None:
    """With the same weights, which stand in the same order: the same codes and scores, at the same places."""
    torch.manual_seed(0)
    theirs = torchvisions(weights=None, weights_backbone=None).eval()
    ours = ssd300_vgg16(num_classes=90).eval()
    backbone = theirs.backbone
    convs = [one for one in (*backbone.features.modules(), *backbone.extra.modules()) if isinstance(one, nn.Conv2d)]
    own = [one for one in (*ours.trunk.modules(), *ours.extras.modules()) if isinstance(one, nn.Conv2d)]
    own += [*ours.box_heads, *ours.class_heads]
    convs += [*theirs.head.regression_head.module_list, *theirs.head.classification_head.module_list]
    for mine, other in zip(own, convs, strict=True):
        assert mine.weight.shape == other.weight.shape
        mine.load_state_dict(other.state_dict())
    images = torch.randn(2, 3, 300, 300)
    with torch.no_grad():
        answers = ours(images)
        expected = theirs.head(list(backbone(images).values()))
    torch.testing.assert_close(answers[..., :4], expected["bbox_regression"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answers[..., 4:], expected["cls_logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("data", ["coco", "voc"])
def test_default_boxes_are_torchvisions(data: str) -> None:
    """Given the same scales, and centres in the middle of the cells."""
    assert MOST[data][:-1] == LEAST[data][1:]
    scales = [low / 300 for low in LEAST[data]] + [MOST[data][-1] / 300]
    maker = DefaultBoxGenerator([list(own) for own in RATIOS], scales=scales, clip=False)
    maps = [torch.zeros(1, 1, side, side) for side in (38, 19, 10, 5, 3, 1)]
    (expected,) = maker(ImageList(torch.zeros(1, 3, 300, 300), [(300, 300)]), maps)
    ours = corners_of(ssd300_vgg16(num_classes=1, scales=data).default_boxes)
    torch.testing.assert_close(ours * 300, expected, rtol=1e-4, atol=1e-3)


def test_the_first_scales_are_the_papers() -> None:
    """Section 3.1: 0.1 for conv4_3 on Pascal VOC, and 0.2 for fc7; section 3.4: 0.07 and 0.15 on COCO."""
    assert LEAST["voc"][:2] == (0.1 * 300, 0.2 * 300)
    assert LEAST["coco"][:2] == pytest.approx((0.07 * 300, 0.15 * 300))


@pytest.mark.parametrize("make", [ssd300_mobilenet_v1, ssd300_inception_v2])
def test_the_apis_maps_halve_from_19_to_1(make: Callable[..., SSD]) -> None:
    """Each map of `side` places a side has that many different middles of boxes, three boxes a place and then six."""
    net = make(num_classes=3).eval()
    boxes, first = net.default_boxes, 0
    for side, shapes in zip((19, 10, 5, 3, 2, 1), (3, 6, 6, 6, 6, 6), strict=True):
        own = boxes[first : first + side * side * shapes, :2]
        assert len(own.unique(dim=0)) == side * side
        first += len(own)
    assert first == len(boxes) == 1917
    assert all(head.kernel_size == (1, 1) for head in (*net.box_heads, *net.class_heads))
    with torch.no_grad():
        maps = net.trunk(torch.zeros(1, 3, 300, 300))
        for extra in net.extras:
            maps.append(extra(maps[-1]))
    assert [one.shape[-1] for one in maps] == [19, 10, 5, 3, 2, 1]


def test_codes_are_torchvisions() -> None:
    torch.manual_seed(0)
    references = torch.rand(50, 4).clamp(min=0.05)
    low = torch.rand(50, 2)
    boxes = torch.cat([low, low + torch.rand(50, 2) + 0.01], 1)
    theirs = BoxCoder((10.0, 10.0, 5.0, 5.0))
    codes = Coder().encode(boxes, references)
    (expected,) = theirs.encode([boxes], [corners_of(references)])
    torch.testing.assert_close(codes, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(Coder().decode(codes, references), boxes, rtol=1e-4, atol=1e-5)


def test_corners_and_centres_are_each_others_inverse() -> None:
    boxes = torch.rand(10, 4)
    torch.testing.assert_close(centres_of(corners_of(boxes)), boxes)


def test_a_code_of_any_size_is_a_box() -> None:
    boxes: Tensor = Coder().decode(torch.full((1, 4), 1e6), torch.full((1, 4), 0.5))
    assert bool(boxes.isfinite().all())
