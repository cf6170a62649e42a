"""Whether a training goes wrong: a loss that is no number, or one that has exploded."""

from __future__ import annotations

import math
from collections import deque

WINDOW = 50  # steps
EXPLODED = 3.0  # times the mean of the first steps' losses


class LossWatch:
    """The losses of the first steps and of the last: of `WINDOW` each."""

    def __init__(self) -> None:
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=WINDOW)

    def trouble(self, loss: float) -> str | None:
        """What is wrong after a step of this loss; None where nothing is."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if len(self.first) < WINDOW:
            self.first.append(loss)
            return None
        self.last.append(loss)
        before, now = sum(self.first) / WINDOW, sum(self.last) / len(self.last)
        if len(self.last) == WINDOW and now > EXPLODED * abs(before):
            return f"the mean loss of {WINDOW} steps is {now:.4g}, at the beginning it was {before:.4g}"
        return None

    def state(self) -> dict[str, list[float]]:
        """For a checkpoint."""
        return {"first": self.first, "last": [*self.last]}

    def load(self, state: dict[str, list[float]]) -> None:
        """Go on from `state`."""
        self.first, self.last = list(state["first"]), deque(state["last"], maxlen=WINDOW)
