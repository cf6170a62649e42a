"""What of a photograph a network sees when it is evaluated: the crops of the papers, whose softmax is averaged.

    name                         views  of a photograph, for a network of 224 pixels                             source
    centre                           1  as the preprocessing says: the central 224 of 256 pixels
    ten                             10  corners and centre of the central square, mirrored                  alexnet 4.1
    dense                            2  all of it, mirrored; fully connected layers as convolutions     vgg 3.2, 4.1
    dense-multi-scale                6  so with S - 32, S and S + 32 pixels on the shorter side             vgg 4.2
    multi-crop                     150  a grid of 5 x 5 windows, mirrored, at these three scales            vgg 4.3
    combined                       156  the mean of the last two                                            vgg 4.3
    dense-jittered                   2  as dense with 384 on the shorter side                               vgg 4.1
    dense-multi-scale-jittered       6  as dense with 256, 384 and 512                                      vgg 4.2
    multi-crop-jittered            150  as multi-crop at these three scales                                 vgg 4.3
    combined-jittered              156  the mean of the last two                                            vgg 4.3
    resnet-dense                    10  all of it, mirrored, with 224, 256, 384, 480, 640                resnet 4.1
    googlenet-144                  144  256, 288, 320, 352 on the shorter side; three squares of each;  googlenet 7
                                        of a square corners, centre and the whole of it resized; mirrored

Papers: Krizhevsky et al. 2012; Simonyan & Zisserman, ICLR 2015; He et al., CVPR 2016; Szegedy et al., CVPR 2015.

S is the preprocessing's `shorter`, 256 in most. The jittered ones are for networks that were trained at all scales from
256 to 512: these two and the one between, which is the single scale. For networks of other sizes all lengths are in
proportion: 32 pixels stand for a seventh of the network's side. No scale is smaller than that side, which is taken
instead.
Averaged are the softmax probabilities of the views, as the four papers do, in double precision; of dense views the
logits are averaged over the map first (vgg 3.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.data.preprocessing import Preprocessing
from convbench.errors import unknown

STEP = 1 / 7  # of the network's side: 32 pixels of 224


@dataclass(frozen=True)
class Scales:
    """Lengths of a photograph's shorter side: `first`, S or the network's side, and so many steps of 32 pixels more."""

    first: Literal["shorter", "side"]
    steps: tuple[int, ...]

    def lengths(self, shorter: int, side: int, kept: float) -> list[int]:
        """In pixels, where of a photograph the central `kept` is there."""
        first = shorter if self.first == "shorter" else side
        return [max(side, round(kept * (first + step * STEP * side))) for step in self.steps]


@dataclass(frozen=True)
class Views:
    """A set of views, all alike in weight; each of them mirrored, too.

    squares: of the resized photograph that are looked at: the central one, three of them (left or top, centre, right or
        bottom), or none: then the windows lie in all of it
    windows: "corners" and centre, a "grid" of 5 x 5, or "all" places at once
    whole: whether the square itself is looked at, resized
    """

    scales: Scales
    squares: Literal["none", "central", "three"] = "none"
    windows: Literal["corners", "grid", "all"] = "all"
    whole: bool = False

    @property
    def count(self) -> int:
        squares = 3 if self.squares == "three" else 1
        return 2 * len(self.scales.steps) * squares * ({"corners": 5, "grid": 25, "all": 1}[self.windows] + self.whole)

    def of(self, photograph: Tensor, lengths: list[int], side: int) -> list[Tensor]:
        """Of a uint8 photograph (c, h, w) in each of `lengths`: (views, c, side, side), or for each (2, c, h', w').

        Values are in [0, 1]; the second half of the views is the first, mirrored.
        """
        resized = [Preprocessing(shorter=length).geometry(photograph[None]) for length in lengths]
        if self.windows == "all":
            return [torch.cat([x, x.flip(3)]) for x in resized]
        views = torch.cat([view for x in resized for square in self._squares(x) for view in self._views(square, side)])
        return [torch.cat([views, views.flip(3)])]

    def _squares(self, x: Tensor) -> list[Tensor]:
        if self.squares == "none":
            return [x]
        length, free = min(x.shape[2:]), max(x.shape[2:]) - min(x.shape[2:])
        starts = [free // 2] if self.squares == "central" else [0, free // 2, free]
        return [x.narrow(2 if x.shape[2] > x.shape[3] else 3, start, length) for start in starts]

    def _views(self, square: Tensor, side: int) -> Iterator[Tensor]:
        down, right = (size - side for size in square.shape[2:])
        for top, left in _corners(down, right) if self.windows == "corners" else _grid(down, right):
            yield square[:, :, top : top + side, left : left + side]
        if self.whole:
            yield F.interpolate(square, (side, side), mode="bilinear", antialias=True, align_corners=False)


@dataclass(frozen=True)
class Crops:
    """A protocol of evaluation, by its name in `CROPS`; the probabilities of its sets of views are averaged."""

    name: str
    parts: tuple[Views, ...] = ()

    @property
    def views(self) -> int:
        """How often the network looks at a photograph."""
        return sum(part.count for part in self.parts) or 1

    @property
    def is_dense(self) -> bool:
        """Whether some views are larger than the network's own input, so that it has to run as it is."""
        return any(part.windows == "all" for part in self.parts)


_ONE, _THREE = Scales("shorter", (0,)), Scales("shorter", (-1, 0, 1))
_JITTERED = Scales("side", (1, 5, 9))
_DENSE, _GRID = Views(_THREE), Views(_THREE, windows="grid")
_DENSE_JITTERED, _GRID_JITTERED = Views(_JITTERED), Views(_JITTERED, windows="grid")
CROPS = {
    crops.name: crops
    for crops in (
        Crops("centre"),
        Crops("ten", (Views(_ONE, "central", "corners"),)),
        Crops("dense", (Views(_ONE),)),
        Crops("dense-multi-scale", (_DENSE,)),
        Crops("multi-crop", (_GRID,)),
        Crops("combined", (_DENSE, _GRID)),
        Crops("dense-jittered", (Views(Scales("side", (5,))),)),
        Crops("dense-multi-scale-jittered", (_DENSE_JITTERED,)),
        Crops("multi-crop-jittered", (_GRID_JITTERED,)),
        Crops("combined-jittered", (_DENSE_JITTERED, _GRID_JITTERED)),
        Crops("resnet-dense", (Views(Scales("side", (0, 1, 5, 8, 13))),)),
        Crops("googlenet-144", (Views(Scales("side", (1, 2, 3, 4)), "three", "corners", whole=True),)),
    )
}


def open_crops(name: str) -> Crops:
    """The crops of this name; RequestError, with the nearest, for an unknown one."""
    if name not in CROPS:
        raise unknown("crops", name, CROPS)
    return CROPS[name]


def _corners(down: int, right: int) -> list[tuple[int, int]]:
    """The top and left pixel of the four corners and of the centre, where a window may move so far."""
    return [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]


def _grid(down: int, right: int) -> list[tuple[int, int]]:
    return [(round(down * i / 4), round(right * j / 4)) for i in range(5) for j in range(5)]
