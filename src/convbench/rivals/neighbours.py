"""k nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from convbench.rivals.method import Floats, Labels, flat
from convbench.rivals.search import ExactSearch


@dataclass
class NearestNeighbours:
    """The classes of the k training patterns nearest in Euclidean distance vote; the nearest decides a tie.

    LeCun et al. 1998, section III.C.3, which states k = 3 for deslanted images; the search is exact.
    """

    k: PositiveInt = 3

    def fit(self, x: Floats, y: Labels) -> Self:
        """Store the patterns."""
        self.search, self.labels = ExactSearch(torch.from_numpy(flat(x))), torch.from_numpy(y)
        self.classes = int(y.max()) + 1
        return self

    def kneighbors(self, x: Floats) -> tuple[Tensor, Tensor]:
        """Squared distances (n, k), float64 and ascending, and indices of the training patterns, int64.

        Of equally distant patterns the one stored first comes first; fewer than k where fewer are stored.
        """
        return self.search(torch.from_numpy(flat(x)), min(self.k, len(self.labels)))

    def decision_function(self, x: Floats) -> Floats:
        distances, indices = self.kneighbors(x)
        return vote(distances, self.labels[indices], self.classes)

    @property
    def params(self) -> int:
        return self.search.vectors.numel()

    @property
    def macs(self) -> int:
        """A distance costs a multiply-add for each input."""
        return self.search.vectors.numel()


def vote(distances: Tensor, labels: Tensor, classes: int) -> Floats:
    """float32 scores (n, classes) from squared distances and labels (n, k) of each pattern's neighbours.

    A neighbour counts one; to that a class adds 1 / (2 + its least distance), below one, which breaks ties
    and ranks answers by how near they are. A class without a neighbour scores 0.
    """
    votes = torch.zeros(len(labels), classes).scatter_add_(1, labels, torch.ones(labels.shape))
    nearness = torch.zeros(len(labels), classes, dtype=torch.float64)
    nearness.scatter_reduce_(1, labels, 1 / (2 + distances), reduce="amax")
    scores: Floats = (votes + nearness).numpy().astype(np.float32)
    return scores
