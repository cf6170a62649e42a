"""How far a training is, for whoever looks at its folder meanwhile."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from convbench.errors import ConvbenchError
from convbench.files import write_json

FILE = "progress.json"  # in the training's folder, until its record is written
EVERY = 2.0  # seconds from one to the next


@dataclass(frozen=True)
class Standing:
    """Where a training stands, as it last said.

    epoch: the one that is under way, from 1; epochs: of all, so that one more is the end
    images: seen of the epoch's `of`
    images_per_s: since the process began, its looks at the images for testing among them
    seconds_left: at this rate; None before there is one
    """

    network: str
    epoch: PositiveInt
    epochs: PositiveInt
    images: NonNegativeInt
    of: PositiveInt
    images_per_s: NonNegativeFloat | None
    seconds_left: NonNegativeFloat | None


class Teller:
    """Writes a training's standing into its folder, every other second and whenever it should be seen at once."""

    def __init__(self, folder: Path, network: str, epochs: int, of: int, done: int) -> None:
        """done: images that were seen before the process began"""
        self.file, self.network, self.epochs, self.of = folder / FILE, network, epochs, of
        self.began, self.done, self.next = time.monotonic(), done, 0.0

    def tell(self, epoch: int, images: int, *, at_once: bool = False) -> None:
        """epoch: whole ones; images: of the one that is under way"""
        now = time.monotonic()
        if now < self.next and not at_once:
            return
        self.next = now + EVERY
        seen = epoch * self.of + images
        rate = (seen - self.done) / max(now - self.began, 1e-9)
        left = (self.epochs * self.of - seen) / rate if rate else None
        standing = Standing(self.network, epoch + 1, self.epochs, images, self.of, rate or None, left)
        with contextlib.suppress(ConvbenchError):  # a full disk ends a training where it loses something by it
            write_json(self.file, asdict(standing))


def read_standing(folder: Path) -> Standing | None:
    """What the training in `folder` last said; None where it said nothing, or what is no standing."""
    try:
        return TypeAdapter(Standing).validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
