"""The boxes that a single-shot detector begins from: of several sizes and shapes at each place of several maps.

Each function gives centres, (boxes, 4), in the order in which the heads answer: map by map, row by row, place by place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

Shape = tuple[float, float]  # width, height, as shares of the image


def grid(maps: Sequence[int], shapes: Sequence[Sequence[Shape]]) -> Tensor:
    """The shapes of each map at each of its places, which lie in the middle of the map's cells."""
    boxes = []
    for side, own in zip(maps, shapes, strict=True):
        middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
        rows, columns = torch.meshgrid(middles, middles, indexing="ij")
        places = torch.stack([columns, rows], -1).reshape(-1, 1, 2).expand(-1, len(own), -1)
        sizes = torch.tensor(own, dtype=torch.float64).expand(side * side, -1, -1)
        boxes.append(torch.cat([places, sizes], -1).reshape(-1, 4))
    return torch.cat(boxes).float()


def ssd_shapes(
    least: Sequence[int], most: Sequence[int], ratios: Sequence[Sequence[float]], image: int
) -> list[list[Shape]]:
    """Liu et al. 2016, section 2.2, as their release has it, in pixels of an image.

    Of each map: a square of the least size, one of the mean (geometric) of least and most, and each ratio and its
    inverse at the least size.
    """
    shapes = []
    for low, high, own in zip(least, most, ratios, strict=True):
        sides = [low, math.sqrt(low * high)]
        shaped = [(low * math.sqrt(ratio) ** sign, low / math.sqrt(ratio) ** sign) for ratio in own for sign in (1, -1)]
        shapes.append(
            [(width / image, height / image) for width, height in [*((side, side) for side in sides), *shaped]]
        )
    return shapes


def object_detection_shapes(maps: int, least: float = 0.2, most: float = 0.95) -> list[list[Shape]]:
    """TensorFlow Object Detection API's for its SSDs: scales in equal steps; three boxes on the first map, then six."""
    scales = [least + (most - least) * k / (maps - 1) for k in range(maps)] + [1.0]
    shapes = [[(0.1, 0.1), *(_shaped(scales[0], ratio) for ratio in (2.0, 0.5))]]
    for scale, following in pairwise(scales[1:]):
        own = [_shaped(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)]
        shapes.append([*own, _shaped(math.sqrt(scale * following), 1.0)])
    return shapes


def _shaped(scale: float, ratio: float) -> Shape:
    return scale * math.sqrt(ratio), scale / math.sqrt(ratio)
