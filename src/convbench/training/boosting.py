"""Boosting of three networks by filtering distorted images.

LeCun et al. 1998, section III.C.9, after Drucker, Schapire & Simard: the first network trains as usual; the second on
images of which the first gets half right and half wrong; the third on images on which the first two disagree. The
three networks' scores are added.

Departures: the paper filters an endless stream of distorted images; here each filtered set is drawn once, `SET_SIZE`
images at most, and the networks train on it with the recipe's own epochs and distortion. All three networks are always
asked, while the paper skips the later ones where the first is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from convbench.data.dataset import Dataset
from convbench.data.preprocessing import Preprocessing
from convbench.errors import ConvbenchError, RequestError
from convbench.evaluation.scoring import score_images
from convbench.files import make_folder
from convbench.progress import progress
from convbench.training.loop import Metrics, fit
from convbench.training.recipe import Recipe

SET_SIZE = 60_000  # images of a filtered set
MOST_PASSES = 20  # over the training images, while drawing one


class Ensemble:
    """Networks whose scores are added."""

    def __init__(self, nets: list[nn.Module], preprocessing: Preprocessing) -> None:
        self.nets, self.preprocessing = nets, preprocessing

    def scores(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 scores (n, classes)."""
        return torch.stack([score_images(net, images, self.preprocessing) for net in self.nets]).sum(dim=0)


def fit_boosted(
    nets: list[nn.Module],
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    test: Dataset | None,
    folder: Path,
    resume: bool,
) -> list[Metrics]:
    """Train the three `nets` in place, each with its own state below `folder`; returns the metrics of all, in turn.

    Raises RequestError for a recipe without distortion, ConvbenchError where too few images pass a filter.
    """
    if recipe.distortion is None:
        raise RequestError(
            "boosting needs a recipe with a [distortion]: the networks' errors on the plain images are too few"
        )
    first, second, third = nets
    history: list[Metrics] = []
    filters: list[Callable[[Tensor, Tensor], Tensor] | None] = [
        None,
        lambda images, labels: half_wrong(first, recipe, images, labels),
        lambda images, labels: disagreement(first, second, recipe, images),
    ]
    for number, (net, passes) in enumerate(zip((first, second, third), filters, strict=True), start=1):
        own = make_folder(folder / f"net{number}")
        chosen = dataset if passes is None else filtered(dataset, recipe, passes, seed + number, number)
        history += fit(net, chosen, recipe, seed=seed + number, test=test, folder=own, resume=resume)
    return history


def filtered(
    dataset: Dataset, recipe: Recipe, passes: Callable[[Tensor, Tensor], Tensor], seed: int, number: int
) -> Dataset:
    """Distorted copies of `dataset`'s images that pass a filter: as many as `dataset` has, up to SET_SIZE."""
    generator, kept = torch.Generator().manual_seed(seed), list[Tensor]()
    labels, size = list[Tensor](), min(SET_SIZE, len(dataset))
    assert recipe.distortion is not None
    with progress(f"{recipe.network}: choosing images for network {number}", size, "images") as bar:
        for _ in range(MOST_PASSES):
            for batch in torch.randperm(len(dataset), generator=generator).split(10_000):
                plain = dataset.images[batch].to(torch.float32) / 255
                images = (recipe.distortion(plain, generator) * 255).round().to(torch.uint8)
                chosen = passes(images, dataset.labels[batch])
                kept.append(images[chosen])
                labels.append(dataset.labels[batch][chosen])
                bar.advance(len(kept[-1]))
            if sum(map(len, kept)) >= size:
                break
    images, of = torch.cat(kept)[:size], torch.cat(labels)[:size]
    if len(images) < recipe.batch_size:
        raise ConvbenchError(
            f"boosting: {len(images)} images for network {number} in {MOST_PASSES} passes; distort more"
        )
    return replace(dataset, images=images, labels=of)


def half_wrong(net: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor) -> Tensor:
    """Indices of the images that `net` gets wrong and of as many that it gets right, mixed."""
    right = score_images(net, images, recipe.preprocessing).argmax(dim=1) == labels
    wrong = (~right).nonzero()[:, 0]
    return torch.cat([wrong, right.nonzero()[: len(wrong), 0]]).sort().values


def disagreement(first: nn.Module, second: nn.Module, recipe: Recipe, images: Tensor) -> Tensor:
    """Indices of the images to which the two networks give different answers."""
    answers = [score_images(net, images, recipe.preprocessing).argmax(dim=1) for net in (first, second)]
    return (answers[0] != answers[1]).nonzero()[:, 0]
