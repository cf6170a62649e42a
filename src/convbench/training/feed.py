"""The batches of a training: which images, in which order, seen in which way.

What a batch holds depends on the seed, the epoch and the step alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.data.loading import Labelled, Reading, Seen, Shown, default_workers, read_ahead, shuffled
from convbench.data.policy import MAX_BAD_SHARE, BadFile, require_few
from convbench.data.views import View, shift_colours
from convbench.errors import RequestError
from convbench.evaluation.source import Source
from convbench.randomness import generator
from convbench.training.processes import Processes
from convbench.training.recipe import Recipe, steps_per_epoch

CHUNK = 10_000  # images distorted at a time


@dataclass(frozen=True)
class Share:
    """Into how many `pieces` each batch is cut, and which of them this process computes."""

    pieces: int = 1
    mine: range = range(1)


@dataclass(frozen=True)
class Piece:
    """Some images of a batch.

    images: (n, c, h, w), uint8 or in [0, 1], as they are seen
    targets: what is to be learnt of them, such as their labels
    shifts: by how much their colours shift
    """

    images: Tensor
    targets: Tensor
    shifts: Tensor | None


@dataclass(frozen=True)
class Batch:
    """This process's pieces of a batch of `size` images."""

    pieces: tuple[Piece, ...]
    size: int


class Feed(ABC):
    """What a training learns from."""

    def __init__(self, n: int, recipe: Recipe, seed: int, share: Share) -> None:
        self.n, self.recipe, self.seed, self.share = n, recipe, seed, share
        self.view = recipe.view or View()
        self.per_epoch = steps_per_epoch(recipe, n)
        self.ahead: Iterator[list[Seen]] | None = None  # what processes of ours read, while there are any
        self.bad = dict[str, BadFile]()

    @abstractmethod
    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Those of an epoch, from step `first` on."""

    def close(self) -> None:
        """End what reads ahead."""
        self.ahead = None

    @property
    def bad_files(self) -> tuple[BadFile, ...]:
        """Those met so far, by this process, or before it went on; and by all, in the epochs that are over."""
        return tuple(self.bad.values())

    def batch(self, epoch: int, step: int, seen: list[tuple[Tensor, Tensor]]) -> Batch:
        """This process's (images, targets) of a step, with what chance says of their colours."""
        size = min(self.recipe.batch_size, self.n - step * self.recipe.batch_size)
        shifts: list[Tensor | None] = [None] * len(seen)
        if self.view.colour == "pca":
            strengths = torch.randn(size, 3, generator=generator(self.seed, "colour", epoch, step)).mul_(0.1)
            parts = strengths.tensor_split(self.share.pieces)
            shifts = [parts[piece] for piece in self.share.mine]
        return Batch(tuple(Piece(*pair, shift) for pair, shift in zip(seen, shifts, strict=True)), size)

    def prepare(self, piece: Piece, device: torch.device) -> tuple[Tensor, Tensor]:
        """(images as the network reads them, targets), on `device`, where the arithmetic is done."""
        images = piece.images.to(device, non_blocking=True)
        if images.dtype == torch.uint8:
            images = images.to(torch.float32).div_(255)
        if piece.shifts is not None:
            images = shift_colours(images, piece.shifts.to(device))
        return self.recipe.preprocessing.scale(images), piece.targets.to(device)


