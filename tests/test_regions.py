"""Faster R-CNN's proposals, samples and losses beside torchvision's parts with the same numbers."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import MultiScaleRoIAlign, box_iou, roi_align

from boxed import write_rectangles
from convbench.detection.anchors import anchors
from convbench.detection.boxes import corners_of
from convbench.detection.datasets import open_detection_set
from convbench.detection.detecting import find_all
from convbench.detection.faster_rcnn import ANCHOR_SIDES, RATIOS, FasterRCNN, Parts, faster_rcnn_mobilenet_v1, split
from convbench.detection.finding import Finding
from convbench.detection.proposals import Proposing, draw, proposal_loss
from convbench.detection.regions import CODER, Sampled, region_loss, sample_regions
from convbench.detection.result import coco_result
from convbench.detection.task import Detection
from convbench.detection.trunk import Trunk
from convbench.models import build
from convbench.training.loop import Options, fit
from convbench.training.recipe import open_recipe

SIDE, CLASSES = 320.0, 4


def boxes_of(count: int) -> Tensor:
    """Corners as shares of the image."""
    low = torch.rand(count, 2) * 0.7
    return torch.cat([low, low + 0.05 + torch.rand(count, 2) * 0.25], 1)


def theirs(before: int, after: int) -> RegionProposalNetwork:
    generator = AnchorGenerator((ANCHOR_SIDES,), (RATIOS,))
    counts = [{"training": count, "testing": count} for count in (before, after)]
    head = RPNHead(8, 12)
    return RegionProposalNetwork(generator, head, 0.7, 0.3, 256, 0.5, *counts, 0.7).eval()


def test_anchors_are_torchvisions_moved_to_the_middle() -> None:
    ours = corners_of(anchors(5, 7, 16, ANCHOR_SIDES, RATIOS))
    images = ImageList(torch.zeros(1, 3, 80, 112), [(80, 112)])
    (expected,) = AnchorGenerator((ANCHOR_SIDES,), (RATIOS,))(images, [torch.zeros(1, 1, 5, 7)])
    assert (ours - 8 - expected).abs().max() <= 0.5, "torchvision rounds sides to whole pixels"


def test_proposals_are_torchvisions() -> None:
    torch.manual_seed(0)
    references = anchors(20, 20, 16, ANCHOR_SIDES, RATIOS) / SIDE
    certain, codes = torch.randn(2, len(references)), torch.randn(2, len(references), 4) * 0.3
    peer = theirs(1000, 60)
    decoded = peer.box_coder.decode(codes.reshape(-1, 4), [corners_of(references) * SIDE] * 2).view(2, -1, 4)
    size = (int(SIDE), int(SIDE))
    expected, _ = peer.filter_proposals(decoded, certain[..., None], [size, size], [len(references)])
    # Their one output through a sigmoid is the difference of our two.
    objectness = torch.stack([torch.zeros_like(certain), certain], -1)
    for ours, other in zip(Proposing(1000, 60)(objectness, codes, references), expected, strict=True):
        torch.testing.assert_close(ours * SIDE, other, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("objects", [5, 0])
def test_the_proposals_loss_is_torchvisions(objects: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same sample: all anchors."""
    torch.manual_seed(1)
    references = anchors(20, 20, 16, (64, 128), (1.0,)) / SIDE
    corners = corners_of(references)
    inside = ((corners >= 0) & (corners <= 1)).all(1)
    references, corners = references[inside], corners[inside]
    boxes = boxes_of(objects)
    certain, codes = torch.randn(len(references)), torch.randn(len(references), 4)
    peer = theirs(1000, 60)
    labels, matched = peer.assign_targets_to_anchors([corners], [{"boxes": boxes}])
    targets = peer.box_coder.encode(list(matched), [corners])
    monkeypatch.setattr(
        peer, "fg_bg_sampler", lambda labels: ([one == 1 for one in labels], [one == 0 for one in labels])
    )
    expected = sum(peer.compute_loss(certain[:, None], codes, labels, list(targets)))
    monkeypatch.setattr("convbench.detection.proposals.draw", lambda positive, negative, *_: (positive, negative))
    objectness = torch.stack([torch.zeros_like(certain), certain], -1)
    torch.testing.assert_close(proposal_loss(objectness, codes, references, boxes), expected)


def test_anchors_beyond_the_border_teach_nothing() -> None:
    references = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.05, 0.5, 0.4, 0.4]])
    objectness, codes = torch.zeros(2, 2, requires_grad=True), torch.zeros(2, 4, requires_grad=True)
    boxes = corners_of(torch.tensor([[0.5, 0.5, 0.4, 0.42]]))
    proposal_loss(objectness, codes, references, boxes).backward()
    assert objectness.grad is not None and codes.grad is not None
    assert objectness.grad[0].abs().sum() > 0 and objectness.grad[1].abs().sum() == 0
    assert codes.grad[1].abs().sum() == 0


