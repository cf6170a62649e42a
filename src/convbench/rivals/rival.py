"""A classical method behind the contract of all classifiers: data sets in, scores out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError
from convbench.progress import progress
from convbench.rivals.method import Floats, Method

BATCH = 500  # images preprocessed and scored at a time


@dataclass
class Rival:
    """A method, how images are prepared for it, and optionally what computes features of them first.

    features: preprocessed float32 images (n, c, h, w) to float32 (n, ...), such as all of a trained LeNet-4
        but its last layer; None for the pixels themselves. Not counted in `params` and `macs`.
    """

    name: str
    method: Method
    preprocessing: Preprocessing
    features: Callable[[Tensor], Tensor] | None = None

    def fit(self, dataset: Dataset) -> None:
        """Learn from all of `dataset`; raises RequestError where fewer than two classes occur in it."""
        present, labels = np.unique(dataset.labels.numpy(), return_inverse=True)
        if len(present) < 2:
            found = f"{len(present)} in the {len(dataset)} images of {dataset.name}"
            raise RequestError(f"{self.name} needs at least two classes, found {found}")
        self.present, self.classes = torch.from_numpy(present), len(dataset.classes)
        patterns = [self._prepared(images) for images in torch.split(dataset.images, BATCH)]
        self.method.fit(np.concatenate(patterns), labels.astype(np.int64))

    def scores(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 scores (n, classes); a class unseen in `fit` has -infinity."""
        scores = torch.full((len(images), self.classes), -torch.inf)
        with progress(f"{self.name}: scoring", len(images), "images") as bar:
            for batch, rows in zip(torch.split(images, BATCH), torch.split(scores, BATCH), strict=True):
                rows[:, self.present] = torch.from_numpy(self.method.decision_function(self._prepared(batch)))
                bar.advance(len(batch))
        return scores

    def _prepared(self, images: Tensor) -> Floats:
        with torch.inference_mode():
            prepared = self.preprocessing(images)
            patterns: Floats = (self.features(prepared) if self.features else prepared).numpy()
        return patterns

    @property
    def params(self) -> int:
        """Numbers kept in memory after `fit`."""
        return self.method.params

    @property
    def macs(self) -> int:
        """Multiply-adds to recognise one image, preprocessing and features not counted."""
        return self.method.macs
