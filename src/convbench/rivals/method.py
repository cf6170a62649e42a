"""What every classical method offers, and the small steps that several of them share."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


class Method(Protocol):
    """A classifier of arrays, in scikit-learn's manner; its arguments are the fields of a dataclass."""

    def fit(self, x: Floats, y: Labels) -> Self:
        """Learn from float32 patterns (n, d) or (n, c, h, w); labels are 0 .. classes - 1, none missing."""

    def decision_function(self, x: Floats) -> Floats:
        """float32 scores (n, classes) of patterns shaped as in `fit`; the largest is the answer."""

    @property
    def params(self) -> int:
        """Numbers kept in memory after `fit`, as LeCun et al. 1998, figure 12, counts variables."""

    @property
    def macs(self) -> int:
        """Multiply-adds to recognise one pattern, as figure 11 counts them; non-linearities are free."""


def flat(x: npt.NDArray[Any]) -> Floats:
    """(n, ...) to (n, d), contiguous."""
    return np.ascontiguousarray(x.reshape(len(x), -1), dtype=np.float32)


def with_bias(x: npt.NDArray[Any]) -> Floats:
    """(n, ...) to (n, d + 1): the pattern and a constant 1, whose weight is the bias."""
    return np.hstack((flat(x), np.ones((len(x), 1), np.float32)))


def targets(y: Labels) -> Floats:
    """One column a class: +1 on its patterns, -1 on the others."""
    return np.where(y[:, None] == np.arange(y.max() + 1), np.float32(1), np.float32(-1))


def gram(x: Floats) -> Doubles:
    """The sums x^T x of products of inputs, (d, d), in float64: small differences of large sums follow."""
    wide = x.astype(np.float64)
    sums: Doubles = wide.T @ wide
    return sums


def with_ridge(gram: Doubles, ridge: float) -> Doubles:
    """`gram` with weight decay: `ridge` times its mean diagonal element, so that it has no unit."""
    return gram + ridge * float(np.trace(gram)) / len(gram) * np.eye(len(gram))


def pair_scores(outputs: npt.NDArray[Any], classes: int) -> Floats:
    """Scores (n, classes) from outputs (n, pairs) of units for every two classes i < j, positive for class i.

    A unit votes for one class of its two; summed outputs, squeezed into (-1/3, 1/3), decide between equal
    votes, as in scikit-learn's `decision_function_shape="ovr"`.
    """
    first, second = np.triu_indices(classes, 1)
    columns = np.arange(classes)
    is_first, is_second = first[:, None] == columns, second[:, None] == columns  # (pairs, classes)
    votes = (outputs >= 0) @ is_first.astype(np.float64) + (outputs < 0) @ is_second.astype(np.float64)
    sums = outputs @ (is_first.astype(np.float64) - is_second)
    scores: Floats = (votes + sums / (3 * (np.abs(sums) + 1))).astype(np.float32)
    return scores
