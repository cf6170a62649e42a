"""Labels beside points without overlaps: greedy, most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER = 6.3  # width of a character in a wide font at 10.5 px, in pixels
HEIGHT = 12.0
GAP = 7.0  # from a point's centre to its label


@dataclass(frozen=True)
class Box:
    """An upright rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def place(
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    size: tuple[float, float],
    obstacles: Sequence[tuple[float, float]] = (),
) -> list[Box | None]:
    """A box for each label beside its point, or None where there is no room; earlier labels choose first.

    points, obstacles: centres of marks in pixels; no label covers one. size: width and height of the plot.
    """
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in (*points, *obstacles)]
    plot = Box(0, 0, *size)
    placed: list[Box | None] = []
    for (x, y), label in zip(points, labels, strict=True):
        free = (box for box in _around(x, y, CHARACTER * len(label)) if _inside(box, plot))
        box = next((box for box in free if not any(box.meets(other) for other in taken)), None)
        if box is not None:
            taken.append(box)
        placed.append(box)
    return placed


def _around(x: float, y: float, width: float) -> list[Box]:
    """The places to try, best first: right, left, above, below, then the four corners."""
    half, high = width / 2, HEIGHT / 2
    centres = [
        (x + GAP + half, y),
        (x - GAP - half, y),
        (x, y - GAP - high),
        (x, y + GAP + high),
        (x + GAP / 2 + half, y - GAP - high / 2),
        (x + GAP / 2 + half, y + GAP + high / 2),
        (x - GAP / 2 - half, y - GAP - high / 2),
        (x - GAP / 2 - half, y + GAP + high / 2),
    ]
    return [Box(cx - half, cy - high, cx + half, cy + high) for cx, cy in centres]


def _inside(box: Box, plot: Box) -> bool:
    return box.left >= plot.left and box.right <= plot.right and box.top >= plot.top and box.bottom <= plot.bottom
