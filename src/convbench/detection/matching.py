"""Which reference box answers for which object."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND, IGNORED = -1, -2


def match(
    references: Tensor,
    boxes: Tensor,
    above: float,
    below: float | None = None,
    *,
    best: Literal["none", "one", "all"] = "one",
) -> Tensor:
    """(references,) int64: for each reference the object that it answers for, BACKGROUND or IGNORED.

    Args:
        references, boxes: corners, on one scale
        above: the least intersection over union of a match
        below: under which a reference is background; between the two it is ignored; by default as `above`
        best: what else is matched, whatever the overlap: for "one", with each object the reference that overlaps it
            most (SSD's paper; of two objects with one best reference the later one gets it); for "all", every reference
            that overlaps some object as much as any does, with what it overlaps most itself (Faster R-CNN's)
    """
    if not len(boxes):
        return references.new_full((len(references),), BACKGROUND, dtype=torch.int64)
    overlaps: Tensor = box_iou(references, boxes)
    most, matched = overlaps.max(1)
    nearest = matched.clone()
    matched[most < above] = IGNORED
    matched[most < (above if below is None else below)] = BACKGROUND
    if best == "one":
        matched[overlaps.argmax(0)] = torch.arange(len(boxes), device=boxes.device)
    elif best == "all":
        tied = ((overlaps == overlaps.amax(0)) & (overlaps > 0)).any(1)
        matched[tied] = nearest[tied]
    return matched
