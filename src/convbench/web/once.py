"""Answers that take a while, worked out once at a desk and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from convbench.web.desk import Desk

T = TypeVar("T")


class Once:
    """Keeps the answers that were asked for last, by their keys. The desk must do one thing at a time."""

    def __init__(self, desk: Desk, most: int = 400) -> None:
        self.desk, self.most = desk, most
        self._kept = OrderedDict[Hashable, Any]()

    async def do(self, key: Hashable, work: Callable[[], T]) -> T:
        """What `work` returns, done now where it was not before; BusyError as of the desk."""
        if key not in self._kept:
            await self.desk.do(lambda: self._fill(key, work))
        self._kept.move_to_end(key)
        answer: T = self._kept[key]
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return answer

    def _fill(self, key: Hashable, work: Callable[[], T]) -> None:
        if key not in self._kept:  # another request may have asked for it meanwhile
            self._kept[key] = work()
