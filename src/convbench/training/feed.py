"""The batches of a training, prepared for the network: which images, in which order, seen in which way."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.randomness import generator
from convbench.training.recipe import Recipe, steps_per_epoch

CHUNK = 10_000  # images distorted at a time


class Feed:
    """A data set in memory. What a batch holds depends on the seed, the epoch and the step alone."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed, self.labels = recipe, seed, dataset.labels
        self.pixels = recipe.preprocessing.geometry(dataset.images)
        self.per_epoch = steps_per_epoch(recipe, len(dataset))

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """(float32 images as the network reads them, labels) of an epoch, from step `first` on."""
        pixels = self.epoch_pixels(epoch)
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", epoch))
        for step, chosen in enumerate(order.split(self.recipe.batch_size)):
            if step < first:
                continue
            images = pixels[chosen]
            if self.recipe.view is not None:
                images = self.recipe.view.batch(images, generator(self.seed, "view", epoch, step))
            yield self.recipe.preprocessing.scale(images), self.labels[chosen]

    def epoch_pixels(self, epoch: int) -> Tensor:
        """All images, freshly distorted where the recipe says so; in [0, 1]."""
        if self.recipe.distortion is None:
            return self.pixels
        random = generator(self.seed, "distortion", epoch)
        return torch.cat([self.recipe.distortion(chunk, random) for chunk in self.pixels.split(CHUNK)])

    def sample(self, epoch: int, n: int) -> tuple[Tensor, Tensor]:
        """(images, labels) of n images of the epoch, chosen by chance."""
        chosen = torch.randperm(len(self.labels), generator=generator(self.seed, "curvature", epoch))[:n]
        return self.recipe.preprocessing.scale(self.epoch_pixels(epoch)[chosen]), self.labels[chosen]
