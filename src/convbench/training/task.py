"""What a training is for: what is learnt from, what an answer costs, and how a network is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from convbench.data.dataset import Dataset
from convbench.errors import RequestError
from convbench.evaluation.scoring import score_batches
from convbench.evaluation.source import Source, prepared, prepared_shape, preprocessing_for
from convbench.layers import WithAuxiliary
from convbench.randomness import generator
from convbench.training.feed import Batch, Feed, Share, make_feed
from convbench.training.losses import Loss, logits_of, loss_with_auxiliary, make_loss
from convbench.training.processes import Processes
from convbench.training.recipe import Recipe

Computing = Callable[[], AbstractContextManager[None]]  # the training's own arithmetic


class Images(Protocol):
    """What any task learns from."""

    def __len__(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def subset(self, indices: Tensor) -> Self: ...


@dataclass(frozen=True)
class Price:
    """What a network's answers to a piece of a batch cost.

    loss: a number, the mean over `of`, which counts what the task's `weight` counts
    wrong: how many of the images were answered wrongly, where that is counted
    """

    loss: Tensor
    of: int
    wrong: Tensor | None = None


@dataclass(frozen=True)
class Judgement:
    """A network on images that it does not learn from: percent of them that it gets wrong, or its AP50, 0 to 1."""

    error: float | None = None
    ap50: float | None = None


T = TypeVar("T", bound=Images)


class Task(ABC, Generic[T]):
    """The part of a training that is its purpose; the loop, its state and its processes are the same for all.

    counts_wrong: whether each image of a training is answered rightly or wrongly
    """

    counts_wrong = True

    @abstractmethod
    def hold_out(self, images: T, recipe: Recipe) -> tuple[T | None, T]:
        """(images that are not learnt from, those that are)."""

    @abstractmethod
    def feed(
        self, images: T, recipe: Recipe, seed: int, share: Share, device: torch.device, workers: int | None
    ) -> Feed:
        """The batches."""

    @abstractmethod
    def weight(self, batch: Batch, processes: Processes) -> float:
        """By what the sum of the losses of all images of a batch, in all processes, is divided."""

    @abstractmethod
    def price(self, model: nn.Module, images: Tensor, targets: Tensor) -> Price:
        """What `model` answers to a piece costs; gradients flow."""

    @abstractmethod
    def judge(self, net: nn.Module, images: T, recipe: Recipe, computing: Computing) -> Judgement:
        """`net` on images that it does not learn from."""


class Classification(Task[Source]):
    """Each image has one label; the largest score answers."""

    def __init__(self, recipe: Recipe) -> None:
        self.loss: Loss = make_loss(recipe)

    def hold_out(self, images: Source, recipe: Recipe) -> tuple[Source | None, Source]:
        """Those held out are looked at first, and bad ones left out."""
        held, learnt = hold_out(images, recipe.held_out, recipe.images)
        return held if held is None or isinstance(held, Dataset) else held.readable(), learnt

    def feed(
        self, images: Source, recipe: Recipe, seed: int, share: Share, device: torch.device, workers: int | None
    ) -> Feed:
        return make_feed(images, recipe, seed, share, device, workers)

    def weight(self, batch: Batch, processes: Processes) -> float:
        """The images."""
        return batch.size

    def price(self, model: nn.Module, images: Tensor, targets: Tensor) -> Price:
        output: Tensor | WithAuxiliary = model(images)
        wrong = (logits_of(output).detach().argmax(dim=1) != targets).sum()
        return Price(loss_with_auxiliary(self.loss, output, targets), len(targets), wrong)

    def judge(self, net: nn.Module, images: Source, recipe: Recipe, computing: Computing) -> Judgement:
        shape = prepared_shape(images, recipe.preprocessing)
        batches = prepared(images, preprocessing_for(images, recipe.preprocessing, shape[1]), shape)
        with computing():
            answers = score_batches(net, batches, len(images)).argmax(dim=1)
        return Judgement(error=100 * int((answers != images.labels).sum()) / len(images))


def hold_out(images: T, n: int, learnt: int | None) -> tuple[T | None, T]:
    """(n images, or None for none; `learnt` of the others, or all): by chance, the same for every seed."""
    rest = len(images) - n if learnt is None else learnt
    if n + rest > len(images) or rest < 1:
        raise RequestError(
            f"images, held_out: expected {len(images)} at most, the training images, found {rest} and {n}"
        )
    if rest == len(images):
        return None, images
    order = torch.randperm(len(images), generator=generator(0, "held out"))
    return images.subset(order[:n]) if n else None, images.subset(order[n : n + rest].sort().values)