class MemoryFeed(Feed):
    """Images in memory."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, share: Share = Share()) -> None:
        super().__init__(len(dataset), recipe, seed, share)
        self.labels = dataset.labels
        self.pixels = dataset.images if self._seen_as_stored() else recipe.preprocessing.geometry(dataset.images)

    def _seen_as_stored(self) -> bool:
        """Whether views are of the stored pixels, which stay bytes: where they make the size, or nothing resizes."""
        return self.view.crop not in ("none", "pad") or (
            self.recipe.distortion is None and self.recipe.preprocessing.keeps_geometry
        )

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """All of a batch is seen by every process, as one random number follows the other: these views cost little."""
        pixels = self.epoch_pixels(epoch)
        order = shuffled(self.n, self.seed, epoch)
        for step, chosen in enumerate(order.split(self.recipe.batch_size)):
            if step >= first:
                images = self.seen(pixels[chosen], generator(self.seed, "view", epoch, step))
                parts = images.tensor_split(self.share.pieces), self.labels[chosen].tensor_split(self.share.pieces)
                yield self.batch(epoch, step, [(parts[0][piece], parts[1][piece]) for piece in self.share.mine])

    def seen(self, images: Tensor, random: torch.Generator) -> Tensor:
        """Images, each in its own way."""
        return self.view.batch(images, random) if self.view.crop != "none" or self.view.mirror else images

    def epoch_pixels(self, epoch: int) -> Tensor:
        """All images, freshly distorted where the recipe says so."""
        if self.recipe.distortion is None:
            return self.pixels
        random = generator(self.seed, "distortion", epoch)
        return torch.cat([self.recipe.distortion(chunk, random) for chunk in self.pixels.split(CHUNK)])

    def sample(self, epoch: int, n: int) -> Piece:
        """n images of the epoch, chosen by chance."""
        chosen = torch.randperm(self.n, generator=generator(self.seed, "curvature", epoch))[:n]
        random = generator(self.seed, "view", epoch, "curvature")
        return Piece(self.seen(self.epoch_pixels(epoch)[chosen], random), self.labels[chosen], None)


class PhotographFeed(Feed):
    """Photographs in files, of which each process reads what it computes, ahead of time."""

    def __init__(self, shown: Shown, recipe: Recipe, seed: int, share: Share, workers: int) -> None:
        super().__init__(len(shown), recipe, seed, share)
        self.reading = Reading(shown, seed, recipe.batch_size, share.pieces, share.mine, MAX_BAD_SHARE)
        self.workers, self.next_step = workers, (-1, 0)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The next epoch's photographs are read while this one's end is judged."""
        if self.ahead is None or self.next_step != (epoch, first):
            self.ahead = read_ahead(self.reading, self._steps(epoch, first), self.workers)
        for step in range(first, self.per_epoch):
            seen = next(self.ahead)
            self.next_step = (epoch, step + 1) if step + 1 < self.per_epoch else (epoch + 1, 0)
            self._note(file for one in seen for file in one.bad)
            yield self.batch(epoch, step, [(one.images, one.targets) for one in seen])
        # Each process has read a part of the epoch: only together do they know what is bad of the whole.
        self._note(file for met in Processes().gather(self.bad_files) for file in met)

    def _note(self, bad: Iterable[BadFile]) -> None:
        """ConvbenchError where those met are too many of the whole set."""
        self.bad.update((file.path, file) for file in bad)
        require_few(self.bad_files, self.n, self.reading.shown.root, MAX_BAD_SHARE)

    def _steps(self, epoch: int, first: int) -> list[tuple[int, int]]:
        """All that are left of the training."""
        places = range(epoch * self.per_epoch + first, self.recipe.epochs * self.per_epoch)
        return [divmod(place, self.per_epoch) for place in places]


def make_feed(
    source: Source, recipe: Recipe, seed: int, share: Share, device: torch.device, workers: int | None
) -> Feed:
    """Of a data set in memory, or of photographs in files, which `workers` processes read; default by the machine.

    Raises RequestError for photographs in files where the recipe says nothing of the window, or distorts images in
    memory.
    """
    if isinstance(source, Dataset):
        return MemoryFeed(source, recipe, seed, share)
    view = recipe.view or View()
    if view.crop not in ("shorter", "area") or recipe.distortion is not None:
        found = "a distortion" if recipe.distortion is not None else repr(view.crop)
        raise RequestError(
            f"view.crop: expected 'shorter' or 'area' for photographs in files, found {found}; nearest is 'area', "
            "or `stored` for images in memory"
        )
    return PhotographFeed(Labelled(source, view, seed), recipe, seed, share, readers(device, workers))


def readers(device: torch.device, workers: int | None) -> int:
    """Processes that read photographs for this one: `workers`, where they are said."""
    return default_workers(device) if workers is None else workers
