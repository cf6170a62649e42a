"""Labels beside points without overlaps: greedy, most important first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER = 6.3  # width of a character in a wide font at 10.5 px, in pixels
HEIGHT = 12.0
RADIUS = 5.0  # of a point's mark
GAP = 7.0  # from the centre of such a point to its label


@dataclass(frozen=True)
class Box:
    """An upright rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float) -> Box:
        """The square around a mark."""
        return cls(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)

    def meets(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def touches(self, centre: tuple[float, float], radius: float) -> bool:
        """Whether it shares any area with a disc."""
        x, y = centre
        across = x - min(max(x, self.left), self.right)
        down = y - min(max(y, self.top), self.bottom)
        return across**2 + down**2 < radius**2

    def lies_in(self, other: Box) -> bool:
        """Whether it is wholly inside of the other."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def place(
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    size: tuple[float, float],
    obstacles: Sequence[Box] = (),
    *,
    radii: Sequence[float] | None = None,
    reach: int = 1,
) -> list[Box | None]:
    """A box for each label beside its point, or None where there is no room; earlier labels choose first.

    points, radii: of the round marks, in pixels; the radius is 5 by default. No label covers a mark or an obstacle.
    size: width and height of the plot. reach: how many times its height a label may stand away from its mark.
    """
    radii = radii or [RADIUS] * len(points)
    marks, plot, taken = list(zip(points, radii, strict=True)), Box(0, 0, *size), [*obstacles]
    placed: list[Box | None] = []
    for (x, y), radius, label in zip(points, radii, labels, strict=True):
        width = CHARACTER * len(label)
        tries = (box for step in range(reach) for box in _around(x, y, width, radius + GAP - RADIUS + step * HEIGHT))
        box = next((box for box in tries if box.lies_in(plot) and _is_free(box, taken, marks)), None)
        if box is not None:
            taken.append(box)
        placed.append(box)
    return placed


def _is_free(box: Box, taken: Sequence[Box], marks: Sequence[tuple[tuple[float, float], float]]) -> bool:
    return not any(box.meets(other) for other in taken) and not any(box.touches(*mark) for mark in marks)


def _around(x: float, y: float, width: float, away: float) -> list[Box]:
    """The places to try, best first: right, left, above, below, then the four corners; `away` from the point."""
    half, high, slant = width / 2, HEIGHT / 2, away * 0.7
    centres = [
        (x + away + half, y),
        (x - away - half, y),
        (x, y - away - high),
        (x, y + away + high),
        (x + slant + half, y - slant - high / 2),
        (x + slant + half, y + slant + high / 2),
        (x - slant - half, y - slant - high / 2),
        (x - slant - half, y + slant + high / 2),
    ]
    return [Box(cx - half, cy - high, cx + half, cy + high) for cx, cy in centres]
