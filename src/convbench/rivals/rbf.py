"""A network of Gaussian radial basis functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from scipy.linalg import solve
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import euclidean_distances

from convbench.rivals.method import Doubles, Floats, Labels, flat, gram, targets, with_bias, with_ridge


@dataclass
class RadialBasis:
    """Gaussian units on centres that k-means finds class by class, then a linear layer by regularised
    pseudo-inverse.

    LeCun et al. 1998, section III.C.5: ten groups of 100 units. Departures: the batch k-means of
    scikit-learn for the paper's adaptive one; the paper does not give the width, here one for all units.

    centres: units in all, shared evenly among the classes; no class gets more than it has patterns
    width: the Gaussian is exp(-distance^2 / (width * w)), with w the mean squared distance of a training
        pattern from the mean of its class
    ridge: regularisation of the second layer, a fraction of the units' mean square output
    seed: of k-means
    """

    centres: PositiveInt = 1000
    width: PositiveFloat = 1.0
    ridge: PositiveFloat = 1e-6
    seed: int = 0

    def fit(self, x: Floats, y: Labels) -> Self:
        vectors, goal = flat(x), targets(y)
        groups = [vectors[y == label] for label in range(goal.shape[1])]
        share = max(1, self.centres // len(groups))
        found = [KMeans(min(share, len(group)), n_init=1, random_state=self.seed).fit(group) for group in groups]
        self.units: Floats = np.vstack([kmeans.cluster_centers_ for kmeans in found])
        scatter = sum(float(group.var(axis=0).sum()) * len(group) for group in groups) / len(vectors)
        self.spread = self.width * (scatter or 1.0)
        outputs = self._outputs(vectors)
        self.weights: Doubles = solve(with_ridge(gram(outputs), self.ridge), outputs.T @ goal, assume_a="pos")
        return self

    def decision_function(self, x: Floats) -> Floats:
        return self._outputs(flat(x)) @ self.weights.astype(np.float32)

    def _outputs(self, vectors: Floats) -> Floats:
        """(n, units + 1): the Gaussians and the constant 1."""
        return with_bias(np.exp(-euclidean_distances(vectors, self.units, squared=True) / self.spread))

    @property
    def params(self) -> int:
        """Centres, second layer, and the width."""
        return self.units.size + self.weights.size + 1

    @property
    def macs(self) -> int:
        """A distance costs a multiply-add for each input."""
        return self.units.size + self.weights.size
