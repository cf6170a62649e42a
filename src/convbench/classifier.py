"""The one contract of networks and rivals, so that one evaluation serves both."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from convbench.data.dataset import Dataset


class Scorer(Protocol):
    """Something that scores images."""

    def scores(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 scores (n, classes); the largest is the answer."""


class Classifier(Scorer, Protocol):
    """Something that learns from a data set and then scores images."""

    def fit(self, dataset: Dataset) -> None:
        """Learn from all of `dataset`."""
