"""An architecture drawn to scale: a slab for each layer, as high as its map is and as wide as it has channels.

Both by their square roots: from 224 pixels to 7, and from 3 channels to 4,096, even sizes would leave nothing to see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from markupsafe import Markup

from convbench.report.placement import CHARACTER
from convbench.web.architecture import Block, Fork, Layer, Part, Repeat, Wire, shape_after
from convbench.web.pages import environment

WIDTH = 1030.0  # pixels that a line of the drawing fills
HIGHEST = 120.0  # of the image, the highest slab
CHANNELS = (
    5.0,
    4.0,
    3.2,
    2.6,
    2.1,
    1.7,
    1.4,
    1.2,
    1.0,
)  # pixels for the square root of a channel: the widest that fits
THINNEST, LOWEST = 2.5, 5.0  # a slab's sides at least
GAP, BETWEEN, APART = 3.0, 9.0, 22.0  # between layers, parts, stages
BRANCHES, FAN, OVER = 5.0, 8.0, 9.0  # between branches; from a fork to them; from a residual to a shortcut's line
FRAME, HEAD = 7.0, 18.0  # of what repeats: around it, and above it for how often
LABELS = 40.0  # below a line
TRUNK = "trunk."  # how the names of a detector's backbone begin, which its drawing says above
IMAGE = 52.0  # from the left edge to the first layer


@dataclass(frozen=True)
class Slab:
    """A layer. line: the number of the table's line that has it; tint: 0 to 1, by its share of what is counted."""

    x: float
    y: float
    width: float
    height: float
    ink: str
    tint: float
    line: int
    title: str
    is_first: bool


@dataclass(frozen=True)
class Frame:
    """What repeats: a frame around the first of so many, which are shown one by one where `href` leads."""

    x: float
    y: float
    width: float
    height: float
    times: int
    href: str


@dataclass(frozen=True)
class Label:
    """Below a stage: its names, and the shape of what leaves it."""

    x: float
    y: float
    width: float
    text: str
    shape: str


