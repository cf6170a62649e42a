"""Support vector machines with polynomial kernels: whole, with virtual support vectors, or reduced.

LeCun et al. 1998, section III.C.7. Departures: libsvm's machines separate two classes each (45 for ten
classes), the paper's one class from the rest. The paper prints neither scaling nor C; here images have unit
length and the kernel is (q.v + offset)^degree, as in DeCoste & Schoelkopf, "Training invariant support
vector machines", Machine Learning 2002. On MNIST C hardly matters, as the training patterns are separable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor
from torch.nn import functional as F

from convbench.errors import RequestError
from convbench.rivals.method import Doubles, Floats, Labels, flat, pair_scores
from convbench.rivals.reduced_set import reduced_set

CACHE_MIB = 1000  # of kernel values while fitting
BATCH = 256  # patterns whose kernels with all vectors are held at a time
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # pixels down and right


@dataclass
class Machine:
    """For every two classes a weighted sum of kernels with the same vectors, and a bias; positive for the
    first.

    vectors (m, d), weights (m, pairs), bias (pairs,), all float64
    """

    vectors: Tensor
    weights: Tensor
    bias: Tensor
    degree: int
    offset: float

    def outputs(self, x: Doubles) -> Doubles:
        """(n, d) to (n, pairs)."""
        batches = torch.split(torch.from_numpy(x), BATCH)
        kernels = ((batch @ self.vectors.T + self.offset).pow(self.degree) for batch in batches)
        outputs: Doubles = torch.cat([kernel @ self.weights + self.bias for kernel in kernels]).numpy()
        return outputs


@dataclass
class PolynomialSvm:
    """A machine for every two classes, which vote.

    degree, offset, c: of the kernel, and the penalty of a pattern inside the margin
    virtual: fit again, to the support vectors and their copies shifted by one pixel in four directions
    vectors: if given, replace the support vectors by so many vectors in all, made to measure (`reduced_set`)
    seed: of the choice where these start from
    """

    degree: int = 4
    offset: float = 0.2
    c: float = 1.0
    virtual: bool = False
    vectors: int | None = None
    seed: int = 0

    def fit(self, x: Floats, y: Labels) -> Self:
        if self.virtual and x.ndim != 4:
            raise RequestError(f"virtual support vectors need images (n, c, h, w), found {x.ndim} dimensions")
        self.classes = int(y.max()) + 1
        svc = self._solve(x, y)
        if self.virtual:
            originals, labels = x[svc.support_], y[svc.support_]
            copies = [shifted(originals, down, right) for down, right in SHIFTS]
            x, y = np.concatenate((originals, *copies)), np.tile(labels, 1 + len(copies))
            svc = self._solve(x, y)
        self.machine = self._machine(svc, y[svc.support_])
        if self.vectors is not None and self.vectors < len(self.machine.vectors):
            vectors, weights = reduced_set(
                self.machine.vectors, self.machine.weights, self.degree, self.offset, self.vectors, self.seed
            )
            self.machine = replace(self.machine, vectors=vectors, weights=weights)
        return self

    def _solve(self, x: Floats, y: Labels) -> SVC:
        svc = SVC(
            C=self.c, kernel="poly", degree=self.degree, gamma=1, coef0=self.offset, cache_size=CACHE_MIB
        )
        return svc.fit(unit_length(x), y)

    def _machine(self, svc: SVC, owners: Labels) -> Machine:
        """What libsvm found, as one matrix: of the pair i < j, vectors of i have their weights in row j - 1
        of `dual_coef_`, vectors of j in row i."""
        weights = np.stack(
            [
                np.where(owners == i, svc.dual_coef_[j - 1], np.where(owners == j, svc.dual_coef_[i], 0))
                for i, j in zip(*np.triu_indices(self.classes, 1), strict=True)
            ],
            axis=1,
        )
        sign = -1 if self.classes == 2 else 1  # scikit-learn turns the only machine round
        vectors, bias = torch.from_numpy(svc.support_vectors_), torch.from_numpy(sign * svc.intercept_)
        return Machine(vectors, torch.from_numpy(sign * weights), bias, self.degree, self.offset)

    def decision_function(self, x: Floats) -> Floats:
        return pair_scores(self.machine.outputs(unit_length(x)), self.classes)

    @property
    def params(self) -> int:
        """Vectors, biases, and the weights other than zero: a vector serves the machines of its own class."""
        machine = self.machine
        return machine.vectors.numel() + int(machine.weights.count_nonzero()) + len(machine.bias)

    @property
    def macs(self) -> int:
        return self.params - len(self.machine.bias)


def unit_length(x: Floats) -> Doubles:
    """(n, ...) to float64 (n, d) of length one; a blank pattern stays zero."""
    vectors = flat(x).astype(np.float64)
    unit: Doubles = vectors / np.maximum(
        np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny
    )
    return unit


def shifted(images: Floats, down: int, right: int) -> Floats:
    """Images (n, c, h, w) moved by whole pixels; what enters is 0, what leaves is lost."""
    moved: Floats = F.pad(torch.from_numpy(images), (right, -right, down, -down)).numpy()
    return moved
