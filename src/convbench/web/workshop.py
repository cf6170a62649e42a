"""What takes seconds to make is made once, behind the pages, and kept for as long as it is true."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from convbench.errors import ConvbenchError

T = TypeVar("T")

KEPT = 48  # things made
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
    """One thing after the other, in a thread; the same thing is never in the line twice."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"convbench-{name}")
        self._making = dict[Hashable, tuple[object, Future[Made[Any]]]]()
        self._made = OrderedDict[Hashable, tuple[object, Made[Any]]]()

    async def get(self, key: Hashable, stamp: object, make: Callable[[], T]) -> Made[T]:
        """What `make` returns, made at this `stamp`; until that is done, what it was at another, if anything.

        To be called in the event loop alone, which is why nothing here is locked.
        """
        self._take(key)
        if (key not in self._made or self._made[key][0] != stamp) and key not in self._making:
            self._making[key] = stamp, self._pool.submit(_make, key, make)
        for _ in range(round(PATIENCE / GLANCE)):
            if key not in self._making:
                break
            await asyncio.sleep(GLANCE)
            self._take(key)
        if key not in self._made:
            return Made()
        self._made.move_to_end(key)
        of, made = self._made[key]
        return made if of == stamp else Made(made.value, False, made.problem)

    def _take(self, key: Hashable) -> None:
        """Keep what has been made."""
        if key not in self._making or not self._making[key][1].done():
            return
        stamp, future = self._making.pop(key)
        self._made[key] = stamp, future.result()
        while len(self._made) > KEPT:
            self._made.popitem(last=False)

    def close(self) -> None:
        """Drop what waits; what is being made ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _make(key: Hashable, make: Callable[[], T]) -> Made[T]:
    try:
        return Made(make(), whole=True)
    except ConvbenchError as error:
        return Made(whole=True, problem=" ".join(str(error).split()))
    except Exception as error:  # a defect, which must not hide: it is logged, and told in the thing's place
        logging.getLogger(__name__).exception("%s could not be made", key)
        return Made(whole=True, problem=" ".join(f"{type(error).__name__}: {error}".split()))
