"""Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere, on stderr.

Who does the work for somebody else, as the explorer does, listens to it instead: `told_to`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 10.0  # where stderr is not a terminal
Listener = Callable[[str, int, int], None]  # what is being done, units done, units in all
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


class Progress(Protocol):
    """What `progress` yields: call `advance` as units get done, `note` to say something beside the bar."""

    def advance(self, units: int = 1) -> None: ...

    def note(self, text: str) -> None: ...


@contextmanager
def progress(description: str, total: int, unit: str = "") -> Iterator[Progress]:
    """Show progress over `total` units of work until the block ends.

    >>> with progress("scoring", 2, "images") as bar:
    ...     bar.advance(2)
    """
    if listener := _LISTENER.get():
        yield _Told(listener, description, total)
    elif sys.stderr.isatty():
        with _bar(description, total, unit) as shown:
            yield shown
    else:
        yield _Lines(description, total, unit)


def track(items: Iterable[T], description: str, total: int, unit: str = "") -> Iterator[T]:
    """Iterate over `items` with a progress bar that counts them."""
    with progress(description, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Within the block, in this thread, progress is told to `listener` and shown nowhere.

    >>> heard = []
    >>> with told_to(lambda *said: heard.append(said)), progress("scoring", 2, "images") as bar:
    ...     bar.advance()
    >>> heard
    [('scoring', 0, 2), ('scoring', 1, 2)]
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def _bar(description: str, total: int, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as rich_progress:
        task = rich_progress.add_task(description, total=total, rate="", note="")

        class Bar:
            def advance(self, units: int = 1) -> None:
                rich_progress.advance(task, units)
                speed = rich_progress.tasks[0].speed
                if speed is not None:
                    rich_progress.update(
                        task, rate=f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s"
                    )

            def note(self, text: str) -> None:
                rich_progress.update(task, note=text)

        yield Bar()


class _Told:
    """What a listener hears, from the beginning on."""

    def __init__(self, listener: Listener, description: str, total: int) -> None:
        self.listener, self.description, self.total, self.done = listener, description, total, 0
        listener(description, 0, total)

    def advance(self, units: int = 1) -> None:
        self.done += units
        self.listener(self.description, self.done, self.total)

    def note(self, text: str) -> None:
        """A listener is told of counts alone."""


class _Lines:
    """A line every ten seconds, so that a log file stays readable."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done, self.text = 0, ""
        self.start = self.last = time.monotonic()

    def advance(self, units: int = 1) -> None:
        self.done += units
        now = time.monotonic()
        if now - self.last < SECONDS_BETWEEN_LINES:
            return
        self.last = now
        rate = self.done / (now - self.start)
        left = (self.total - self.done) / rate
        done = f"{self.done:,}/{self.total:,} {self.unit}"
        line = f"{self.description}: {done}, {rate:,.1f}/s, {left:.0f} s left {self.text}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        self.text = text
