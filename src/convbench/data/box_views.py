"""The random views of images with boxes that SSD's paper describes: expanded, cropped, mirrored, with other colours.

Chance names a window first, which may reach out of the photograph; then only what is seen of the photograph is decoded,
at the size in which it is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass as plain_dataclass

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from convbench.data.decoding import decode_part
from convbench.data.views import Window
from convbench.errors import ConvbenchError

TRIES = 50  # at a patch that overlaps an object enough, before the next rule is drawn
WHOLE, ANY = 2.0, 0.0  # rules beside the least overlaps: the whole image, and any patch
FILL = (123, 117, 104)  # ImageNet's mean colour, around an expanded image
BRIGHTNESS, CONTRAST, SATURATION = 32 / 255, (0.5, 1.5), (0.5, 1.5)
HUE = 18 / 180  # of the circle, to either side: the release's 18 of OpenCV's 180 hues


@plain_dataclass(frozen=True)
class SeenBoxes:
    """window: of the photograph, in its pixels; boxes: (k, 4) corners as shares of it; kept: which of all they are"""

    window: Window
    boxes: Tensor
    kept: Tensor


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BoxView:
    """What may happen to a training image with boxes; Liu et al. 2016, sections 2.2 and 3.6, figures as released.

    size: pixels of a side of what is seen
    expand: half of all images lie, first, somewhere on a canvas of the mean colour, at most so many times as wide and
        high
    overlaps: least intersections over union with some object, of which each image draws one, and a patch is taken that
        has it; as likely as each of them are any patch, and the whole image
    scale, aspect: of a patch's sides to the image's, and between its own
    mirror: half of all images, left to right
    colours: brightness, contrast, saturation and hue, each of half of all images

    An object is kept where its centre is seen, and cut at the border.
    """

    size: int = Field(default=300, ge=1)
    expand: float = Field(default=4.0, ge=1)
    overlaps: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    scale: tuple[float, float] = (0.3, 1.0)
    aspect: tuple[float, float] = (0.5, 2.0)
    mirror: bool = True
    colours: bool = True

    def window(self, height: int, width: int, boxes: Tensor, generator: torch.Generator) -> SeenBoxes:
        """What is seen of a photograph of height x width pixels with boxes, (k, 4) corners in its pixels, k above 0."""
        canvas = self._canvas(height, width, generator)
        window = self._patch(canvas, boxes, generator) if self.overlaps else canvas
        if self.mirror and _uniform(generator) < 0.5:
            window = Window(window.top, window.left, window.height, window.width, True)
        kept = _centred(boxes, window)
        return SeenBoxes(window, shares_of(boxes[kept], window), kept)

    def _canvas(self, height: int, width: int, generator: torch.Generator) -> Window:
        """The photograph's own, or a wider one that holds it somewhere."""
        if self.expand == 1 or _uniform(generator) < 0.5:
            return Window(0, 0, height, width, False)
        times = _between(1, self.expand, generator)
        rows, columns = round(times * height), round(times * width)
        top = -int(_uniform(generator) * (rows - height + 1))
        left = -int(_uniform(generator) * (columns - width + 1))
        return Window(top, left, rows, columns, False)

    def _patch(self, canvas: Window, boxes: Tensor, generator: torch.Generator) -> Window:
        """By the rule that is drawn, and another where no patch is found that keeps to it."""
        from torchvision.ops import box_iou

        rules = (WHOLE, *self.overlaps, ANY)
        while True:
            rule = rules[int(torch.randint(0, len(rules), (), generator=generator))]
            if rule == WHOLE:
                return canvas
            for _ in range(TRIES):
                patch = self._any_patch(canvas, generator)
                if patch is None or not bool(_centred(boxes, patch).any()):
                    continue
                corners = torch.tensor([[patch.left, patch.top, patch.left + patch.width, patch.top + patch.height]])
                if float(box_iou(corners.float(), boxes).max()) >= rule:
                    return patch

    def _any_patch(self, canvas: Window, generator: torch.Generator) -> Window | None:
        """None where chance's sides do not fit the canvas."""
        scale = _between(*self.scale, generator)
        low, high = (math.log(ratio) for ratio in self.aspect)
        aspect = math.exp(_between(low, high, generator))
        height, width = (
            round(scale * side * factor)
            for side, factor in ((canvas.height, aspect**-0.5), (canvas.width, aspect**0.5))
        )
        if not (0 < height <= canvas.height and 0 < width <= canvas.width):
            return None
        top = canvas.top + int(_uniform(generator) * (canvas.height - height + 1))
        left = canvas.left + int(_uniform(generator) * (canvas.width - width + 1))
        return Window(top, left, height, width, False)

    def see(
        self, content: bytes, height: int, width: int, boxes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A photograph in a file's bytes, uint8 (3, size, size), with (boxes, kept) as `window` says them.

        Raises ConvbenchError for one that is damaged, or not height x width pixels large, as its boxes were drawn on.
        """
        seen = self.window(height, width, boxes, generator)

        def choose(rows: int, columns: int) -> Window:
            require_size((rows, columns), (height, width))
            return seen.window

        change = Colours.drawn(generator) if self.colours else None
        image = decode_part(content, choose, self.size, FILL, change)
        return image, seen.boxes, seen.kept


@plain_dataclass(frozen=True)
class Colours:
    """A change of all colours; None leaves one as it is. Contrast is changed before saturation and hue, or after."""

    brightness: float | None
    contrast: float | None
    saturation: float | None
    hue: float | None
    contrast_first: bool

    @classmethod
    def drawn(cls, generator: torch.Generator) -> Colours:
        """Each with an even chance."""

        def maybe(low: float, high: float) -> float | None:
            return _between(low, high, generator) if _uniform(generator) < 0.5 else None

        return cls(
            maybe(-BRIGHTNESS, BRIGHTNESS),
            maybe(*CONTRAST),
            maybe(*SATURATION),
            maybe(-HUE, HUE),
            _uniform(generator) < 0.5,
        )

    def __call__(self, image: Tensor) -> Tensor:
        """uint8 (3, h, w) to the same."""
        from torchvision.transforms.v2 import functional

        x = image.float() / 255
        if self.brightness is not None:
            x = (x + self.brightness).clamp_(0, 1)
        if self.contrast is not None and self.contrast_first:
            x = (x * self.contrast).clamp_(0, 1)
        if self.saturation is not None:
            x = functional.adjust_saturation(x, self.saturation)
        if self.hue is not None:
            x = functional.adjust_hue(x, self.hue)
        if self.contrast is not None and not self.contrast_first:
            x = (x * self.contrast).clamp_(0, 1)
        return x.mul_(255).round_().to(torch.uint8)


def require_size(found: tuple[int, int], annotated: tuple[int, int]) -> None:
    """ConvbenchError unless a photograph of `found` (height, width) is as large as the one its boxes were drawn on."""
    if found != annotated:
        wanted, there = (f"{height}x{width}" for height, width in (annotated, found))
        raise ConvbenchError(f"the image: expected {wanted} pixels, as annotated, found {there}")


def shares_of(boxes: Tensor, window: Window) -> Tensor:
    """Corners in the photograph's pixels as shares of the window, cut at its border, mirrored with it."""
    origin = torch.tensor([window.left, window.top] * 2)
    sides = torch.tensor([window.width, window.height] * 2)
    shares = ((boxes - origin) / sides).clamp(0, 1)
    if window.mirrored:
        shares = torch.stack([1 - shares[:, 2], shares[:, 1], 1 - shares[:, 0], shares[:, 3]], 1)
    return shares


def _centred(boxes: Tensor, window: Window) -> Tensor:
    """Which boxes have their centre in the window."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2 - window.left, (boxes[:, 1] + boxes[:, 3]) / 2 - window.top
    return (x > 0) & (x < window.width) & (y > 0) & (y < window.height)


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * _uniform(generator)
