"""What takes seconds to make is made once, behind the pages, and kept for as long as it is true."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from convbench.errors import ConvbenchError
from convbench.workers import serve_parent

T = TypeVar("T")

KEPT = 96  # things made
PATIENCE, GLANCE = 0.1, 0.01  # seconds for which a page waits for what may be done at once, and between its looks


@dataclass(frozen=True)
class Made(Generic[T]):
    """What there is of a thing.

    value: None where it is not made yet, or could not be
    whole: whether it is of the present state of things; else it is being made
    problem: why it could not be made, one line
    """

    value: T | None = None
    whole: bool = False
    problem: str = ""


class Workshop:
    """One thing after the other, in a process of its own, so that drawing and counting hold up nobody.

    The same thing is never in the line twice. The process begins with the first thing that is asked for.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._processes = set[BaseProcess]()
        self._making = dict[Hashable, tuple[object, Future[Made[Any]]]]()
        self._made = OrderedDict[Hashable, tuple[object, Made[Any]]]()

    async def get(self, key: Hashable, stamp: object, make: Callable[[], T], *, patience: float = PATIENCE) -> Made[T]:
        """What `make` returns, made at this `stamp`; until that is done, what it was at another, if anything.

        make: goes to another process, and what it returns comes from there: functions by name, and plain values
        patience: seconds to wait for it

        To be called in the event loop alone, which is why nothing here is locked.
        """
        self._take(key)
        if (key not in self._made or self._made[key][0] != stamp) and key not in self._making:
            self._making[key] = stamp, self._opened().submit(_make, make)
        for _ in range(round(patience / GLANCE)):
            if key not in self._making:
                break
            await asyncio.sleep(GLANCE)
            self._take(key)
        if key not in self._made:
            return Made()
        self._made.move_to_end(key)
        of, made = self._made[key]
        return made if of == stamp else Made(made.value, False, made.problem)

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            others = set(multiprocessing.active_children())
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=serve_parent)
            self._pool.submit(os.getpid)  # with the first, the process is begun
            self._processes = set(multiprocessing.active_children()) - others
        return self._pool

    def _take(self, key: Hashable) -> None:
        """Keep what has been made."""
        if key not in self._making or not self._making[key][1].done():
            return
        stamp, future = self._making.pop(key)
        try:
            self._made[key] = stamp, future.result()
        except BrokenExecutor:
            self.close()
            self._made[key] = stamp, Made(whole=True, problem="the process that made it has ended")
        while len(self._made) > KEPT:
            self._made.popitem(last=False)

    def close(self) -> None:
        """End the process, whatever it is at: it leaves nothing on the disk."""
        for process in self._processes:
            process.terminate()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)  # at once, as the process has ended
        self._pool, self._processes = None, set()


def _make(make: Callable[[], T]) -> Made[T]:
    try:
        return Made(make(), whole=True)
    except ConvbenchError as error:
        return Made(whole=True, problem=" ".join(str(error).split()))
    except Exception as error:  # a defect, which must not hide: it is logged, and told in the thing's place
        logging.getLogger(__name__).exception("%s failed", make)
        return Made(whole=True, problem=" ".join(f"{type(error).__name__}: {error}".split()))
