"""Random distortions that make more training images out of the given ones, for whole batches at once.

LeCun et al. 1998, section III.B: planar affine distortions, combining translation, scaling, squeezing
(horizontal compression with vertical elongation, or the reverse) and horizontal shear. The paper gives no
ranges.
Simard, Steinkraus & Platt 2003, section 2: elastic distortions, random displacement fields smoothed with a
Gaussian of width sigma and multiplied by alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.errors import RequestError

CHUNK = 512  # images at a time: grids and fields stay near the processor's cache


@dataclass(frozen=True)
class Distortion:
    """How far each random distortion may go; all zero leaves the images as they are.

    translate: up to so many pixels, horizontally and vertically
    scale: 0.1 enlarges by up to 1.1 or reduces by up to 1 / 1.1
    squeeze: 0.1 compresses one axis by up to 1 / 1.1 and elongates the other by as much
    shear: each row shifts by up to so many columns times its distance in rows from the centre
    rotate: up to so many degrees either way
    elastic_alpha, elastic_sigma: strength, and smoothness in pixels, of elastic distortion; alpha 0 is none

    The defaults suit MNIST and keep to what later papers state for it: translations of 2 pixels (DeCoste
    & Schölkopf 2002), 15 to 20 % along each axis (here 1.1 * 1.1 - 1 = 21 %, split between scale and squeeze)
    and shears of 7.5 to 15 degrees, slopes of 0.13 to 0.27 (Cireşan et al. 2010, arXiv:1003.0358). Simard et
    al. used alpha 34 with sigma 4, which moves a pixel by 1.4 pixels root mean square along each axis.

    Raises RequestError for a negative range, or an elastic_alpha without an elastic_sigma.
    """

    translate: float = 2.0
    scale: float = 0.1
    squeeze: float = 0.1
    shear: float = 0.2
    rotate: float = 0.0
    elastic_alpha: float = 0.0
    elastic_sigma: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value < math.inf:
                raise RequestError(f"distortion {name}: expected a number of 0 or more, found {value}")
        if self.elastic_alpha and not self.elastic_sigma:
            raise RequestError(f"elastic_alpha {self.elastic_alpha} needs an elastic_sigma over 0, such as 4")

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Distort float32 images (n, c, h, w) with background 0, each in its own way; the shape stays.

        Affine and elastic distortion share one bilinear resampling, and all channels of an image one
        distortion. The same generator state gives the same result.
        """
        matrices = self._inverse_affine(torch.rand(len(x), 6, generator=generator).mul_(2).sub_(1))
        chunks = zip(torch.split(x, CHUNK), torch.split(matrices, CHUNK), strict=True)
        return torch.cat([self._resample(images, inverse, generator) for images, inverse in chunks])

    def _inverse_affine(self, u: Tensor) -> Tensor:
        """Uniform numbers in [-1, 1] (n, 6) to matrices (n, 2, 3) that say where an output pixel comes from.

        Coordinates are pixels (column, row) from the image's centre. The distortion scales, shears, rotates
        and then translates, so its inverse undoes them from the last to the first.
        """
        dx, dy, log_scale, log_squeeze, k, angle = u.unbind(1)
        k, angle = k * self.shear, angle * math.radians(self.rotate)
        larger, wider = (1 + self.scale) ** log_scale, (1 + self.squeeze) ** log_squeeze
        cos, sin = angle.cos(), angle.sin()
        across = torch.stack((cos + k * sin, sin - k * cos), 1) / (larger * wider)[:, None]
        down = torch.stack((-sin, cos), 1) / (larger / wider)[:, None]
        linear = torch.stack((across, down), 1)
        shift = linear @ torch.stack((dx, dy), 1).mul(-self.translate)[..., None]
        return torch.cat((linear, shift), 2)

    def _resample(self, x: Tensor, inverse: Tensor, generator: torch.Generator) -> Tensor:
        height, width = x.shape[2:]
        columns = torch.arange(width, dtype=x.dtype) - (width - 1) / 2
        rows = torch.arange(height, dtype=x.dtype) - (height - 1) / 2
        ones = torch.ones(height * width, dtype=x.dtype)
        pixels = torch.stack((columns.repeat(height), rows.repeat_interleave(width), ones))
        source = inverse @ pixels  # (n, 2, h * w), columns and rows from the centre
        if self.elastic_alpha:
            source += self._elastic(len(x), height, width, generator)
        # On a canvas whose sides are powers of two, the normalised coordinates of whole pixels are exact in
        # floating point: a move by whole pixels then copies pixels and does not blend them.
        side_x, side_y = (1 << (side - 1).bit_length() for side in (width, height))
        canvas = F.pad(x, (0, side_x - width, 0, side_y - height))
        to_grid = torch.tensor([[2 / side_x], [2 / side_y]])
        centre = torch.tensor([[width / side_x - 1], [height / side_y - 1]])
        grid = (source * to_grid + centre).transpose(1, 2).reshape(-1, height, width, 2)
        return F.grid_sample(canvas, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _elastic(self, n: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Displacements (n, 2, h * w) in pixels; with no noise outside the image, its edges move less."""
        noise = torch.rand(n, 2, height, width, generator=generator).mul_(2).sub_(1)
        smooth = _gaussian(height, self.elastic_sigma) @ noise @ _gaussian(width, self.elastic_sigma)
        return smooth.view(n, 2, -1).mul_(self.elastic_alpha)


def _gaussian(size: int, sigma: float) -> Tensor:
    """The matrix (size, size) that smooths a line of pixels, zero beyond its ends, with a Gaussian."""
    position = torch.arange(size, dtype=torch.float32)
    weights = (position[:, None] - position).div(sigma).square().mul(-0.5).exp()
    reach = torch.arange(-math.ceil(6 * sigma), math.ceil(6 * sigma) + 1)
    return weights / reach.div(sigma).square().mul(-0.5).exp().sum()