def test_a_sample_is_drawn_by_chance_and_never_more_positive_than_asked_for() -> None:
    torch.manual_seed(0)
    positive, negative = draw(torch.arange(100), torch.arange(100, 300), 64, 0.25)
    assert (len(positive), len(negative)) == (16, 48) and positive.max() < 100 <= negative.min()
    few, rest = draw(torch.arange(3), torch.arange(3, 300), 64, 0.25)
    assert (len(few), len(rest)) == (3, 61)
    assert not torch.equal(draw(torch.arange(100), torch.arange(0), 64, 0.25)[0], positive)


def test_regions_are_sampled_with_the_objects_among_them() -> None:
    torch.manual_seed(0)
    boxes, labels = boxes_of(3), torch.tensor([2, 0, 3])
    sampled = sample_regions(boxes_of(400), boxes, labels)
    assert len(sampled.boxes) == len(sampled.labels) == 64
    overlaps: Tensor = box_iou(sampled.boxes, boxes)
    best, which = overlaps.max(1)
    assert torch.equal(sampled.labels, torch.where(best >= 0.5, labels[which] + 1, 0))
    objects = sampled.labels > 0
    assert 1 <= objects.sum() <= 16
    back = CODER.decode(sampled.codes[objects], torch.stack([*_centres(sampled.boxes[objects])], 1))
    torch.testing.assert_close(back, boxes[which[objects]], rtol=1e-4, atol=1e-5)
    nothing = sample_regions(boxes_of(400), boxes[:0], labels[:0])
    assert len(nothing.boxes) == 64 and not nothing.labels.any()


def _centres(boxes: Tensor) -> tuple[Tensor, ...]:
    left, top, right, bottom = boxes.unbind(1)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def test_the_regions_loss_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs turns linear at 1 / 9, in an argument that is ours here."""
    torch.manual_seed(0)
    smooth = nn.functional.smooth_l1_loss
    monkeypatch.setattr(nn.functional, "smooth_l1_loss", lambda *given, beta=1.0, **rest: smooth(*given, **rest))
    scores, codes = torch.randn(30, 1 + CLASSES), torch.randn(30, CLASSES, 4)
    labels, targets = torch.randint(0, 1 + CLASSES, (30,)), torch.randn(30, 4)
    # Their codes have a row for the background, too, which is never learnt.
    with_background = torch.cat([torch.zeros(30, 1, 4), codes], 1).flatten(1)
    expected = sum(fastrcnn_loss(scores, with_background, [labels], [targets]))
    torch.testing.assert_close(region_loss(scores, codes, Sampled(boxes_of(30), labels, targets)), expected)


def test_what_is_found_is_what_torchvision_finds() -> None:
    torch.manual_seed(0)
    boxes, scores, codes = boxes_of(200), torch.randn(200, 1 + CLASSES) * 3, torch.randn(200, CLASSES, 4)
    finding = Finding(score=0.05, overlap=0.5, most=40, candidates=10_000)
    (ours,) = finding(scores[None], codes[None], torch.stack([*_centres(boxes)], 1)[None], [(320, 320)])
    pool = MultiScaleRoIAlign(["0"], 7, 2)
    peer = RoIHeads(pool, None, None, 0.5, 0.5, 64, 0.25, None, 0.05, 0.5, 40)
    with_background = torch.cat([torch.zeros(200, 1, 4), codes], 1).flatten(1)
    found, certain, labels = peer.postprocess_detections(scores, with_background, [boxes * SIDE], [(320, 320)])
    torch.testing.assert_close(ours.scores, certain[0])
    torch.testing.assert_close(ours.boxes, found[0], rtol=1e-4, atol=1e-2)
    assert torch.equal(ours.labels + 1, labels[0])


@pytest.fixture(scope="module")
def net() -> FasterRCNN:
    """As certain of its proposals as a trained one, so that rounding does not change their order."""
    torch.manual_seed(0)
    net = faster_rcnn_mobilenet_v1(num_classes=CLASSES, side=160)
    with torch.no_grad():
        net.proposals.objectness.weight.mul_(100)
        net.proposals.codes.weight.mul_(10)
    return net


def test_a_trained_networks_answers_are_the_losses_answers(net: FasterRCNN) -> None:
    """Images without objects, and with: a number, whose gradients reach every part."""
    targets = torch.full((3, 2, 5), -1.0)
    targets[0, 0] = torch.tensor([1.0, 0.1, 0.2, 0.6, 0.7])
    targets[1] = torch.tensor([[0.0, 0.3, 0.3, 0.9, 0.9], [3, 0.0, 0, 0.5, 0.5]])
    net.train()
    loss = net(torch.rand(3, 3, 160, 160), targets)
    assert isinstance(loss, Tensor)
    loss.backward()
    assert bool(loss.isfinite()) and int(net.weight(targets)) == 3
    assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in net.parameters())
    assert bool(net(torch.rand(1, 3, 160, 160), torch.full((1, 0, 5), -1.0)).isfinite())


def test_answers_have_one_shape_and_rows_that_are_left_over_are_background(net: FasterRCNN) -> None:
    with torch.no_grad():
        boxes, scores, codes = net.eval()(torch.rand(2, 3, 160, 160))
    assert (boxes.shape, scores.shape, codes.shape) == ((2, 300, 4), (2, 300, 1 + CLASSES), (2, 300, CLASSES, 4))
    left = (boxes == 0).all(2)
    assert left.any(), "an image this small has fewer anchors than would be 300 proposals"
    assert scores.softmax(2)[..., 0][left].min() == 1
    found = net.find((boxes, scores, codes), [(160, 160), (320, 80)])
    widths = [int(one.boxes[:, 2].max().ceil()) for one in found]
    assert widths[0] <= 160 and widths[1] <= 80


@pytest.fixture(scope="module")
def lively() -> FasterRCNN:
    """One layer, whose maps, and the answers to them, have deviations of about 1, as those of fresh weights do not."""
    torch.manual_seed(0)
    layers, body = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 512, 16, 16))), nn.Sequential(nn.Flatten())
    net = FasterRCNN(Parts(Trunk(layers, ("conv",)), 512, body, 512 * 3 * 3, 3), CLASSES, 160).eval()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            nn.init.normal_(layer.bias)
    with torch.no_grad():
        net.proposals.codes.weight.mul_(0.3)
        net.proposals.codes.bias.mul_(0.3)
    return net


def test_the_same_weights_give_torchvisions_regions(lively: FasterRCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their proposal network with our weights, on our anchors."""
    images = torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        boxes, _, _ = lively(images)
        (maps,) = lively.trunk(images)
        head = RPNHead(lively.channels, len(ANCHOR_SIDES) * len(RATIOS), 1)
        head.conv[0][0].load_state_dict(lively.proposals.conv.state_dict())
        ours = lively.proposals.objectness
        for name in ("weight", "bias"):
            pairs = getattr(ours, name).unflatten(0, (-1, 2))
            getattr(head.cls_logits, name).copy_(pairs[:, 1] - pairs[:, 0])
        head.bbox_pred.load_state_dict(lively.proposals.codes.state_dict())
        peer = theirs(6000, 300)
        peer.head = head
        references = corners_of(anchors(*maps.shape[2:], 16, ANCHOR_SIDES, RATIOS))
        monkeypatch.setattr(peer.anchor_generator, "forward", lambda *_: [references])
        (expected,), _ = peer(ImageList(images, [(160, 160)]), {"0": maps})
        there = ~(boxes[0] == 0).all(1)
        assert len(expected) > 60
        torch.testing.assert_close(boxes[0][there] * 160, expected, rtol=1e-3, atol=0.05)


