"""The batches of a training, prepared for the network: which images, in which order, seen in which way."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.data.views import View, shift_colours
from convbench.randomness import generator
from convbench.training.recipe import Recipe, steps_per_epoch

CHUNK = 10_000  # images distorted at a time


class Feed:
    """A data set in memory. What a batch holds depends on the seed, the epoch and the step alone."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed, self.labels = recipe, seed, dataset.labels
        self.view = recipe.view or View()
        self.pixels = dataset.images if self._seen_as_stored() else recipe.preprocessing.geometry(dataset.images)
        self.per_epoch = steps_per_epoch(recipe, len(dataset))

    def _seen_as_stored(self) -> bool:
        """Whether views are of the stored pixels, which stay bytes: where they make the size, or nothing resizes."""
        return self.view.crop not in ("none", "pad") or (
            self.recipe.distortion is None and self.recipe.preprocessing.keeps_geometry
        )

    def batches(self, epoch: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """(float32 images as the network reads them, labels) of an epoch, from step `first` on."""
        pixels = self.epoch_pixels(epoch)
        order = torch.randperm(len(self.labels), generator=generator(self.seed, "order", epoch))
        for step, chosen in enumerate(order.split(self.recipe.batch_size)):
            if step >= first:
                yield self.prepare(pixels[chosen], generator(self.seed, "view", epoch, step)), self.labels[chosen]

    def prepare(self, images: Tensor, random: torch.Generator) -> Tensor:
        """A batch's pixels as the network reads them, each seen in its own way."""
        if self.view.crop != "none" or self.view.mirror:
            images = self.view.batch(images, random)
        if images.dtype == torch.uint8:
            images = images.to(torch.float32).div_(255)
        if self.view.colour == "pca":
            images = shift_colours(images, torch.randn(len(images), 3, generator=random).mul_(0.1))
        return self.recipe.preprocessing.scale(images)

    def epoch_pixels(self, epoch: int) -> Tensor:
        """All images, freshly distorted where the recipe says so."""
        if self.recipe.distortion is None:
            return self.pixels
        random = generator(self.seed, "distortion", epoch)
        return torch.cat([self.recipe.distortion(chunk, random) for chunk in self.pixels.split(CHUNK)])

    def sample(self, epoch: int, n: int) -> tuple[Tensor, Tensor]:
        """(images, labels) of n images of the epoch, chosen by chance."""
        chosen = torch.randperm(len(self.labels), generator=generator(self.seed, "curvature", epoch))[:n]
        images = self.prepare(self.epoch_pixels(epoch)[chosen], generator(self.seed, "view", epoch, "curvature"))
        return images, self.labels[chosen]
