"""Support vector machines with polynomial kernels: whole, with virtual support vectors, or reduced.

LeCun et al. 1998, section III.C.7. Departures: here a machine separates two classes (45 machines for ten),
there one class from all others. The paper prints neither scaling nor C; here images have unit length and
the kernel is (q.v + offset)^degree, as in DeCoste & Schoelkopf, "Training invariant support vector
machines", Machine Learning 2002. On MNIST C hardly matters, as the training patterns are separable.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from sklearn.svm import SVC
from torch import Tensor
from torch.nn import functional as F

from convbench.errors import RequestError
from convbench.progress import track
from convbench.rivals.method import Doubles, Floats, Labels, flat, pair_scores
from convbench.rivals.reduced_set import polynomial, reduced_set

CACHE_MIB = 500  # of the rows of the kernel matrix that libsvm has lately used
LARGEST_MATRIX = 20_000  # patterns of two classes whose kernels, 5 GB, are computed all at once
BATCH = 256  # patterns whose kernels with all vectors are held at a time
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # pixels down and right


@dataclass
class Machine:
    """For every two classes a weighted sum of kernels of shared vectors, and a bias; positive for the first.

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
        kernels = (polynomial(batch, self.vectors, self.degree, self.offset) for batch in batches)
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

    degree: PositiveInt = 4
    offset: NonNegativeFloat = 0.2
    c: PositiveFloat = 1.0
    virtual: bool = False
    vectors: PositiveInt | None = None
    seed: int = 0

    def fit(self, x: Floats, y: Labels) -> Self:
        if self.virtual and x.ndim != 4:
            raise RequestError(f"virtual support vectors need images (n, c, h, w), found {x.ndim} dimensions")
        self.classes = int(y.max()) + 1
        support, self.machine = self._solve(x, y)
        if self.virtual:
            originals, labels = x[support], y[support]
            copies = [shifted(originals, down, right) for down, right in SHIFTS]
            images = np.concatenate((originals, *copies))
            _, self.machine = self._solve(images, np.tile(labels, 1 + len(copies)))
        machine = self.machine
        if self.vectors is not None and self.vectors < len(machine.vectors):
            outputs = torch.from_numpy(machine.outputs(machine.vectors.numpy()))
            made = reduced_set(machine.vectors, outputs, self.degree, self.offset, self.vectors, self.seed)
            self.machine = Machine(*made, self.degree, self.offset)
        return self

    def _solve(self, x: Floats, y: Labels) -> tuple[Labels, Machine]:
        """The indices of the support vectors, and the machines."""
        vectors, pairs = torch.from_numpy(unit_length(x)), list(combinations(range(self.classes), 2))
        weights, bias = np.zeros((len(x), len(pairs))), np.zeros(len(pairs))
        for column, (first, second) in enumerate(track(pairs, "support vectors", len(pairs), "pairs")):
            rows = np.flatnonzero((y == first) | (y == second))
            svc = self._separate(vectors[rows], y[rows] == first)
            weights[rows[svc.support_], column], bias[column] = svc.dual_coef_[0], svc.intercept_[0]
        support = np.flatnonzero(weights.any(axis=1))
        machine = Machine(
            vectors[support],
            torch.from_numpy(weights[support]),
            torch.from_numpy(bias),
            self.degree,
            self.offset,
        )
        return support, machine

    def _separate(self, vectors: Tensor, is_first: npt.NDArray[np.bool_]) -> SVC:
        if len(vectors) > LARGEST_MATRIX:
            svc = SVC(C=self.c, kernel="poly", degree=self.degree, gamma=1, coef0=self.offset, cache_size=CACHE_MIB)
            return svc.fit(vectors.numpy(), is_first)
        # One matrix product is twice as fast as libsvm's kernels one by one; it too keeps them in float32.
        narrow = vectors.float()
        kernels = polynomial(narrow, narrow, self.degree, self.offset).double().numpy()
        return SVC(C=self.c, kernel="precomputed", cache_size=CACHE_MIB).fit(kernels, is_first)

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
    unit: Doubles = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return unit


def shifted(images: Floats, down: int, right: int) -> Floats:
    """Images (n, c, h, w) moved by a pixel or none each way; what enters repeats the border."""
    height, width = images.shape[2:]
    framed = F.pad(torch.from_numpy(images), (1, 1, 1, 1), mode="replicate")
    moved: Floats = framed[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width].numpy()
    return moved
