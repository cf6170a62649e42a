"""Answers that take a while, worked out once at a desk and kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from convbench.web.desk import Desk

T = TypeVar("T")


class Once:
    """Keeps the answers that were asked for last, by their keys.

    The desk must do one thing at a time. The same is never in its line twice, whoever asks for it; to be asked in the
    event loop alone.
    """

    def __init__(self, desk: Desk, most: int = 400) -> None:
        self.desk, self.most = desk, most
        self._kept = OrderedDict[Hashable, Any]()
        self._begun = dict[Hashable, asyncio.Future[Any]]()

    async def do(self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` returns, done now where it was not before; BusyError as of the desk."""
        if key not in self._begun:
            self._begun[key] = asyncio.ensure_future(self._find(key, work))
            self._begun[key].add_done_callback(lambda begun: self._end(key, begun))
        answer: T = await asyncio.shield(self._begun[key])  # which others may be waiting for
        return answer

    async def _find(self, key: Hashable, work: Callable[[], T]) -> T:
        if key not in self._kept:
            await self.desk.do(lambda: self._fill(key, work))
        self._kept.move_to_end(key)
        answer: T = self._kept[key]
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return answer

    def _fill(self, key: Hashable, work: Callable[[], T]) -> None:
        if key not in self._kept:  # what the desk gave up may have been done meanwhile
            self._kept[key] = work()

    def _end(self, key: Hashable, begun: asyncio.Future[Any]) -> None:
        del self._begun[key]
        if not begun.cancelled():
            begun.exception()  # looked at, whether or not somebody still waits for it
