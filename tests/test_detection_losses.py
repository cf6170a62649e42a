"""SSD's matching and loss against torchvision's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import _utils as peers
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from convbench.detection.boxes import corners_of
from convbench.detection.losses import matches, multibox_loss
from convbench.detection.matching import BACKGROUND, IGNORED, match


def made(seed: int, images: int = 3, references: int = 500, classes: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Answers, references and targets; the second image has two objects less, the third none."""
    torch.manual_seed(seed)
    boxes = torch.rand(references, 4).clamp(0.05, 0.6)
    answers = torch.randn(images, references, 4 + 1 + classes)
    low = torch.rand(images, 4, 2) * 0.6
    corners = torch.cat([low, low + 0.05 + torch.rand(images, 4, 2) * 0.3], -1)
    targets = torch.cat([torch.randint(0, classes, (images, 4, 1)).float(), corners], -1)
    targets[1, 2:, 0] = targets[2, :, 0] = -1
    return answers, boxes, targets


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_torchvisions(seed: int) -> None:
    answers, references, targets = made(seed)
    corners, matcher = corners_of(references), peers.SSDMatcher(0.5)
    there, matched = [], []
    for target in targets:
        objects = target[target[:, 0] >= 0]
        there.append({"boxes": objects[:, 1:], "labels": objects[:, 0].long() + 1})
        empty = torch.full((len(references),), BACKGROUND)
        matched.append(matcher(box_iou(objects[:, 1:], corners)) if len(objects) else empty)
    settings = SimpleNamespace(box_coder=peers.BoxCoder((10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3)
    outputs = {"bbox_regression": answers[..., :4], "cls_logits": answers[..., 4:]}
    expected = sum(SSD.compute_loss(settings, there, outputs, [corners] * 3, matched).values())
    found = multibox_loss(answers, references, targets) / matches(references, targets)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_each_class_for_itself_worked_by_hand() -> None:
    """One object on the first of two references, codes 0, scores 0: each of two classes costs log 2 at both."""
    references = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
    targets = torch.tensor([[[1.0, 0, 0, 0.5, 0.5]]])
    found = multibox_loss(torch.zeros(1, 2, 7), references, targets, sigmoid=True)
    assert found == pytest.approx(float(4 * F.softplus(torch.zeros(()))))


def test_images_without_objects_cost_nothing() -> None:
    answers, references, targets = made(0)
    targets[..., 0] = -1
    assert multibox_loss(answers, references, targets) == 0


def test_between_the_bounds_a_reference_is_ignored() -> None:
    """Overlaps of 1, 1/2, 1/4 and 0 with the one object; the best is its own whatever the bounds."""
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    references = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [0, 0, 2, 2], [8, 8, 9, 9]])
    assert match(references, boxes, 0.7, 0.3).tolist() == [0, IGNORED, BACKGROUND, BACKGROUND]
    assert match(references[1:], boxes, 0.7, 0.3).tolist() == [0, BACKGROUND, BACKGROUND]
    assert match(references[1:], boxes, 0.7, 0.3, best="none").tolist() == [IGNORED, BACKGROUND, BACKGROUND]
    assert match(references, boxes[:0], 0.7).tolist() == [BACKGROUND] * 4


def test_all_that_overlap_an_object_most_are_its_own() -> None:
    """Two references lie in the object, as large as each other: for SSD the first is its own, for proposals both."""
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    references = torch.tensor([[0.0, 0, 1, 1], [1, 1, 2, 2], [8, 8, 9, 9]])
    assert match(references, boxes, 0.7, 0.3).tolist() == [0, BACKGROUND, BACKGROUND]
    assert match(references, boxes, 0.7, 0.3, best="all").tolist() == [0, 0, BACKGROUND]
    assert match(references, boxes + 100, 0.7, 0.3, best="all").tolist() == [BACKGROUND] * 3
