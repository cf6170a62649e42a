"""A drawing made ready as the digits of a data set were, before a network sees it.

MNIST (LeCun et al. 1998, section III.A): the digit was fitted into 20x20 pixels with its aspect kept, then placed so
that its centre of mass is the centre of 28x28. Scikit-learn's digits (Alpaydin & Kaynak, UCI optdigits): the digit was
fitted into a bitmap of 32x32, of which each 4x4 block was counted; that is an 8x8 image which the digit fills.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convbench.errors import RequestError

PAD = 28  # pixels of the pad's side


@dataclass(frozen=True)
class Frame:
    """How a data set's digits were placed.

    side: pixels of the images' side
    box: pixels of the square into which the ink was fitted
    pen: the width of a pen, in pixels of the pad, that writes about as boldly as the data set's writers did
    words: what is done, as the page says it
    """

    side: int
    box: int
    pen: float
    words: str


FRAMES = {  # by the data set's name; on these the explorer's networks have learnt
    "mnist": Frame(28, 20, 2.7, "fitted into 20×20 pixels, then moved until its centre of mass is the centre of 28×28"),
    "digits": Frame(8, 8, 3.8, "fitted into 8×8 pixels, which it fills"),
}


def prepare(pad: Tensor, frame: Frame) -> Tensor:
    """uint8 (h, w), 0 where there is no ink, to the uint8 image (side, side) that the data set would hold.

    An image that was prepared so already stays as it is, to the bit. Raises RequestError where there is no ink.
    """
    fitted = _resized(_square(_ink(pad)), frame.box)
    return fitted if frame.box == frame.side else _centred(_ink(fitted), frame.side)


def _ink(image: Tensor) -> Tensor:
    """What lies between the outermost pixels that are not background."""
    rows, columns = (image.any(dim=axis).nonzero()[:, 0] for axis in (1, 0))
    if len(rows) == 0:
        raise RequestError("expected ink on the pad, found none: draw a digit first")
    return image[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


def _square(ink: Tensor) -> Tensor:
    """The shorter side filled up with background on both sides."""
    height, width = ink.shape
    side = max(height, width)
    above, left = (side - height + 1) // 2, (side - width + 1) // 2
    return F.pad(ink, (left, side - width - left, above, side - height - above))


def _resized(square: Tensor, side: int) -> Tensor:
    """Shrunk by the mean of what a pixel covers, enlarged bilinearly."""
    if len(square) == side:
        return square
    how = Image.Resampling.BOX if len(square) > side else Image.Resampling.BILINEAR
    resized = Image.fromarray(square.contiguous().numpy()).resize((side, side), how)
    return torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(side, side)


def _centred(ink: Tensor, side: int) -> Tensor:
    """Moved by whole pixels until the centre of mass is at pixel side / 2; what would lie outside stops at the edge."""
    placed = torch.zeros(side, side, dtype=torch.uint8)
    top, left = (_start(ink.double().sum(dim=axis), side) for axis in (1, 0))
    placed[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return placed


def _start(mass: Tensor, side: int) -> int:
    """Where a profile begins whose centre of mass is to be at side / 2."""
    centre = float((mass * torch.arange(len(mass))).sum() / mass.sum())
    return min(max(math.floor(side / 2 - centre + 0.5), 0), side - len(mass))
