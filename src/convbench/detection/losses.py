"""What a detector's answers cost."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.detection.boxes import Coder, corners_of
from convbench.detection.matching import match

NEGATIVES = 3  # for each positive
OVERLAP = 0.5  # intersection over union with an object, from which on a reference answers for it


def multibox_loss(
    answers: Tensor,
    references: Tensor,
    targets: Tensor,
    *,
    sigmoid: bool = False,
    overlap: float = OVERLAP,
    coder: Coder = Coder(),  # noqa: B008 (frozen)
) -> Tensor:
    """SSD's loss (Liu et al. 2016, section 2.2): smooth L1 of the codes of matched references, cross entropy of all
    matched and of the three times as many others that are most wrongly taken for something.

    Args:
        answers: (n, references, 4 + 1 + classes)
        references: (references, 4) centres
        targets: (n, most, 5): label and corners (shares of the image) of each object; label -1 where there is none
        sigmoid: each class by a cross entropy of its own, as the Object Detection API has it

    The sum over the batch, which is to be divided by the number of matches; 0 where nothing is matched.
    """
    corners, total = corners_of(references), answers.new_zeros(())
    for own, target in zip(answers, targets, strict=True):
        target = target[target[:, 0] >= 0]
        matched = match(corners, target[:, 1:], overlap)
        positive = matched >= 0
        labels = torch.zeros_like(matched)
        labels[positive] = target[matched[positive], 0].long() + 1  # 0 is the background
        codes = coder.encode(target[matched[positive], 1:], references[positive])
        total = total + F.smooth_l1_loss(own[positive, :4], codes, reduction="sum")
        scores = own[:, 4:]
        wrong = _each_class(scores, labels) if sigmoid else F.cross_entropy(scores, labels, reduction="none")
        count = int(positive.sum())
        hardest = wrong.detach().masked_fill(positive, -1).topk(min(NEGATIVES * count, len(wrong) - count)).indices
        total = total + wrong[positive].sum() + wrong[hardest].sum()
    return total


def matches(references: Tensor, targets: Tensor, overlap: float = OVERLAP) -> Tensor:
    """How many references answer for an object of `targets`, both as in `multibox_loss`."""
    corners = corners_of(references)
    counts = [(match(corners, target[target[:, 0] >= 0][:, 1:], overlap) >= 0).sum() for target in targets]
    return torch.stack(counts).sum()


def _each_class(scores: Tensor, labels: Tensor) -> Tensor:
    """The background's score, the first, is of no consequence: where no class answers, nothing is there."""
    targets = F.one_hot(labels, scores.shape[1])[:, 1:].to(scores.dtype)
    return F.binary_cross_entropy_with_logits(scores[:, 1:], targets, reduction="none").sum(1)
