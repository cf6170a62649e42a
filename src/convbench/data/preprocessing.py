"""From stored pixels to what a network or rival reads; it travels with the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from convbench.data.dataset import Dataset
from convbench.data.deslant import deslant
from convbench.errors import RequestError

LONGEST = 64  # times the shorter side: what is longer and narrower would fill the memory once it is resized


@dataclass(frozen=True)
class Preprocessing:
    """What is done to images; the defaults leave them as they are, scaled to [0, 1].

    The steps, in the order in which they are done:

    deslant: shear each image so that the principal axis of its ink is upright
    shorter: resample so that the shorter side has so many pixels; the ratio of the sides stays
    crop: keep the central crop x crop pixels
    size: resample to size x size
    pad: background pixels added on each of the four sides
    low, high: the values of pixel 0 (background) and pixel 255; LeNet-5 reads -0.1 and 1.175, so that
        the mean input is about 0 and the variance about 1 (LeCun et al. 1998, section II.B)
    bgr: blue first, as Caffe's networks read colours
    mean, std: of each channel that the network reads; x becomes (x - mean) / std

    Resampling is bilinear and antialiased, in floating point: nothing is rounded to 256 levels on the way, which
    Pillow does after each of the two directions.

    Raises RequestError for a size below 1, or a mean and std that do not fit each other.
    """

    deslant: bool = False
    crop: int | None = None
    size: int | None = None
    pad: int = 0
    low: float = 0.0
    high: float = 1.0
    shorter: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    bgr: bool = False

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # where it is read from a file

    def __post_init__(self) -> None:
        for name, smallest in (("shorter", 1), ("crop", 1), ("size", 1), ("pad", 0)):
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise RequestError(f"preprocessing.{name}: expected pixels, {smallest} or more, found {value}")
        if self.std is not None and not all(0 < value < math.inf for value in self.std):
            raise RequestError(f"preprocessing.std: expected numbers above 0, found {self.std}")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise RequestError(
                f"preprocessing: expected a mean and a std for each channel, found {len(self.mean)} and {len(self.std)}"
            )

    def for_dataset(self, dataset: Dataset) -> Preprocessing:
        """What is left to do on the stored images of `dataset`, where they are crops of photographs already resized.

        `shorter` speaks of the whole photograph: where that had 256 pixels before it was cropped, and 342 are asked
        for, the stored crop is enlarged by 342 / 256.

        Raises RequestError where the stored crop is too small for `crop`.
        """
        if self.shorter is None or dataset.shorter is None:
            return self
        side = min(dataset.images.shape[2:])
        left = round(side * self.shorter / dataset.shorter)
        if self.crop is not None and self.crop > left:
            raise RequestError(
                f"preprocessing.crop {self.crop} with shorter {self.shorter}: {dataset.name} holds {side} of "
                f"{dataset.shorter} pixels a side, which makes {left}; nearest are crop {left}, or shorter "
                f"{math.ceil(self.crop * dataset.shorter / side)}"
            )
        return replace(self, shorter=left)

    @property
    def keeps_geometry(self) -> bool:
        """Whether `geometry` leaves the pixels where they are."""
        return not (self.deslant or self.pad or self.shorter or self.crop or self.size)

    def geometry(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) in, float32 in [0, 1] out, with 0 as background; all steps up to `pad`.

        Raises RequestError for images smaller than `crop`, or too long and narrow for `shorter`.
        """
        x = images.to(torch.float32).div_(255)
        if self.deslant:
            x = deslant(x)
        if self.shorter is not None:
            x = _resample(x, *resized(self.shorter, *x.shape[2:]))
        if self.crop is not None:
            x = _central(x, self.crop)
        if self.size is not None:
            x = _resample(x, self.size, self.size)
        return F.pad(x, (self.pad,) * 4) if self.pad else x

    def scale(self, x: Tensor) -> Tensor:
        """[0, 1] to the values that the network reads: the steps from `low` on; `x` itself stays as it is.

        Raises RequestError where `mean`, `std` or `bgr` is for another number of channels.
        """
        if (self.low, self.high) != (0.0, 1.0):
            x = x * (self.high - self.low) + self.low
        if self.bgr:
            _check_channels("bgr", 3, x)
            x = x.flip(1)
        if self.mean is not None:
            x = x - _by_channel("mean", self.mean, x)
        if self.std is not None:
            x = x / _by_channel("std", self.std, x)
        return x

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 (n, c, h', w')."""
        return self.scale(self.geometry(images))


def _resample(x: Tensor, height: int, width: int) -> Tensor:
    if x.shape[2:] == (height, width):
        return x
    return F.interpolate(x, (height, width), mode="bilinear", antialias=True, align_corners=False)


def resized(shorter: int, height: int, width: int) -> tuple[int, int]:
    """The (height, width) that a photograph gets; the longer side is cut to whole pixels, as torchvision does."""
    require_proportions(height, width)
    longer = int(shorter * max(height, width) / min(height, width))
    return (shorter, longer) if height <= width else (longer, shorter)


def require_proportions(height: int, width: int) -> None:
    """RequestError for photographs that are too long and narrow to be resized by their shorter side."""
    if max(height, width) > LONGEST * min(height, width):
        raise RequestError(
            f"the image: expected sides within a factor of {LONGEST}, found {height}x{width}; cut the image first"
        )


def _central(x: Tensor, crop: int) -> Tensor:
    """The central crop x crop pixels. An odd margin leaves its odd pixel below and to the right, as in Keras.

    torchvision leaves it above and to the left where the margin is 3, 7, 11, ... pixels.
    """
    height, width = x.shape[2:]
    if crop > min(height, width):
        raise RequestError(
            f"preprocessing.crop {crop}: expected images at least as large, found {height}x{width}; nearest is "
            f"crop {min(height, width)}"
        )
    top, left = (height - crop) // 2, (width - crop) // 2
    return x[:, :, top : top + crop, left : left + crop]


def _by_channel(name: str, values: Sequence[float], x: Tensor) -> Tensor:
    _check_channels(f"{name} of {len(values)}", len(values), x)
    return torch.tensor(values, dtype=x.dtype, device=x.device)[:, None, None]


def _check_channels(what: str, expected: int, x: Tensor) -> None:
    if x.shape[1] != expected:
        raise RequestError(f"preprocessing.{what}: expected images of {expected} channels, found {x.shape[1]}")
