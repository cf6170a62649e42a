"""Where an architecture's layers stand: a slab for each, as high as its map is and as wide as it has channels.

Both by their square roots: from 224 pixels to 7, and from 3 channels to 4,096, even sizes would leave nothing to see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from convbench.report.placement import CHARACTER
from convbench.web.architecture import Block, Layer, Part, Repeat, Wire, shape_after

WIDTH = 1030.0  # pixels that a line of the drawing fills
HIGHEST = 120.0  # of the image, the highest slab
# Pixels for the square root of a channel: the widest that fits.
CHANNELS = (5.0, 4.0, 3.2, 2.6, 2.1, 1.7, 1.4, 1.2, 1.0)
THINNEST, LOWEST = 2.5, 5.0  # a slab's sides at least
GAP, BETWEEN, APART = 3.0, 9.0, 22.0  # between layers, parts, stages
BRANCHES, FAN, OVER = 5.0, 8.0, 9.0  # between branches; from a fork to them; from a residual to a shortcut's line
FRAME, HEAD = 7.0, 18.0  # of what repeats: around it, and above it for how often
LABELS = 40.0  # below a line
TRUNK = "trunk."  # how the names of a detector's backbone begin, which its drawing says above
IMAGE = 52.0  # from the left edge to the first layer


@dataclass(frozen=True)
class Size:
    """Pixels: across, and above and below the axis that the data flow along."""

    width: float
    up: float
    down: float


@dataclass(frozen=True)
class Scale:
    """Pixels for the square root of a pixel of the map, and of a channel."""

    side: float
    channel: float

    def slab(self, shape: Sequence[int]) -> tuple[float, float]:
        """(width, height) of a layer with outputs of that shape; what has no map is one pixel high."""
        side = shape[1] if len(shape) > 1 else 1
        return max(self.channel * math.sqrt(shape[0]), THINNEST), max(self.side * math.sqrt(side), LOWEST)


def scale_for(image: Sequence[int], parts: Sequence[Part]) -> Scale:
    """The largest at which all parts fit on one line; where none does, the smallest."""
    side = HIGHEST / math.sqrt(image[1])
    stages = stages_of(parts, tuple(image))
    for channel in CHANNELS:
        scale = Scale(side, channel)
        if sum(stage_width(stage, shape, scale) + APART for stage, shape in stages) + IMAGE <= WIDTH:
            break
    return scale


def stages_of(parts: Sequence[Part], image: tuple[int, ...]) -> list[tuple[list[Part], tuple[int, ...]]]:
    """Parts that leave maps of one size, and the shape that the last of them leaves."""
    shapes, shape = list[tuple[int, ...]](), image
    for part in parts:
        shape = shape_after(part, shape)
        shapes.append(shape)
    paired = zip(parts, shapes, strict=True)
    runs = [list(run) for _, run in groupby(paired, lambda one: one[1][1:])]
    return [([part for part, _ in run], run[-1][1]) for run in runs]


def wrapped(
    stages: Sequence[tuple[list[Part], tuple[int, ...]]], scale: Scale, taken: float
) -> list[list[tuple[list[Part], tuple[int, ...]]]]:
    """Stages on lines: a stage begins a line where it would not fit, and goes over several where it fits on none."""
    lines: list[list[tuple[list[Part], tuple[int, ...]]]] = [[]]
    left = WIDTH - taken
    for stage, shape in stages:
        width = stage_width(stage, shape, scale)
        pieces = [stage]
        if width > WIDTH - APART:
            pieces = _pieces(stage, shape, scale, left)
        for piece in pieces:
            room = stage_width(piece, shape, scale) + APART
            if room > left + APART and lines[-1]:
                lines.append([])
                left = WIDTH - APART / 2
            lines[-1].append((piece, shape))
            left -= room
    return lines


def _pieces(stage: list[Part], shape: tuple[int, ...], scale: Scale, left: float) -> list[list[Part]]:
    """A stage cut where the line is full; the first piece has what is left of its line."""
    pieces: list[list[Part]] = [[]]
    for part in stage:
        if pieces[-1] and stage_width([*pieces[-1], part], shape, scale) > left:
            pieces.append([])
            left = WIDTH - APART
        pieces[-1].append(part)
    return pieces


def stage_width(stage: Sequence[Part], shape: tuple[int, ...], scale: Scale) -> float:
    """With room for its label."""
    letters = max(len(names_of(stage)), len(times(shape)))
    return max(size_of_all(stage, scale, BETWEEN).width, CHARACTER * letters - APART / 2)


def names_of(stage: Sequence[Part]) -> str:
    """The first part's and the last one's."""
    names = [part.name.removeprefix(TRUNK) for part in stage if not isinstance(part, Wire)]
    if len(names) < 2:
        return "".join(names)
    first, last = names[0].split(" – ")[0], names[-1].split(" – ")[-1]
    module, _, own = last.rpartition(".")
    is_told = module and first.startswith(f"{module}.") and not own.isdigit()
    return f"{first} – {own if is_told else last}"


def times(shape: Sequence[int]) -> str:
    return " × ".join(f"{number:,}" for number in shape)


def size_of(part: Part, scale: Scale) -> Size:
    if isinstance(part, Wire):
        return Size(0, 0, 0)
    if isinstance(part, Layer):
        width, height = scale.slab(part.row.output_shape)
        return Size(width, height / 2, height / 2)
    if isinstance(part, Block):
        return size_of_all(part.parts, scale)
    if isinstance(part, Repeat):
        one = size_of(part.blocks[0], scale)
        return Size(one.width + 2 * FRAME, one.up + FRAME + HEAD, one.down + FRAME)
    sizes = [size_of_all(branch, scale) for branch in part.branches]
    width = max(size.width for size in sizes) + 2 * FAN
    if part.join == "cat":
        height = sum(size.up + size.down for size in sizes) + BRANCHES * (len(sizes) - 1)
        return Size(width, height / 2, height / 2)
    residual, shortcut = sizes
    over = BRANCHES + shortcut.up + shortcut.down if shortcut.up else OVER
    return Size(width + FAN, residual.up + over, residual.down)


def size_of_all(parts: Sequence[Part], scale: Scale, gap: float = GAP) -> Size:
    sizes = [size_of(part, scale) for part in parts if not isinstance(part, Wire)]
    if not sizes:
        return Size(0, 0, 0)
    width = sum(size.width for size in sizes) + gap * (len(sizes) - 1)
    return Size(width, max(size.up for size in sizes), max(size.down for size in sizes))
