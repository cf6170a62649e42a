"""Work that outlasts a request: done once, and who asks again hears how far it is or what came of it.

It goes on as long as somebody asks.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from convbench.progress import told_to
from convbench.web.desk import BusyError, Desk

T = TypeVar("T")
PATIENCE = 0.8  # seconds until who asks is told how far it is
FORGOTTEN = 15.0  # seconds after which nobody seems to wait any more


@dataclass(frozen=True)
class Waiting:
    """How far a piece of work is.

    doing: what, in a word or two
    total: units in all; 0 where none has begun
    """

    doing: str
    done: int
    total: int


class _DroppedError(Exception):
    """Nobody waits for the work any more."""


class _Errand(Generic[T]):
    """One piece of work. outcome: what it gave, as something to call, as that may be an error"""

    def __init__(self, work: Callable[[], T], desk: Desk) -> None:
        self.work, self.desk, self.outcome = work, desk, Future[Callable[[], T]]()
        self.asked, self.dropped = time.monotonic(), False
        self.waiting = Waiting("waiting for others", 0, 0)

    def run(self) -> None:
        """In the desk's thread."""
        self.outcome.set_running_or_notify_cancel()
        try:
            with told_to(self._hear):
                self._hear("beginning", 0, 0)
                found = self.work()
        except _DroppedError as error:
            self.dropped = True
            self.fail(error)
        except Exception as error:
            self.fail(error)
        else:
            self.outcome.set_result(lambda: found)

    def fail(self, error: Exception) -> None:
        """Who asks gets the error."""

        def give() -> T:
            raise error

        self.outcome.set_result(give)

    @property
    def failed(self) -> bool:
        """Whether it has ended, and with an error."""
        if not self.outcome.done():
            return False
        try:
            self.outcome.result()()
        except Exception:
            return True
        return False

    def _hear(self, doing: str, done: int, total: int) -> None:
        if self.desk.closed or time.monotonic() - self.asked > FORGOTTEN:
            raise _DroppedError
        self.waiting = Waiting(doing, done, total)


class Errands(Generic[T]):
    """Pieces of work at a desk, by their keys; the last results are kept."""

    def __init__(self, desk: Desk, kept: int) -> None:
        self.desk, self.kept = desk, kept
        self._errands = OrderedDict[Hashable, _Errand[T]]()
        self._begun = set[asyncio.Task[None]]()  # asyncio itself holds them but weakly

    async def ask(self, key: Hashable, work: Callable[[], T]) -> T | Waiting:
        """What `work` returned, or raised, when it was done for this key; how far it is where that takes longer.

        Raises BusyError where the desk's line is full.
        """
        errand = self._errands.get(key)
        if errand is None or errand.dropped:
            errand = self._errands[key] = _Errand(work, self.desk)
            task = asyncio.create_task(self._do(errand))
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)
        errand.asked = time.monotonic()
        self._errands.move_to_end(key)
        await asyncio.wait({asyncio.wrap_future(errand.outcome)}, timeout=PATIENCE)
        if not errand.outcome.done():
            return errand.waiting
        if errand.failed:
            self._errands.pop(key, None)  # who asks again lets it be tried again
        self._forget()
        return errand.outcome.result()()

    async def _do(self, errand: _Errand[T]) -> None:
        try:
            await self.desk.do(errand.run)
        except BusyError as error:
            if not errand.outcome.running() and not errand.outcome.done():  # what has begun goes on by itself
                errand.fail(error)

    def _forget(self) -> None:
        ended = [key for key, errand in self._errands.items() if errand.outcome.done()]
        for key in ended[: -self.kept]:
            del self._errands[key]
