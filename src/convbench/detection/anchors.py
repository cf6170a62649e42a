"""The boxes that regions are proposed from: of several sizes and shapes at each place of one map."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def anchors(rows: int, columns: int, stride: int, sides: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Centres in pixels, (rows * columns * shapes, 4): row by row, place by place, ratio by ratio, side by side.

    sides: square roots of the areas; ratios: of height to width

    They lie in the middle of the pixels that a place of the map stands for; torchvision's lie at the first of these.
    """
    shapes = [(side / math.sqrt(ratio), side * math.sqrt(ratio)) for ratio in ratios for side in sides]
    y, x = ((torch.arange(count) + 0.5) * stride for count in (rows, columns))
    places = torch.stack([*torch.meshgrid(x, y, indexing="xy")], -1).reshape(-1, 1, 2)
    sizes = torch.tensor(shapes).expand(len(places), -1, -1)
    return torch.cat([places.expand(-1, len(shapes), -1), sizes], -1).reshape(-1, 4)
