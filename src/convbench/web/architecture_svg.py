"""An architecture drawn to scale, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from convbench.web.architecture import Block, Fork, Layer, Part, Repeat, Wire
from convbench.web.architecture_layout import (
    APART,
    BETWEEN,
    BRANCHES,
    FAN,
    FRAME,
    GAP,
    HEAD,
    IMAGE,
    LABELS,
    Scale,
    names_of,
    size_of,
    size_of_all,
    stage_width,
    stages_of,
    times,
    wrapped,
)
from convbench.web.pages import environment


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


def draw_network(parts: Sequence[Part], image: Sequence[int], scale: Scale, look: Look) -> Drawing:
    """The whole network, stage by stage: a stage is all parts that leave maps of one size."""
    width, height = scale.slab(image)
    made = Drawing()
    lines = wrapped([(stage, shape) for stage, shape in stages_of(parts, tuple(image))], scale, IMAGE)
    top = 0.0
    for number, line in enumerate(lines):
        sizes = [size_of_all(stage, scale, BETWEEN) for stage, _ in line]
        up = max(size.up for size in sizes) if number else max(height / 2, *(size.up for size in sizes))
        down = max(size.down for size in sizes) if number else max(height / 2, *(size.down for size in sizes))
        x, axis = 0.0, top + up + 2
        if number == 0:
            made.slabs.append(
                Slab(1, axis - height / 2, width, height, "image", 0, 0, f"image: {times(image)}", is_first=False)
            )
            made.labels.append(Label(1, axis + down + 8, width, "image", ""))
            x = IMAGE
            made.wires.append(f"M{width + 1:.1f} {axis:.1f}H{x:.1f}")
        else:
            made.wires.append(f"M0 {axis:.1f}H{APART / 2:.1f}")
            x = APART / 2
        for (stage, shape), size in zip(line, sizes, strict=True):
            room = stage_width(stage, shape, scale)
            _draw_all(made, stage, x, axis, scale, look, BETWEEN)
            made.labels.append(Label(x, axis + down + 8, size.width, names_of(stage), times(shape)))
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
    for line in wrapped([([part], ()) for part in parts if not isinstance(part, Wire)], scale, 0):
        sizes = [size_of(stage[0], scale) for stage, _ in line]
        down, x = max(size.down for size in sizes), 1.0
        axis = top + max(size.up for size in sizes) + 2
        for (stage, _), size in zip(line, sizes, strict=True):
            _draw(made, stage[0], x, axis, scale, look)
            made.labels.append(Label(x, axis + down + 8, size.width, names_of(stage), ""))
            room = stage_width(stage, (), scale) + APART
            if wired:
                made.wires.append(f"M{x + size.width:.1f} {axis:.1f}H{x + room:.1f}")
            x += room
        made.width, top = max(made.width, x), axis + down + LABELS - 14
    made.height = top
    return made


def _draw_all(
    made: Drawing, parts: Sequence[Part], x: float, axis: float, scale: Scale, look: Look, gap: float = GAP
) -> None:
    """One after the other, with the line that leads through them."""
    drawn = [part for part in parts if not isinstance(part, Wire)]
    for part in drawn:
        _draw(made, part, x, axis, scale, look, is_first=part is drawn[0])
        x += size_of(part, scale).width
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
        size = size_of(part, scale)
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
    whole = size_of(part, scale)
    end, y = x + whole.width, axis - whole.up
    for branch in part.branches:
        size = size_of_all(branch, scale)
        y += size.up
        bend = min(FAN - 2, abs(y - axis))
        way = f"M{x:.1f} {axis:.1f}C{x + bend:.1f} {axis:.1f} {x + FAN - bend:.1f} {y:.1f} {x + FAN:.1f} {y:.1f}"
        made.wires += [way, f"M{x + FAN + size.width:.1f} {y:.1f}H{end:.1f}"]
        _draw_all(made, branch, x + FAN, y, scale, look)
        y += size.down + BRANCHES
    first, last = size_of_all(part.branches[0], scale), size_of_all(part.branches[-1], scale)
    made.wires.append(f"M{end:.1f} {axis - whole.up + first.up:.1f}V{axis + whole.down - last.down:.1f}")


def _draw_residual(made: Drawing, part: Fork, x: float, axis: float, scale: Scale, look: Look) -> None:
    """The residual on the axis, the shortcut over it, and the circle in which they are added."""
    residual, shortcut = part.branches
    size, over = size_of_all(residual, scale), size_of_all(shortcut, scale)
    whole = size_of(part, scale)
    plus = x + whole.width - FAN / 2
    y = axis - whole.up + (over.up if over.up else 1)
    made.wires += [f"M{x:.1f} {axis:.1f}h{FAN}", f"M{x + FAN + size.width:.1f} {axis:.1f}H{plus + FAN / 2:.1f}"]
    made.wires.append(f"M{x + 1.5:.1f} {axis:.1f}V{y + 4:.1f}q0 -4 4 -4H{plus - 4:.1f}q4 0 4 4V{axis:.1f}")
    made.pluses.append((plus, axis))
    _draw_all(made, residual, x + FAN, axis, scale, look)
    _draw_all(made, shortcut, x + FAN, y, scale, look)
