"""Which reference box answers for which object."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND, IGNORED = -1, -2


def match(
    references: Tensor, boxes: Tensor, above: float, below: float | None = None, *, best_for_each: bool = True
) -> Tensor:
    """(references,) int64: for each reference the object that it answers for, BACKGROUND or IGNORED.

    Args:
        references, boxes: corners, on one scale
        above: the least intersection over union of a match
        below: under which a reference is background; between the two it is ignored; by default as `above`
        best_for_each: each object is also given the reference that overlaps it most, whatever the overlap, as SSD's
            and Faster R-CNN's papers do; of two objects with one best reference the later one gets it
    """
    if not len(boxes):
        return references.new_full((len(references),), BACKGROUND, dtype=torch.int64)
    overlaps: Tensor = box_iou(references, boxes)
    best, matched = overlaps.max(1)
    matched[best < above] = IGNORED
    matched[best < (above if below is None else below)] = BACKGROUND
    if best_for_each:
        matched[overlaps.argmax(0)] = torch.arange(len(boxes), device=boxes.device)
    return matched
