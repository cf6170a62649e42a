"""Principal components and a second-degree polynomial of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import PositiveFloat, PositiveInt
from sklearn.decomposition import PCA

from convbench.rivals.linear import Linear
from convbench.rivals.method import Floats, Labels, flat


@dataclass
class PcaQuadratic:
    """A linear classifier of all products of two principal components.

    LeCun et al. 1998, section III.C.4: 40 components give 821 inputs, a bias among them, so that there are
    products and squares but no first-degree terms.

    components: principal components kept, at most as many as there are inputs or patterns
    criterion, ridge: of the linear classifier
    """

    components: PositiveInt = 40
    criterion: str = "squashed"
    ridge: PositiveFloat = 1e-6

    def fit(self, x: Floats, y: Labels) -> Self:
        vectors = flat(x)
        self.pca = PCA(min(self.components, *vectors.shape), svd_solver="covariance_eigh").fit(vectors)
        self.projection: Floats = self.pca.components_
        self.linear = Linear(self.criterion, self.ridge).fit(self._products(vectors), y)
        return self

    def decision_function(self, x: Floats) -> Floats:
        return self.linear.decision_function(self._products(flat(x)))

    def _products(self, vectors: Floats) -> Floats:
        """(n, d) to (n, components * (components + 1) / 2)."""
        projected = self.pca.transform(vectors)
        first, second = np.triu_indices(projected.shape[1])
        products: Floats = projected[:, first] * projected[:, second]
        return products

    @property
    def params(self) -> int:
        """Projection, its bias (the mean image, projected) and the linear classifier."""
        return self.projection.size + len(self.projection) + self.linear.params

    @property
    def macs(self) -> int:
        """The products themselves are not counted: nothing is added to them."""
        return self.projection.size + self.linear.macs
