"""From stored pixels to what a network or rival reads; it travels with the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.data.deslant import deslant


@dataclass(frozen=True)
class Preprocessing:
    """Steps in the order in which they are done; the defaults leave the image as it is, scaled to [0, 1].

    deslant: shear each image so that the principal axis of its ink is upright
    crop: keep the central crop x crop pixels
    size: resample to size x size (bilinear, antialiased)
    pad: background pixels added on each of the four sides
    low, high: the values of pixel 0 (background) and pixel 255; LeNet-5 reads -0.1 and 1.175, so that
        the mean input is about 0 and the variance about 1 (LeCun et al. 1998, section II.B)
    """

    deslant: bool = False
    crop: int | None = None
    size: int | None = None
    pad: int = 0
    low: float = 0.0
    high: float = 1.0

    def geometry(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) in, float32 in [0, 1] out, with 0 as background; all steps but the scaling."""
        x = images.to(torch.float32).div_(255)
        if self.deslant:
            x = deslant(x)
        if self.crop is not None:
            top, left = (x.shape[2] - self.crop) // 2, (x.shape[3] - self.crop) // 2
            x = x[:, :, top : top + self.crop, left : left + self.crop]
        if self.size is not None and x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return F.pad(x, (self.pad,) * 4) if self.pad else x

    def scale(self, x: Tensor) -> Tensor:
        """[0, 1] to [low, high]."""
        return x * (self.high - self.low) + self.low if (self.low, self.high) != (0.0, 1.0) else x

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 (n, c, h', w')."""
        return self.scale(self.geometry(images))
