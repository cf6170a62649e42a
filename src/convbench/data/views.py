"""The random views of training images that the papers describe: crops, mirrored images, shifted colours.

Two forms of one thing: `View.batch` for images that lie in memory, all of one size, and `View.window` for photographs,
of which only the window that is wanted needs to be decoded.
"""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from convbench.errors import RequestError

TRIES = 10  # at a window of the area and shape that chance names, before the central one is taken
LIGHTING = (  # ImageNet's: square roots of the covariance's eigenvalues, on [0, 1], and its eigenvectors as columns
    (0.2175, 0.0188, 0.0045),
    ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)),
)


@dataclass(frozen=True)
class Window:
    """The part of a photograph that is seen, in its own pixels, and whether it is mirrored afterwards."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class View:
    """What may happen to a training image; the defaults leave it as it is.

    crop: "none"; "pad", a window of the image's own size out of the image with `pad` pixels of background around it
        (He et al. 2016, section 4.2); "shorter", a window of size x size out of the image resized to `shorter` pixels
        on the shorter side (Krizhevsky et al. 2012); or "area", a window of a random share `area` of the pixels and of
        a ratio of sides within `aspect`, resized to size x size (Szegedy et al. 2015, section 6)
    shorter: the least and the greatest of lengths, all alike probable (Simonyan & Zisserman 2015, section 3.1)
    mirror: half of all images, left to right
    colour: "none"; "pca", AlexNet's, along the principal components of ImageNet's colours, a tenth as their deviation

    Raises RequestError where a crop lacks its size, or has one that no image gives, and for a range that is none.
    """

    crop: Literal["none", "pad", "shorter", "area"] = "none"
    pad: int = Field(default=4, ge=1)
    size: int | None = Field(default=None, ge=1)
    shorter: tuple[int, int] = (256, 256)
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    mirror: bool = False
    colour: Literal["none", "pca"] = "none"

    def __post_init__(self) -> None:
        if self.crop in ("shorter", "area") and self.size is None:
            raise RequestError(f"view.size: expected the pixels of a side for crop {self.crop!r}, found none")
        for name, most in (("shorter", math.inf), ("area", 1), ("aspect", math.inf)):
            low, high = getattr(self, name)
            if not (0 < low <= high <= most and high < math.inf):
                within = "from the least to the greatest, above 0" + (", 1 at most" if most == 1 else "")
                raise RequestError(f"view.{name}: expected two numbers, {within}, found {[low, high]}")
        if self.crop == "shorter" and self.size is not None and self.size > self.shorter[0]:
            raise RequestError(
                f"view.size: expected {self.shorter[0]} pixels at most, the least of view.shorter, found {self.size}"
            )

    def window(self, height: int, width: int, generator: torch.Generator) -> Window:
        """What is seen of a photograph of height x width pixels; it becomes size x size."""
        top, left, rows, columns = {"shorter": self._of_shorter, "area": self._of_area}[self.crop](
            height, width, generator
        )
        return Window(top, left, rows, columns, self.mirror and _uniform(generator) < 0.5)

    def _of_shorter(self, height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
        assert self.size is not None
        low, high = self.shorter
        shorter = int(torch.randint(low, high + 1, (), generator=generator))
        side = round(self.size * min(height, width) / shorter)  # of the window, before the photograph is resized
        top, left = (int(torch.randint(0, free - side + 1, (), generator=generator)) for free in (height, width))
        return top, left, side, side

    def _of_area(self, height: int, width: int, generator: torch.Generator) -> tuple[int, int, int, int]:
        log_low, log_high = (math.log(ratio) for ratio in self.aspect)
        for _ in range(TRIES):
            share = self.area[0] + (self.area[1] - self.area[0]) * _uniform(generator)
            ratio = math.exp(log_low + (log_high - log_low) * _uniform(generator))
            columns, rows = (round(math.sqrt(share * height * width * one)) for one in (ratio, 1 / ratio))
            if 0 < columns <= width and 0 < rows <= height:
                top = int(torch.randint(0, height - rows + 1, (), generator=generator))
                left = int(torch.randint(0, width - columns + 1, (), generator=generator))
                return top, left, rows, columns
        rows, columns = min(height, round(width / self.aspect[0])), min(width, round(height * self.aspect[1]))
        return (height - rows) // 2, (width - columns) // 2, rows, columns

    def batch(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images in memory (n, c, h, w), each seen in its own way, but for colours.

        With crop "shorter" they are squares of `shorter` pixels, of which each shows a window of `size`.

        Raises RequestError where they are not, and for crop "area", which is for photographs.
        """
        n, _, height, width = images.shape
        rows, columns = height, width
        if self.crop == "area":
            raise RequestError(
                "view.crop 'area': expected photographs in files, found images in memory; nearest is 'shorter'"
            )
        if self.crop == "pad":
            images = torch.nn.functional.pad(images, (self.pad,) * 4)
        elif self.crop == "shorter":
            if (height, width) != self.shorter:
                raise RequestError(f"view.shorter: expected the stored {height}x{width} pixels, found {self.shorter}")
            rows = columns = cast(int, self.size)
        free = torch.tensor(images.shape[2:]) - torch.tensor((rows, columns)) + 1
        places = (torch.rand(n, 2, generator=generator) * free).int().tolist()
        mirrored = (torch.rand(n, generator=generator) < (0.5 if self.mirror else 0)).tolist()
        seen = torch.empty((n, images.shape[1], rows, columns), dtype=images.dtype)
        for image, window, (top, left), mirror in zip(images, seen, places, mirrored, strict=True):
            part = image[:, top : top + rows, left : left + columns]
            window.copy_(part.flip(2) if mirror else part)
        return seen


def shift_colours(images: Tensor, strength: Tensor) -> Tensor:
    """AlexNet's: float32 RGB images (n, 3, h, w) in [0, 1], by (n, 3) numbers of deviation 0.1, one a component."""
    deviations, components = (torch.tensor(one, device=images.device) for one in LIGHTING)
    return images + ((strength * deviations) @ components.T)[:, :, None, None]


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