@dataclass
class Drawing:
    """Shapes in pixels; pluses are the circles in which a shortcut is added."""

    width: float = 0.0
    height: float = 0.0
    slabs: list[Slab] = field(default_factory=list)
    wires: list[str] = field(default_factory=list)
    pluses: list[tuple[float, float]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def to_svg(self, title: str) -> Markup:
        """As the page holds it."""
        return Markup(environment().get_template("architecture.svg.j2").render(drawing=self, title=title))


@dataclass(frozen=True)
class Look:
    """How layers look: line and title of a layer, its tint, and where a repeated part is shown whole."""

    line: Callable[[Layer], int]
    title: Callable[[Layer], str]
    tint: Callable[[Layer], float]
    href: Callable[[Repeat], str]


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
    for channel in CHANNELS:
        scale = Scale(side, channel)
        stages = _stages(parts, tuple(image))
        if sum(_stage_width(stage, shape, scale) + APART for stage, shape in stages) + IMAGE <= WIDTH:
            break
    return scale


def draw_network(parts: Sequence[Part], image: Sequence[int], scale: Scale, look: Look) -> Drawing:
    """The whole network, stage by stage: a stage is all parts that leave maps of one size."""
    width, height = scale.slab(image)
    made = Drawing()
    lines = _wrapped([(stage, shape) for stage, shape in _stages(parts, tuple(image))], scale, IMAGE)
    top = 0.0
    for number, line in enumerate(lines):
        sizes = [_size_of_all(stage, scale, BETWEEN) for stage, _ in line]
        up = max(size.up for size in sizes) if number else max(height / 2, *(size.up for size in sizes))
        down = max(size.down for size in sizes) if number else max(height / 2, *(size.down for size in sizes))
        x, axis = 0.0, top + up + 2
        if number == 0:
            made.slabs.append(
                Slab(1, axis - height / 2, width, height, "image", 0, 0, f"image: {_times(image)}", is_first=False)
            )
            made.labels.append(Label(1, axis + down + 8, width, "image", ""))
            x = IMAGE
            made.wires.append(f"M{width + 1:.1f} {axis:.1f}H{x:.1f}")
        else:
            made.wires.append(f"M0 {axis:.1f}H{APART / 2:.1f}")
            x = APART / 2
        for (stage, shape), size in zip(line, sizes, strict=True):
            room = _stage_width(stage, shape, scale)
            _draw_all(made, stage, x, axis, scale, look, BETWEEN)
            made.labels.append(Label(x, axis + down + 8, size.width, _names(stage), _times(shape)))
            if (stage, shape) != line[-1] or line is not lines[-1]:
                made.wires.append(f"M{x + size.width:.1f} {axis:.1f}H{x + room + APART:.1f}")
            x += room + APART
        made.width = max(made.width, x - APART / 2)
        top = axis + down + LABELS
    made.height = top
    return made


def draw_parts(parts: Sequence[Part], scale: Scale, look: Look, *, wired: bool = True) -> Drawing:
    """Parts by themselves, each with its name below; wired: whether each reads what the one before has made."""
    made, top = Drawing(), 0.0
    for line in _wrapped([([part], ()) for part in parts if not isinstance(part, Wire)], scale, 0):
        sizes = [_size(stage[0], scale) for stage, _ in line]
        down, x = max(size.down for size in sizes), 1.0
        axis = top + max(size.up for size in sizes) + 2
        for (stage, _), size in zip(line, sizes, strict=True):
            _draw(made, stage[0], x, axis, scale, look)
            made.labels.append(Label(x, axis + down + 8, size.width, _names(stage), ""))
            room = _stage_width(stage, (), scale) + APART
            if wired:
                made.wires.append(f"M{x + size.width:.1f} {axis:.1f}H{x + room:.1f}")
            x += room
        made.width, top = max(made.width, x), axis + down + LABELS - 14
    made.height = top
    return made


def _stages(parts: Sequence[Part], image: tuple[int, ...]) -> list[tuple[list[Part], tuple[int, ...]]]:
    """Parts that leave maps of one size, and the shape that the last of them leaves."""
    shapes, shape = list[tuple[int, ...]](), image
    for part in parts:
        shape = shape_after(part, shape)
        shapes.append(shape)
    paired = zip(parts, shapes, strict=True)
    runs = [list(run) for _, run in groupby(paired, lambda one: one[1][1:])]
    return [([part for part, _ in run], run[-1][1]) for run in runs]


def _wrapped(
    stages: Sequence[tuple[list[Part], tuple[int, ...]]], scale: Scale, taken: float
) -> list[list[tuple[list[Part], tuple[int, ...]]]]:
    """Stages on lines: a stage begins a line where it would not fit, and goes over several where it fits on none."""
    lines: list[list[tuple[list[Part], tuple[int, ...]]]] = [[]]
    left = WIDTH - taken
    for stage, shape in stages:
        width = _stage_width(stage, shape, scale)
        pieces = [stage]
        if width > WIDTH - APART:
            pieces = _pieces(stage, shape, scale, left)
        for piece in pieces:
            room = _stage_width(piece, shape, scale) + APART
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
        if pieces[-1] and _stage_width([*pieces[-1], part], shape, scale) > left:
            pieces.append([])
            left = WIDTH - APART
        pieces[-1].append(part)
    return pieces


def _stage_width(stage: Sequence[Part], shape: tuple[int, ...], scale: Scale) -> float:
    """With room for its label."""
    letters = max(len(_names(stage)), len(_times(shape)))
    return max(_size_of_all(stage, scale, BETWEEN).width, CHARACTER * letters - APART / 2)


def _names(stage: Sequence[Part]) -> str:
    """The first part's and the last one's."""
    names = [part.name.removeprefix(TRUNK) for part in stage if not isinstance(part, Wire)]
    if len(names) < 2:
        return "".join(names)
    first, last = names[0].split(" – ")[0], names[-1].split(" – ")[-1]
    module, _, own = last.rpartition(".")
    is_told = module and first.startswith(f"{module}.") and not own.isdigit()
    return f"{first} – {own if is_told else last}"


def _times(shape: Sequence[int]) -> str:
    return " × ".join(f"{number:,}" for number in shape)


def _size(part: Part, scale: Scale) -> Size:
    if isinstance(part, Wire):
        return Size(0, 0, 0)
    if isinstance(part, Layer):
        width, height = scale.slab(part.row.output_shape)
        return Size(width, height / 2, height / 2)
    if isinstance(part, Block):
        return _size_of_all(part.parts, scale)
    if isinstance(part, Repeat):
        one = _size(part.blocks[0], scale)
        return Size(one.width + 2 * FRAME, one.up + FRAME + HEAD, one.down + FRAME)
    sizes = [_size_of_all(branch, scale) for branch in part.branches]
    width = max(size.width for size in sizes) + 2 * FAN
    if part.join == "cat":
        height = sum(size.up + size.down for size in sizes) + BRANCHES * (len(sizes) - 1)
        return Size(width, height / 2, height / 2)
    residual, shortcut = sizes
    over = BRANCHES + shortcut.up + shortcut.down if shortcut.up else OVER
    return Size(width + FAN, residual.up + over, residual.down)


def _size_of_all(parts: Sequence[Part], scale: Scale, gap: float = GAP) -> Size:
    sizes = [_size(part, scale) for part in parts if not isinstance(part, Wire)]
    if not sizes:
        return Size(0, 0, 0)
    width = sum(size.width for size in sizes) + gap * (len(sizes) - 1)
    return Size(width, max(size.up for size in sizes), max(size.down for size in sizes))


def _draw_all(
    made: Drawing, parts: Sequence[Part], x: float, axis: float, scale: Scale, look: Look, gap: float = GAP
) -> None:
    """One after the other, with the line that leads through them."""
    drawn = [part for part in parts if not isinstance(part, Wire)]
    for part in drawn:
        _draw(made, part, x, axis, scale, look, is_first=part is drawn[0])
        x += _size(part, scale).width
        if part is not drawn[-1]:
            made.wires.append(f"M{x:.1f} {axis:.1f}h{gap:.1f}")
            x += gap


def _draw(made: Drawing, part: Part, x: float, axis: float, scale: Scale, look: Look, *, is_first: bool = True) -> None:
    if isinstance(part, Layer):
        width, height = scale.slab(part.row.output_shape)
        slab = Slab(
            x, axis - height / 2, width, height, part.ink, look.tint(part), look.line(part), look.title(part), is_first
        )
        made.slabs.append(slab)
    elif isinstance(part, Block):
        _draw_all(made, part.parts, x, axis, scale, look)
    elif isinstance(part, Repeat):
        size = _size(part, scale)
        place = (x, axis - size.up + HEAD, size.width, size.up + size.down - HEAD)
        made.frames.append(Frame(*place, len(part.blocks), look.href(part)))
        made.wires += [f"M{x:.1f} {axis:.1f}h{FRAME}", f"M{x + size.width - FRAME:.1f} {axis:.1f}h{FRAME}"]
        _draw(made, part.blocks[0], x + FRAME, axis, scale, look)
    elif isinstance(part, Fork) and part.join == "cat":
        _draw_branches(made, part, x, axis, scale, look)
    elif isinstance(part, Fork):
        _draw_residual(made, part, x, axis, scale, look)


def _draw_branches(made: Drawing, part: Fork, x: float, axis: float, scale: Scale, look: Look) -> None:
    """One below the other, from one point to one bar."""
    whole = _size(part, scale)
    end, y = x + whole.width, axis - whole.up
    for branch in part.branches:
        size = _size_of_all(branch, scale)
        y += size.up
        bend = min(FAN - 2, abs(y - axis))
        way = f"M{x:.1f} {axis:.1f}C{x + bend:.1f} {axis:.1f} {x + FAN - bend:.1f} {y:.1f} {x + FAN:.1f} {y:.1f}"
        made.wires += [way, f"M{x + FAN + size.width:.1f} {y:.1f}H{end:.1f}"]
        _draw_all(made, branch, x + FAN, y, scale, look)
        y += size.down + BRANCHES
    first, last = _size_of_all(part.branches[0], scale), _size_of_all(part.branches[-1], scale)
    made.wires.append(f"M{end:.1f} {axis - whole.up + first.up:.1f}V{axis + whole.down - last.down:.1f}")


def _draw_residual(made: Drawing, part: Fork, x: float, axis: float, scale: Scale, look: Look) -> None:
    """The residual on the axis, the shortcut over it, and the circle in which they are added."""
    residual, shortcut = part.branches
    size, over = _size_of_all(residual, scale), _size_of_all(shortcut, scale)
    whole = _size(part, scale)
    plus = x + whole.width - FAN / 2
    y = axis - whole.up + (over.up if over.up else 1)
    made.wires += [f"M{x:.1f} {axis:.1f}h{FAN}", f"M{x + FAN + size.width:.1f} {axis:.1f}H{plus + FAN / 2:.1f}"]
    made.wires.append(f"M{x + 1.5:.1f} {axis:.1f}V{y + 4:.1f}q0 -4 4 -4H{plus - 4:.1f}q4 0 4 4V{axis:.1f}")
    made.pluses.append((plus, axis))
    _draw_all(made, residual, x + FAN, axis, scale, look)
    _draw_all(made, shortcut, x + FAN, y, scale, look)
