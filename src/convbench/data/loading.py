"""Photographs in files, seen as a training sees them, read ahead by processes of their own.

Which images a step holds and how they are seen is a function of the seed, the epoch and the step alone, so that
neither the number of processes that read nor where a training was stopped changes anything.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from convbench.data.decoding import decode_window
from convbench.data.folder import PhotographSet
from convbench.data.policy import BadFile, bad_file
from convbench.data.views import View
from convbench.errors import ConvbenchError
from convbench.randomness import generator

AHEAD = 2  # steps that each process reads before they are asked for
CORES_A_READER = 4  # where the network computes on the processor, too: a core decodes faster than four can learn
ENDED = (RuntimeError, ConnectionError, FileNotFoundError, EOFError)  # how a reader's end shows, by when it was


class Photographs(Protocol):
    """Photographs in files, whatever is known of them."""

    @property
    def root(self) -> Path: ...

    @property
    def files(self) -> tuple[str, ...]: ...


class Shown(ABC):
    """A set of photographs as a training sees it."""

    photographs: Photographs

    def __len__(self) -> int:
        return len(self.photographs.files)

    @property
    def root(self) -> Path:
        """The folder of all."""
        return self.photographs.root

    def file(self, place: int) -> str:
        """That of a photograph, below the folder."""
        return self.photographs.files[place]

    @abstractmethod
    def look(self, epoch: int, place: int) -> tuple[Tensor, Tensor]:
        """A photograph as it is seen in an epoch, uint8 (3, size, size), and what is to be learnt of it."""

    def join(self, targets: list[Tensor]) -> Tensor:
        """Those of several photographs."""
        return torch.stack(targets)


@dataclass(frozen=True)
class Labelled(Shown):
    """Photographs with the label of each."""

    photographs: PhotographSet
    view: View
    seed: int

    def look(self, epoch: int, place: int) -> tuple[Tensor, Tensor]:
        random, size = generator(self.seed, "view", epoch, place), self.view.size
        assert size is not None
        seen = decode_window(
            self.photographs.open(place), lambda height, width: self.view.window(height, width, random), size
        )
        return seen, self.photographs.labels[place]


@dataclass(frozen=True)
class Seen:
    """uint8 images (n, 3, size, size), what is to be learnt of them, and the files that could not be read instead."""

    images: Tensor
    targets: Tensor
    bad: tuple[BadFile, ...]


@dataclass(frozen=True)
class Reading:
    """What a training reads of a set of photographs.

    pieces, mine: into how many pieces each batch is cut, and which of them this process computes
    max_bad_share: of the photographs; with more bad ones in a piece, nothing else is looked for

    A photograph that cannot be read gives way to the next one in the epoch's order that can.
    """

    shown: Shown
    seed: int
    batch_size: int
    pieces: int
    mine: range
    max_bad_share: float

    def __getitem__(self, step: tuple[int, int]) -> list[Seen]:
        """What the pieces of a step, (epoch, number), show."""
        epoch, number = step
        order, first = shuffled(len(self.shown), self.seed, epoch), number * self.batch_size
        spots = torch.arange(first, min(first + self.batch_size, len(order))).tensor_split(self.pieces)
        return [self._seen(epoch, order, spots[piece].tolist()) for piece in self.mine]

    def _seen(self, epoch: int, order: Tensor, spots: list[int]) -> Seen:
        images, targets, bad = list[Tensor](), list[Tensor](), dict[int, BadFile]()
        for spot in spots:
            for further in range(len(order)):
                place = int(order[(spot + further) % len(order)])
                if place in bad:
                    continue
                try:
                    image, target = self.shown.look(epoch, place)
                except ConvbenchError as error:
                    bad[place] = bad_file(str(self.shown.root / self.shown.file(place)), error)
                    if len(bad) > self.max_bad_share * len(order):
                        return Seen(torch.empty(0), torch.empty(0, dtype=torch.int64), tuple(bad.values()))
                else:
                    images.append(image)
                    targets.append(target)
                    break
        return Seen(torch.stack(images), self.shown.join(targets), tuple(bad.values()))


@lru_cache(maxsize=2)
def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """The places of n images in the order of an epoch."""
    return torch.randperm(n, generator=generator(seed, "order", epoch))


def read_ahead(reading: Reading, steps: Iterable[tuple[int, int]], workers: int) -> Iterator[list[Seen]]:
    """What `reading` shows in each of `steps`, in their order, read by `workers` processes; 0: by this one.

    Raises ConvbenchError where one of the processes is killed.
    """
    loader = DataLoader[list[Seen]](
        reading,  # type: ignore[arg-type]  # it has what a sampler's steps need
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    before = multiprocessing.active_children()
    batches = _start(loader)
    readers = [one for one in multiprocessing.active_children() if one not in before]
    try:
        while True:
            try:
                seen = next(batches)
            except StopIteration:
                return
            except ENDED as error:
                if isinstance(error, RuntimeError) and all(reader.is_alive() for reader in readers):
                    raise  # what went wrong in reading is not a reader's end
                raise ConvbenchError(
                    f"{reading.shown.root}: expected {workers} processes that read photographs, found one that ended "
                    f"({str(error).partition(chr(10))[0]}); --workers 0 reads without"
                ) from error
            yield seen
    finally:
        for reader in readers:  # after an error they live on, and the interpreter's end waits for them
            reader.kill()


def _start(loader: DataLoader[list[Seen]]) -> Iterator[list[Seen]]:
    """Its readers run afterwards.

    torch then raises an error wherever the trainer is when one is killed, in the midst of a step; `next` tells as well.
    """
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return batches


def default_workers(device: torch.device) -> int:
    """Processes that read for this one, of those that `torchrun` started on this machine."""
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, cores - 1 if device.type == "cuda" else cores // CORES_A_READER)


def _as_it_is(seen: list[Seen]) -> list[Seen]:
    return seen


def _leave_signals_to_the_trainer(_: int) -> None:
    """A reader ends when the training does; where both are signalled, the training has to save first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
