"""What an evaluation says: the error with its interval, class by class, and which images went wrong."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from convbench.classifier import Scorer
from convbench.data.dataset import Dataset
from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError
from convbench.evaluation.cropped import Cropped
from convbench.evaluation.crops import open_crops
from convbench.evaluation.source import Source, prepared_shape
from convbench.notebook import figure, interval, table

Z95 = 1.959963984540054  # the normal distribution's 97.5 % point
HARDEST = 10  # classes that a notebook shows


@dataclass(frozen=True)
class ClassResult:
    """The errors on the images of one class; `error` in percent, None where the class has no image."""

    name: str
    n: int
    errors: int
    error: float | None


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified image; `margin` is the right class's score less the answer's, so 0 or below."""

    index: int
    label: int
    predicted: int
    margin: float


@dataclass(frozen=True)
class Rejection:
    """The share of images (percent) to reject, least certain first, so that the rest has `target_error` percent.

    `rejected` is None where no threshold reaches the target.
    """

    target_error: float
    rejected: float | None


@dataclass(frozen=True)
class Result:
    """An evaluation on one data set. All errors are percent.

    interval: the 95 % Wilson interval of top1_error
    top5_error: None for five classes or fewer
    confusion: rows the true class, columns the answer
    worst: the mistakes, largest first
    rejection: LeCun et al. 1998, figure 10: rejected until 0.5 % error is left
    """

    top1_error: float
    top5_error: float | None
    n: int
    errors: int
    interval: tuple[float, float]
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    worst: tuple[Mistake, ...]
    rejection: Rejection

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """The errors in a notebook, and the classes with the most."""
        known = [one for one in self.per_class if one.error is not None]
        hardest = sorted(known, key=lambda one: -(one.error or 0))[:HARDEST]
        rows = [
            ("all", self.n, self.errors, figure(self.top1_error), interval(self.interval)),
            *((one.name, one.n, one.errors, figure(one.error), "") for one in hardest),
        ]
        shown = f"the {HARDEST} hardest of {len(known)} classes" if len(known) > HARDEST else "by class, hardest first"
        five = "" if self.top5_error is None else f"top-5 error {figure(self.top5_error)} %, "
        headings = ("class", "images", "errors", "error %", "95 % interval")
        return table(f"top-1 error {figure(self.top1_error)} %, {five}{shown}", headings, rows)


def wilson_interval(errors: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of an error rate, in percent.

    >>> [round(bound, 2) for bound in wilson_interval(95, 10_000)]
    [0.78, 1.16]
    """
    rate, weight = errors / n, Z95**2 / n
    centre = (rate + weight / 2) / (1 + weight)
    half = Z95 / (1 + weight) * math.sqrt(rate * (1 - rate) / n + weight / (4 * n))
    low = 0.0 if errors == 0 else centre - half
    high = 1.0 if errors == n else centre + half
    return 100 * low, 100 * high


def rejection_for(scores: Tensor, labels: Tensor, target_error: float = 0.5) -> Rejection:
    """The smallest share of images whose rejection leaves at most `target_error` percent errors among the rest.

    An image's certainty is its best score less its second best (the paper adds a threshold on the best score itself).
    Images that are equally certain are rejected together, as no threshold parts them.
    """
    best = scores.topk(2, dim=1).values
    certainty, order = (best[:, 0] - best[:, 1]).sort(descending=True)
    wrong = (scores.argmax(dim=1) != labels)[order].cumsum(0)
    kept = torch.arange(1, len(labels) + 1)
    is_threshold = torch.cat([certainty[1:] < certainty[:-1], torch.ones(1, dtype=torch.bool)])
    reached = (is_threshold & (100 * wrong <= target_error * kept)).nonzero()
    if len(reached) == 0:
        return Rejection(target_error, None)
    return Rejection(target_error, 100 * (1 - (int(reached[-1]) + 1) / len(labels)))


def result_from_scores(scores: Tensor, labels: Tensor, classes: tuple[str, ...], worst: int = 24) -> Result:
    """The evaluation of scores (n, classes), larger = more probable, against labels (n,).

    Raises RequestError where the scores' number of classes is not the data set's, or a score is not a number.
    """
    n, k = scores.shape
    if k != len(classes):
        raise RequestError(
            f"the scores have {k} classes, the data set {len(classes)}: evaluate on the data it was made for"
        )
    if bool(scores.isnan().any()):
        raise RequestError(f"{int(scores.isnan().any(dim=1).sum())} of {n} images have scores that are not numbers")
    largest = torch.finfo(scores.dtype).max / 2  # margins stay numbers
    scores = scores.clamp(-largest, largest)
    answers = scores.argmax(dim=1)
    confusion = torch.bincount(labels * k + answers, minlength=k * k).reshape(k, k)
    totals, right = confusion.sum(dim=1).tolist(), confusion.diagonal().tolist()
    errors = n - sum(right)
    top5 = (scores.topk(5, dim=1).indices == labels[:, None]).any(dim=1) if k > 5 else None
    margins = scores.gather(1, labels[:, None])[:, 0] - scores.max(dim=1).values
    mistakes = [int(i) for i in margins.argsort(stable=True) if answers[i] != labels[i]][:worst]
    assert int(confusion.sum()) == n
    return Result(
        top1_error=100 * errors / n,
        top5_error=None if top5 is None else 100 * int((~top5).sum()) / n,
        n=n,
        errors=errors,
        interval=wilson_interval(errors, n),
        per_class=tuple(
            ClassResult(name, total, total - hits, 100 * (total - hits) / total if total else None)
            for name, total, hits in zip(classes, totals, right, strict=True)
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        worst=tuple(Mistake(i, int(labels[i]), int(answers[i]), float(margins[i])) for i in mistakes),
        rejection=rejection_for(scores, labels),
    )


def evaluate(
    classifier: Scorer | nn.Module,
    dataset: Source,
    *,
    preprocessing: Preprocessing | None = None,
    crops: str = "centre",
) -> Result:
    """Score every image of `dataset` and say how it went.

    Args:
        classifier: a trained network or rival; a bare nn.Module is read with `preprocessing` (default: the pixels
            scaled to [0, 1]; a resizing that the data set's images have had already is not done again)
        dataset: images in memory, or for a network photographs in files
        crops: what a network sees of each image, by a name in `evaluation.crops.CROPS`

    Raises RequestError where the network cannot read such images.
    """
    if not isinstance(classifier, nn.Module):
        if not isinstance(dataset, Dataset) or crops != "centre":
            raise RequestError(f"expected a network for crops {crops} of {dataset.name}, found another classifier")
        return result_from_scores(classifier.scores(dataset.images), dataset.labels, dataset.classes)
    preprocessing = preprocessing or Preprocessing()
    shape = prepared_shape(dataset, preprocessing)
    try:
        scores = Cropped(dataset, open_crops(crops), preprocessing, shape).scores(classifier)
    except RuntimeError as error:
        sizes = "x".join(map(str, dataset.images.shape[1:] if isinstance(dataset, Dataset) else shape))
        raise RequestError(f"the network cannot read {dataset.name}'s {sizes} images: {error}") from error
    return result_from_scores(scores, dataset.labels, dataset.classes)
