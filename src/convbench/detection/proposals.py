"""Regions that may hold an object: how they are chosen from a proposal network's answers, and how it learns.

Ren et al., Faster R-CNN, NIPS 2015, arXiv:1506.01497, section 3.1. Boxes are shares of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from convbench.detection.boxes import Coder, corners_of
from convbench.detection.matching import BACKGROUND, IGNORED, match

PLAIN = Coder(1.0, 1.0)
BETA = 1 / 9  # where smooth L1 turns linear: the authors' release has it for proposals, and 1 for regions


@dataclass(frozen=True)
class Proposing:
    """How many boxes come to the suppression of what overlaps, and how many leave it."""

    before: int
    after: int
    overlap: float = 0.7

    def __call__(self, objectness: Tensor, codes: Tensor, references: Tensor) -> list[Tensor]:
        """Corners of each image's proposals, the most certain first, at most `after`.

        objectness: (n, anchors, 2), of background and object; codes: (n, anchors, 4); references: (anchors, 4) centres

        Boxes are cut at the image's border; what has no area left is dropped.
        """
        certain, found = objectness[..., 1] - objectness[..., 0], list[Tensor]()
        for own, code in zip(certain, codes, strict=True):
            scores, best = own.topk(min(self.before, len(own)))
            boxes = PLAIN.decode(code[best], references[best]).clamp(0, 1)
            there = (boxes[:, 2:] > boxes[:, :2]).all(1)
            boxes, scores = boxes[there], scores[there]
            found.append(boxes[nms(boxes, scores, self.overlap)[: self.after]])
        return found


TRAINING, TESTING = Proposing(12_000, 2_000), Proposing(6_000, 300)


def proposal_loss(objectness: Tensor, codes: Tensor, references: Tensor, boxes: Tensor, sampled: int = 256) -> Tensor:
    """What one image's answers cost: the mean over a sample of anchors, of which half are positive where there are as
    many.

    objectness, codes: (anchors, 2) and (anchors, 4); references: centres; boxes: corners of the objects, (k, 4)

    Anchors that reach out of the image do not count. An anchor is positive that overlaps an object by 0.7, or most of
    all; background that overlaps none by 0.3. Cross entropy and smooth L1 are both divided by the size of the sample,
    which is about what the paper's weight of 10 and division by the number of places come to.
    """
    corners = corners_of(references)
    inside = ((corners >= 0) & (corners <= 1)).all(1).nonzero()[:, 0]
    matched = torch.full((len(references),), IGNORED, device=references.device)
    matched[inside] = match(corners[inside], boxes, 0.7, 0.3, best="all")
    positive, negative = draw((matched >= 0).nonzero()[:, 0], (matched == BACKGROUND).nonzero()[:, 0], sampled, 0.5)
    chosen = torch.cat([positive, negative])
    if not len(chosen):
        return objectness.sum() * 0 + codes.sum() * 0
    labels = (matched[chosen] >= 0).long()
    targets = PLAIN.encode(boxes[matched[positive]], references[positive])
    wrong = F.cross_entropy(objectness[chosen], labels, reduction="sum")
    off = F.smooth_l1_loss(codes[positive], targets, reduction="sum", beta=BETA)
    return (wrong + off) / len(chosen)


def draw(positive: Tensor, negative: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """By chance, `count` of all, at most `share` of them positive, the rest negative: places of both.

    Chance is torch's own generator, which a training sets anew before each step.
    """
    most = min(len(positive), int(count * share))
    positive = positive[torch.randperm(len(positive), device=positive.device)[:most]]
    rest = count - len(positive)
    return positive, negative[torch.randperm(len(negative), device=negative.device)[:rest]]
