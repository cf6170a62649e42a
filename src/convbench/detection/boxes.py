"""Boxes as numbers: corners, centres, and the codes that a network regresses.

Corners are (left, top, right, bottom), centres (x, y, width, height), both as shares of the image's width and height.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 4.0  # logarithm of a size relative to the reference's, beyond which e to it would be no box of the image


def corners_of(centres: Tensor) -> Tensor:
    """(..., 4) centres to corners."""
    place, size = centres.split(2, -1)
    return torch.cat([place - size / 2, place + size / 2], -1)


def centres_of(corners: Tensor) -> Tensor:
    """(..., 4) corners to centres."""
    low, high = corners.split(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1)


@dataclass(frozen=True)
class Coder:
    """Boxes relative to reference boxes, as Faster R-CNN has them: offsets in sizes, logarithms of sizes.

    place, size: by which codes are multiplied, so that their deviations are about 1 (SSD's variances are 1 / 10, 1 / 5)
    """

    place: float = 10.0
    size: float = 5.0

    def encode(self, boxes: Tensor, references: Tensor) -> Tensor:
        """Corners of boxes and centres of their references, both (..., 4), to codes (x, y, width, height)."""
        place, size = centres_of(boxes).split(2, -1)
        at, by = references.split(2, -1)
        return torch.cat([self.place * (place - at) / by, self.size * (size / by).log()], -1)

    def decode(self, codes: Tensor, references: Tensor) -> Tensor:
        """Codes and centres of the references, both (..., 4), to corners."""
        place, size = codes.split(2, -1)
        at, by = references.split(2, -1)
        sizes = (size / self.size).clamp(max=LARGEST).exp() * by
        return corners_of(torch.cat([place / self.place * by + at, sizes], -1))
