"""How far a training is, for whoever looks at its folder meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError

from convbench.errors import ConvbenchError
from convbench.files import write_json

FILE = "progress.json"  # in the training's folder, until its record is written
EVERY = 2.0  # seconds from one to the next
LATELY = 15  # times that it was told


@dataclass(frozen=True)
class Standing:
    """Where a training stands, as it last said.

    epoch: the one that is under way, from 1; epochs: of all, so that one more is the end
    images: seen of the epoch's `of`
    images_per_s: lately, with what looks at the images for testing took
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

    def __init__(self, folder: Path, network: str, epochs: int, of: int) -> None:
        self.file, self.network, self.epochs, self.of = folder / FILE, network, epochs, of
        self.told, self.next = deque[tuple[float, int]](maxlen=LATELY), 0.0  # when, and how many images were seen

    def tell(self, epoch: int, images: int, *, at_once: bool = False) -> None:
        """epoch: whole ones; images: of the one that is under way"""
        now = time.monotonic()
        if now < self.next and not at_once:
            return
        self.next = now + EVERY
        seen = epoch * self.of + images
        self.told.append((now, seen))
        (before, seen_before), rate = self.told[0], 0.0
        if now > before:
            rate = (seen - seen_before) / (now - before)
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
