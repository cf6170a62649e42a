"""Deslanting: shear each image so that the principal axis of its ink is upright.

LeCun et al. 1998, section III: the second moments of the foreground say how slanted it is, and shifting the
rows sideways turns its principal axis upright.
Departure: the paper counts a foreground pixel as 1 without saying from which grey on; here a pixel counts by
its grey value.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1024  # images at a time: intermediates stay near the processor's cache
FLAT = 1e-4  # pixels squared: ink whose rows vary less than this is one line, which has no slant


def deslant(x: Tensor) -> Tensor:
    """Shear float32 images (n, c, h, w) with background 0 upright, each about the centre of its own ink.

    Row r moves left by slant * (r - centre_row) columns, sub-pixel by linear interpolation; ink that leaves
    the image is lost. The shape stays; a blank image comes back as it was.
    """
    return torch.cat([_deslant_chunk(chunk) for chunk in torch.split(x, CHUNK)])


def slant(x: Tensor) -> tuple[Tensor, Tensor]:
    """The slant of images (n, c, h, w) in columns per row, and the row of the centre of mass; each (n,).

    The slant is mu11 / mu02 of the ink's central moments (rows are the second coordinate): what a shear must
    undo to make mu11 zero. It is 0 where the ink lies in one row or there is none.
    """
    height, width = x.shape[2:]
    columns = torch.arange(width, dtype=x.dtype) - (width - 1) / 2  # small numbers round less
    rows = torch.arange(height, dtype=x.dtype)
    # All moments that are needed follow from two sums over each row: its ink, and its ink by column.
    row_sums = (x @ torch.stack((torch.ones_like(columns), columns), dim=1)).sum(dim=1)  # (n, h, 2)
    ink, ink_by_column = row_sums.unbind(-1)
    mass = ink.sum(1).clamp_min(torch.finfo(x.dtype).tiny)
    centre_row = (ink @ rows) / mass
    offset = rows - centre_row[:, None]
    centre_column = ink_by_column.sum(1) / mass
    mu11 = (offset * (ink_by_column - centre_column[:, None] * ink)).sum(1)
    mu02 = (offset.square() * ink).sum(1)
    return torch.where(mu02 > FLAT * mass, mu11 / mu02, 0), centre_row


def _deslant_chunk(x: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    alpha, centre_row = slant(x)
    shift = alpha[:, None] * (torch.arange(height, dtype=x.dtype) - centre_row[:, None])  # (n, h)
    shift = shift.clamp(-width, width).repeat_interleave(channels, 0).flatten()
    whole = shift.floor()
    part = (shift - whole)[:, None]
    # Rows lie end to end with width + 1 zeros around each; a shifted row is then a window of that line.
    gap = width + 1
    line = torch.zeros(gap + n * channels * height * (width + gap), dtype=x.dtype)
    line[gap:].view(-1, width + gap)[:, :width] = x.reshape(-1, width)
    start = gap + torch.arange(len(shift)) * (width + gap) + whole.long()
    windows = line.unfold(0, width + 1, 1)[start]
    return torch.lerp(windows[:, :-1], windows[:, 1:], part).view_as(x)
