"""Real photographs that are always there: crops of the two that scikit-learn ships."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def sample_photographs(n: int, channels: int, side: int) -> Tensor:
    """`n` overlapping square crops of a temple and a flower, resized: uint8 (n, channels, side, side).

    Args:
        channels: 3, or 1 for the mean of the colours; another number repeats the mean

    The same `n` gives the same crops: of three sizes (all of the height, three and two quarters of it), taken from
    both photographs in turn, evenly from left to right.
    """
    from sklearn.datasets import load_sample_images

    whole = [torch.from_numpy(np.array(one)).permute(2, 0, 1) for one in load_sample_images().images]
    crops = []
    for number in range(n):
        photograph = whole[number % len(whole)]
        height, width = photograph.shape[1:]
        size = height * (4 - number // len(whole) % 3) // 4
        along = (number / max(1, n - 1)) if n > 1 else 0.5
        left, top = round((width - size) * along), (height - size) // 2
        crop = photograph[None, :, top : top + size, left : left + size].float()
        crops.append(F.interpolate(crop, (side, side), mode="bilinear", antialias=True, align_corners=False))
    images = torch.cat(crops)
    if channels != 3:
        images = images.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    return images.round().clamp(0, 255).to(torch.uint8)