def test_answers_are_the_heads_of_torchvisions_regions(lively: FasterRCNN) -> None:
    """Of two images; what lies elsewhere gives other answers."""
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        boxes, scores, codes = lively(images)
        (maps,) = lively.trunk(images)
        there = (boxes != 0).any(2)
        places = there.nonzero()[:, :1].float()

        def answers(regions: Tensor, aligned: bool = True) -> Tensor:
            pooled = roi_align(maps, torch.cat([places, regions * 160], 1), 3, 1 / 16, 2, aligned).flatten(1)
            return torch.cat([lively.head.scores(pooled), lively.head.codes(pooled)], 1)

        regions = boxes[there]
        ours = torch.cat([scores[there], codes[there].flatten(1)], 1)
        assert len(places.unique()) == 2 and len(ours) > 120
        assert 0.5 < maps.std() < 2 and 0.5 < ours.std() < 2
        torch.testing.assert_close(ours, answers(regions), rtol=1e-4, atol=1e-5)
        moved, zero = regions.roll(1, 0), torch.zeros_like(regions)
        for others in (answers(moved), answers(zero), answers(regions, aligned=False)):
            assert (ours - others).std() > 0.05


def test_it_learns_two_photographs_by_heart(tmp_path: Path) -> None:
    """Through the training loop, on a quarter of MobileNet's width: all objects are found, by running statistics."""
    folder = write_rectangles(tmp_path, 2)
    settings = {"data": str(folder), "arguments": {"side": 160}, "epochs": 100, "batch_size": 2, "optimiser.lr": 2e-3}
    still = {"boxes.size": 160, "boxes.overlaps": [], "boxes.colours": False, "boxes.mirror": False}
    recipe = open_recipe(
        "faster-rcnn-mobilenet-cpu", settings | still | {"preprocessing.size": 160, "precision": "fp32"}
    )
    dataset = open_detection_set(folder, "train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mobilenet = build("mobilenet_v1", width_multiplier=0.25)
        assert isinstance(mobilenet, nn.Sequential)
        trunk, body = split(mobilenet, "separable11", ("fc",))
        detector = FasterRCNN(Parts(trunk, 128, body, 256, 7), num_classes=2, side=160)
    history = fit(detector, dataset, recipe, task=Detection(detector), options=Options(workers=0))
    assert history[-1].loss < 0.2 * history[0].loss
    assert coco_result(dataset, find_all(detector, dataset, recipe.preprocessing)).ap50 >= 0.9
