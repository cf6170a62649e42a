"""What a training needs to go on after a stop: written whole, read without executing anything."""

from __future__ import annotations

import io
import pickle
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from convbench.errors import ConvbenchError, RequestError
from convbench.files import write_whole

DAMAGED = (RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, pickle.UnpicklingError)


def save_state(path: Path, belongs_to: str, state: dict[str, Any]) -> None:
    """Write `state` (tensors and plain values); the file that was there stays until the new one is whole on the disk.

    belongs_to: what the state is of (recipe, seed, data), compared by `load_state`

    Raises ConvbenchError where the disk is full; then the former state is untouched.
    """
    buffer = io.BytesIO()
    torch.save({"belongs_to": belongs_to, **state}, buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path, belongs_to: str) -> dict[str, Any]:
    """The state at `path`.

    Raises ConvbenchError for a file that is not a state, RequestError for the state of another training.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state.pop("belongs_to")
    except DAMAGED as error:
        raise ConvbenchError(
            f"{path} is not a training state: {str(error).partition(chr(10))[0]}; start without --resume"
        ) from error
    if found != belongs_to:
        raise RequestError(f"{path} is of another recipe, seed or data: resume with those it was begun with")
    return state


@dataclass
class Requests:
    """Whether somebody asked the process to leave, and when it should next save."""

    every: float
    next_save: float
    signal: signal.Signals | None = None

    def due(self) -> bool:
        """Whether to save now; the next time is then `every` seconds away."""
        if self.signal is None and time.monotonic() < self.next_save:
            return False
        self.next_save = time.monotonic() + self.every
        return True


@contextmanager
def heeding_signals(every: float) -> Iterator[Requests]:
    """While it lasts, SIGTERM and SIGINT are noted instead of killing the process; a second one kills.

    In another thread than the main one, where Python lets nobody set handlers, signals stay as they are.
    """
    requests = Requests(every, time.monotonic() + every)
    before: dict[signal.Signals, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        requests.signal = signal.Signals(number)
        for one, handler in before.items():
            signal.signal(one, handler)

    try:
        for one in (signal.SIGTERM, signal.SIGINT):
            before[one] = signal.signal(one, note)
    except ValueError:  # not in the main thread
        before.clear()
    try:
        yield requests
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
