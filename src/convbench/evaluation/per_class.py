"""Which classes are easy and which are hard, and what is taken for what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from convbench.evaluation.result import wilson_interval

EXTREMES = 6  # classes at each end, as on a slide of ILSVRC's
PAIRS = 10


@dataclass(frozen=True)
class ClassAccuracy:
    """How many of a class's `n` images were right, percent, with the 95 % Wilson interval.

    top5_accuracy: of those whose class is among the best five answers; None for five classes or fewer
    """

    index: int
    name: str
    n: int
    accuracy: float
    interval: tuple[float, float]
    top5_accuracy: float | None


@dataclass(frozen=True)
class ConfusedPair:
    """Two classes, each taken for the other: `first` for `second` so often, and the other way round."""

    first: str
    second: str
    first_as_second: int
    second_as_first: int

    @property
    def total(self) -> int:
        """Mistakes in both directions."""
        return self.first_as_second + self.second_as_first


@dataclass(frozen=True)
class PerClass:
    """An evaluation class by class.

    classes: those that have images, in the data set's order
    easiest, hardest: at most `EXTREMES` each, the most extreme first, no class in both. Of equal accuracies, the one
        that more images speak for is the more extreme: its interval lies closer.
    confused: the pairs with the most mistakes, at most `PAIRS`; a single mistake makes no pair
    """

    classes: tuple[ClassAccuracy, ...]
    easiest: tuple[ClassAccuracy, ...]
    hardest: tuple[ClassAccuracy, ...]
    confused: tuple[ConfusedPair, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def per_class(scores: Tensor, labels: Tensor, classes: tuple[str, ...]) -> PerClass:
    """The accuracy of each class by scores (n, classes), larger = more probable, against labels (n,)."""
    best = scores.topk(min(5, len(classes)), dim=1).indices
    right, found = best[:, 0] == labels, (best == labels[:, None]).any(dim=1)
    totals, rights, founds = (
        labels[chosen].bincount(minlength=len(classes)).tolist() for chosen in (torch.ones_like(right), right, found)
    )
    accuracies = tuple(
        ClassAccuracy(
            index=index,
            name=name,
            n=totals[index],
            accuracy=100 * rights[index] / totals[index],
            interval=wilson_interval(rights[index], totals[index]),
            top5_accuracy=100 * founds[index] / totals[index] if len(classes) > 5 else None,
        )
        for index, name in enumerate(classes)
        if totals[index]
    )
    few = min(EXTREMES, len(accuracies) // 2)
    easiest = sorted(accuracies, key=lambda one: (-one.accuracy, -one.interval[0]))[:few]
    left = [one for one in accuracies if one not in easiest]  # of equals, some would be in both
    hardest = sorted(left, key=lambda one: (one.accuracy, one.interval[1]))[:few]
    return PerClass(accuracies, tuple(easiest), tuple(hardest), confused_pairs(labels, best[:, 0], classes))


def confused_pairs(
    labels: Tensor, answers: Tensor, classes: tuple[str, ...], most: int = PAIRS
) -> tuple[ConfusedPair, ...]:
    """The pairs of classes with the most mistakes between them, two or more; the more frequent direction first."""
    k = len(classes)
    wrong = labels != answers
    low, high = torch.minimum(labels, answers)[wrong], torch.maximum(labels, answers)[wrong]
    is_upward = (labels < answers)[wrong]
    pairs, place = (low * k + high).unique(return_inverse=True)
    upward = place[is_upward].bincount(minlength=len(pairs))
    downward = place[~is_upward].bincount(minlength=len(pairs))
    order = (upward + downward).argsort(descending=True, stable=True)[:most]
    confused = []
    for pair, up, down in zip(pairs[order].tolist(), upward[order].tolist(), downward[order].tolist(), strict=True):
        if up + down < 2:
            break
        lower, upper = classes[pair // k], classes[pair % k]
        confused.append(ConfusedPair(lower, upper, up, down) if up >= down else ConfusedPair(upper, lower, down, up))
    return tuple(confused)
