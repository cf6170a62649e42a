"""Local learning: a small classifier is trained for each pattern to recognise, on its neighbours alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from pydantic import PositiveFloat, PositiveInt

from convbench.rivals.method import Floats, Labels, flat, targets
from convbench.rivals.search import ExactSearch


@dataclass
class LocalLearning:
    """A linear classifier with weight decay, fitted to the nearest training patterns of each test pattern.

    Bottou & Vapnik, "Local learning algorithms", Neural Computation 1992; LeCun et al. 1998, section
    III.C.8, puts it in place of LeNet-4's last layer: give the features that this layer reads as the
    patterns.

    neighbours: training patterns to fit to, at most all
    ridge: weight decay, a fraction of the neighbours' mean squared distance from their mean
    """

    neighbours: PositiveInt = 100
    ridge: PositiveFloat = 1.0

    def fit(self, x: Floats, y: Labels) -> Self:
        """Store the patterns."""
        self.search, self.goal = ExactSearch(torch.from_numpy(flat(x))), torch.from_numpy(targets(y))
        return self

    def decision_function(self, x: Floats) -> Floats:
        queries = torch.from_numpy(flat(x))
        _, near = self.search(queries, min(self.neighbours, len(self.goal)))
        outputs = [self._fitted_output(query, chosen) for query, chosen in zip(queries, near, strict=True)]
        scores: Floats = torch.stack(outputs).numpy()
        return scores

    def _fitted_output(self, query: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Outputs (classes,) at `query` of the linear units fitted to the patterns `chosen`."""
        patterns, goal = self.search.vectors[chosen], self.goal[chosen]
        centre, mean_goal = patterns.mean(0), goal.mean(0)  # an unpenalised bias
        patterns = patterns - centre
        # In the dual, k equations instead of d: the weights are sums of patterns.
        gram = patterns @ patterns.T
        gram += torch.eye(len(gram)) * (self.ridge * gram.trace() / len(gram)).clamp_min(1e-12)
        dual = torch.cholesky_solve(goal - mean_goal, torch.linalg.cholesky(gram))
        return mean_goal + (query - centre) @ patterns.T @ dual

    @property
    def params(self) -> int:
        return self.search.vectors.numel() + self.goal.numel()

    @property
    def macs(self) -> int:
        """Distances to all patterns, the neighbours' products, their Cholesky solution; not the features."""
        stored, inputs = self.search.vectors.shape
        k, classes = min(self.neighbours, stored), self.goal.shape[1]
        return stored * inputs + k * k * inputs + k**3 // 6 + k * k * classes + k * (inputs + classes)
