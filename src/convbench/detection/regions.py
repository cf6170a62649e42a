"""What is in a proposed region: which of them are learnt from, and what the answers cost.

Girshick, Fast R-CNN, ICCV 2015, arXiv:1504.08083, section 2.3, as Faster R-CNN has it. Boxes are shares of the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.detection.boxes import Coder, centres_of
from convbench.detection.matching import BACKGROUND, match
from convbench.detection.proposals import draw

CODER = Coder()  # codes divided by the deviations 0.1, 0.1, 0.2, 0.2


@dataclass(frozen=True)
class Sampled:
    """Regions of one image: corners (m, 4); labels (m,), 0 for background; codes (m, 4) of those that are objects."""

    boxes: Tensor
    labels: Tensor
    codes: Tensor


def sample_regions(proposals: Tensor, boxes: Tensor, labels: Tensor, sampled: int = 64) -> Sampled:
    """By chance, `sampled` of an image's proposals, with its objects among them: a quarter at most are objects.

    A proposal is an object that overlaps one by half. All others are background; Fast R-CNN leaves out those below 0.1,
    a way to find hard examples that Faster R-CNN's release does without.
    """
    candidates = torch.cat([proposals, boxes])
    matched = match(candidates, boxes, 0.5, best="none")
    positive, negative = draw((matched >= 0).nonzero()[:, 0], (matched == BACKGROUND).nonzero()[:, 0], sampled, 0.25)
    chosen = torch.cat([positive, negative])
    named = torch.zeros_like(chosen)
    named[: len(positive)] = labels[matched[positive]] + 1
    references = centres_of(candidates[chosen])
    codes = torch.zeros_like(references)
    codes[: len(positive)] = CODER.encode(boxes[matched[positive]], references[: len(positive)])
    return Sampled(candidates[chosen], named, codes)


def region_loss(scores: Tensor, codes: Tensor, sampled: Sampled) -> Tensor:
    """Of one image's regions, the mean: cross entropy, and smooth L1 of the codes of the right class.

    scores: (m, 1 + classes), the background's first; codes: (m, classes, 4)
    """
    if not len(sampled.labels):
        return scores.sum() * 0 + codes.sum() * 0
    objects = sampled.labels.nonzero()[:, 0]
    right = codes[objects, sampled.labels[objects] - 1]
    wrong = F.cross_entropy(scores, sampled.labels, reduction="sum")
    off = F.smooth_l1_loss(right, sampled.codes[objects], reduction="sum")
    return (wrong + off) / len(sampled.labels)
