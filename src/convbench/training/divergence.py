"""Whether a training goes wrong: a loss that is no number, or one that has exploded."""

from __future__ import annotations

import math
from collections import deque

WINDOW = 50  # steps
EXPLODED = 3.0  # times the mean of the first steps' losses
LEAST = 1.0  # what these count as at least: those of a network that has been trained may be next to nothing


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
            # The very first loss is the untrained network's: what explodes after it is no measure for later losses.
            most = EXPLODED * max(LEAST, abs(self.first[0])) if self.first else loss
            self.first.append(min(loss, most))
            return None
        self.last.append(loss)
        now = sum(self.last) / len(self.last)
        if len(self.last) == WINDOW and now > self.bound:
            before = sum(self.first) / WINDOW
            return f"the mean loss of {WINDOW} steps is {now:.4g}, at the beginning it was {before:.4g}"
        return None

    @property
    def bound(self) -> float:
        """Above it a loss is suspicious."""
        return EXPLODED * max(LEAST, abs(sum(self.first) / len(self.first))) if self.first else math.inf

    def state(self) -> dict[str, list[float]]:
        """For a checkpoint."""
        return {"first": self.first, "last": [*self.last]}

    def load(self, state: dict[str, list[float]]) -> None:
        """Go on from `state`."""
        self.first, self.last = list(state["first"]), deque(state["last"], maxlen=WINDOW)
