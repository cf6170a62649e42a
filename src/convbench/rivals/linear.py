"""Linear classifiers: one unit a class, and one unit a pair of classes.

LeCun et al. 1998, sections III.C.1 and III.C.2. How its single layer was trained, the paper leaves open:
"various combinations of sigmoid units, linear units, gradient descent learning, and learning by directly
solving linear systems gave similar results". Done to the end they do not. On MNIST the paper's own unit,
1.7159 tanh(2/3 a) with targets +1 and -1, lands at 11.4 % (deslanted at 8.5 %), the linear system at 14.0 %
(10.1 %); the paper has 12.0 % (8.4 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
from pydantic import PositiveFloat
from scipy.linalg import cholesky, solve, solve_triangular
from scipy.optimize import minimize

from convbench.errors import unknown
from convbench.rivals.method import Doubles, Floats, Labels, gram, pair_scores, targets, with_bias, with_ridge

CRITERIA = ("squashed", "mse")
AMPLITUDE, SLOPE = 1.7159, 2 / 3  # of the squashing function (section II.B)
ITERATIONS = 100  # of L-BFGS at most


@dataclass
class Linear:
    """For each class a weighted sum of the inputs and a bias; the largest sum is the answer.

    criterion: "mse" solves the linear system for targets +1 and -1; "squashed" goes on from there by gradient
        descent to the least squared error of 1.7159 tanh(2/3 sum)
    ridge: weight decay of the linear system, a fraction of the inputs' mean square
    """

    criterion: str = "squashed"
    ridge: PositiveFloat = 1e-6

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise unknown("criterion", self.criterion, CRITERIA)

    def fit(self, x: Floats, y: Labels) -> Self:
        """Closed form, then L-BFGS on all patterns at once: deterministic."""
        inputs, goal = with_bias(x), targets(y)
        # Whitened inputs: the linear system is then solved by one product, and the descent well-conditioned.
        root = cholesky(with_ridge(gram(inputs), self.ridge) / len(x))
        white = solve_triangular(root, inputs.T, trans="T").T.astype(np.float32)
        weights = white.T @ goal / len(x)
        if self.criterion == "squashed":
            weights = _descend(white, goal, weights)
        self.weights: Doubles = solve_triangular(root, weights)
        return self

    def decision_function(self, x: Floats) -> Floats:
        return with_bias(x) @ self.weights.astype(np.float32)

    @property
    def params(self) -> int:
        return self.weights.size

    @property
    def macs(self) -> int:
        return self.weights.size


def _descend(inputs: Floats, goal: Floats, start: Floats) -> Floats:
    """The weights (d, classes) downhill of `start` where the squashed units err least."""

    def error(weights: Doubles) -> tuple[float, Doubles]:
        """Mean squared error and its gradient."""
        outputs = AMPLITUDE * np.tanh(SLOPE * (inputs @ weights.reshape(start.shape).astype(np.float32)))
        wrong = outputs - goal
        gradient = inputs.T @ (wrong * SLOPE * (AMPLITUDE - outputs**2 / AMPLITUDE))
        return float((wrong**2).mean()), 2 / wrong.size * gradient.ravel().astype(np.float64)

    found = minimize(error, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
    return found.x.reshape(start.shape).astype(np.float32)  # type: ignore[no-any-return]


@dataclass
class PairwiseLinear:
    """A unit for every two classes i < j, trained to +1 on patterns of i, to -1 on those of j, on no others.

    The score of a class is the sum of the outputs of its units, those counted negative where it comes second.
    Departure: the paper does not say that outputs are squashed, but sums of linear outputs are again just
    one linear unit a class, at 18 % on MNIST. Here an output is its sign, a vote, which gives 7.0 % (the
    paper: 7.6 %); the sums decide between equal votes.

    ridge: weight decay of each linear system, a fraction of the inputs' mean square
    """

    ridge: PositiveFloat = 1e-4

    def fit(self, x: Floats, y: Labels) -> Self:
        """Closed form: the system of a pair is the sum of those of its classes."""
        self.classes = int(y.max()) + 1
        groups = [with_bias(x[y == label]) for label in range(self.classes)]
        grams, sums = [gram(group) for group in groups], [group.sum(0, dtype=np.float64) for group in groups]
        units = [
            solve(with_ridge(grams[i] + grams[j], self.ridge), sums[i] - sums[j], assume_a="pos")
            for i, j in combinations(range(self.classes), 2)
        ]
        self.weights: Doubles = np.stack(units, axis=1)
        return self

    def decision_function(self, x: Floats) -> Floats:
        return pair_scores(with_bias(x) @ self.weights.astype(np.float32), self.classes)

    @property
    def params(self) -> int:
        return self.weights.size

    @property
    def macs(self) -> int:
        return self.weights.size
