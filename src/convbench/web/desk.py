"""A bounded queue of work: what is asked for waits in line, and where the line is full, nobody is let in."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from convbench.errors import ConvbenchError

T = TypeVar("T")


class BusyError(ConvbenchError):
    """There is too much to do already, or it takes too long: ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Desk:
    """Does so many things at a time, keeps so many waiting, and lets nobody wait for longer than so many seconds.

    What has begun is not broken off, as a thread cannot be: it keeps its place in the line until it ends, so that work
    that outlasts its askers cannot pile up.
    """

    def __init__(self, name: str, *, hands: int, waiting: int, seconds: float, threads: int = 1) -> None:
        """threads: of torch, for each of the hands"""
        self.name, self.places, self.seconds = name, hands + waiting, seconds
        self.taken = 0  # places, by what is being done and what waits
        self.closed = False
        self._pool = ThreadPoolExecutor(
            hands, f"convbench-{name}", initializer=torch.set_num_threads, initargs=(threads,)
        )

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, or raises, done by one of the desk's threads.

        Raises BusyError where the line is full, and where the answer takes longer than the desk's seconds.
        """
        if self.taken >= self.places:
            raise BusyError(f"{self.taken} requests are being worked on: ask again in a moment", retry_after=2)
        self.taken += 1
        loop = asyncio.get_running_loop()
        begun = loop.run_in_executor(self._pool, contextvars.copy_context().run, work)
        begun.add_done_callback(self._leave)
        done, _ = await asyncio.wait({begun}, timeout=self.seconds)
        if not done:
            begun.cancel()  # of what still waits; what has begun goes on, and keeps its place
            raise BusyError(f"no answer after {self.seconds:g} s: ask again later", retry_after=10)
        return begun.result()

    def _leave(self, begun: asyncio.Future[T]) -> None:
        self.taken -= 1
        if not begun.cancelled():
            begun.exception()  # looked at, whether or not somebody still waits for it

    def close(self) -> None:
        """Drop what waits; what has begun ends by itself, sooner where it looks whether the desk is closed."""
        self.closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
