"""Average precision: COCO's twelve figures, by faster-coco-eval, and Pascal VOC's."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from convbench.detection.annotations import DetectionSet, Objects
from convbench.errors import RequestError

Array = NDArray[Any]
COCO_FIGURES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, the most certain first.

    boxes: (k, 4) float32 corners, in pixels of the image
    labels: (k,) int64; scores: (k,) float32, 0 to 1
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor

    def most(self, k: int) -> Detections:
        """The first `k`."""
        return Detections(self.boxes[:k], self.labels[:k], self.scores[:k])

    def above(self, score: float) -> Detections:
        """Those whose score is `score` or more."""
        certain = self.scores >= score
        return Detections(self.boxes[certain], self.labels[certain], self.scores[certain])


def renamed(found: Detections, here: Sequence[str], there: Sequence[str]) -> Detections:
    """`found` with labels of `here` as those of `there`, by the classes' names; those without one are left out."""
    places = torch.tensor([there.index(name) if name in there else -1 for name in here])
    labels = places[found.labels]
    known = labels >= 0
    return Detections(found.boxes[known], labels[known], found.scores[known])


@dataclass(frozen=True)
class CocoResult:
    """COCO's twelve figures, 0 to 1; -1 where there is nothing to find, such as no small objects.

    per_class: the AP of each class
    n: images
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    ar10: float
    ar100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    per_class: dict[str, float]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def coco_result(dataset: DetectionSet, found: Sequence[Detections]) -> CocoResult:
    """The figures of `found`, an entry for each image of `dataset`; at most 100 of each count.

    Raises RequestError where there is not one for each image.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if len(found) != len(dataset):
        raise RequestError(f"expected detections for each of {len(dataset)} images, found {len(found)}")
    truth, results = coco_truth(dataset), coco_detections(dataset, found)
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = COCO(truth)
        evaluation = COCOeval_faster(
            annotated, annotated.loadRes(results) if results else COCO(truth | {"annotations": []}), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = dict(zip(COCO_FIGURES, map(float, evaluation.stats), strict=False))
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    per_class = {}
    for place, name in enumerate(dataset.classes):
        values = precision[:, :, place]
        per_class[name] = float(values[values > -1].mean()) if (values > -1).any() else -1.0
    return CocoResult(**figures, per_class=per_class, n=len(dataset))


def coco_truth(dataset: DetectionSet) -> dict[str, Any]:
    """The annotations as COCO's evaluators take them, by the policy of `annotations`."""
    rows: list[dict[str, Any]] = []
    for identifier, objects in zip(dataset.identifiers, dataset.objects, strict=True):
        for box, label, area, ignored in zip(
            objects.boxes.tolist(),
            objects.labels.tolist(),
            objects.areas.tolist(),
            objects.ignored.tolist(),
            strict=True,
        ):
            left, top, right, bottom = box
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": identifier,
                    "category_id": dataset.categories[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": area,
                    "iscrowd": int(ignored),
                }
            )
    return {
        "images": [
            {"id": identifier, "height": height, "width": width}
            for identifier, (height, width) in zip(dataset.identifiers, dataset.sizes.tolist(), strict=True)
        ],
        "annotations": rows,
        "categories": [
            {"id": number, "name": name} for number, name in zip(dataset.categories, dataset.classes, strict=True)
        ],
    }


def coco_detections(dataset: DetectionSet, found: Sequence[Detections]) -> list[dict[str, Any]]:
    """Detections as COCO's files of results have them."""
    rows = []
    for identifier, one in zip(dataset.identifiers, found, strict=True):
        for (left, top, right, bottom), label, score in zip(
            one.boxes.tolist(), one.labels.tolist(), one.scores.tolist(), strict=True
        ):
            rows.append(
                {
                    "image_id": identifier,
                    "category_id": dataset.categories[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "score": score,
                }
            )
    return rows


def voc_ap(dataset: DetectionSet, found: Sequence[Detections], overlap: float = 0.5) -> dict[str, dict[str, float]]:
    """Pascal VOC's average precision of each class, 0 to 1, by method; their mean is VOC's mAP.

    "07": the mean of the precision at eleven recalls (VOC 2007); "area": under the monotone curve (2010 on)

    An object is found by the most certain detection that overlaps it best, by at least `overlap`; a second one is
    wrong. Difficult objects are neither asked for nor held against a detection.
    """
    parts = [_matched(objects, one, overlap) for objects, one in zip(dataset.objects, found, strict=True)]
    labels, hits, scores = (np.concatenate(rows) for rows in zip(*parts, strict=True))
    wanted = np.concatenate([objects.labels[~objects.ignored].numpy() for objects in dataset.objects])
    counts = np.bincount(wanted, minlength=len(dataset.classes)).tolist()
    order = labels.argsort(kind="stable")  # the images' order stays, by which equal scores are told apart
    edges = np.searchsorted(labels[order], np.arange(len(dataset.classes) + 1))
    own = [order[start:end] for start, end in itertools.pairwise(edges)]
    return {
        method: {
            name: _area(hits[rows], scores[rows], count, method)
            for name, rows, count in zip(dataset.classes, own, counts, strict=True)
        }
        for method in ("07", "area")
    }


def _matched(objects: Objects, found: Detections, overlap: float) -> tuple[Array, Array, Array]:
    """(labels, hits, scores) of an image's detections that count, the most certain first; a hit is 1.0, a miss 0.0."""
    order = found.scores.argsort(descending=True, stable=True)
    labels, scores = found.labels[order].numpy(), found.scores[order].numpy().astype(np.float64)
    hits, counted = np.zeros(len(labels)), np.ones(len(labels), bool)
    if len(labels) and len(objects.labels):
        overlaps = box_iou(found.boxes[order], objects.boxes).numpy()
        overlaps[labels[:, None] != objects.labels.numpy()] = -1
        best = overlaps.argmax(1)
        is_there = overlaps[np.arange(len(best)), best] >= overlap
        counted = ~(is_there & objects.ignored.numpy()[best])
        rows = np.flatnonzero(is_there & counted)
        hits[rows[np.unique(best[rows], return_index=True)[1]]] = 1  # of an object's detections the first
    return labels[counted], hits[counted], scores[counted]


def _area(hits: Array, scores: Array, wanted: int, method: str) -> float:
    """Under the curve of precision over recall; NaN without objects."""
    if not wanted:
        return float("nan")
    right = hits[np.argsort(-scores, kind="stable")].cumsum()
    recall, precision = right / wanted, right / np.arange(1, len(hits) + 1)
    if method == "07":
        at = [precision[recall >= level].max(initial=0.0) for level in np.linspace(0, 1, 11)]
        return float(np.mean(at))
    envelope = np.maximum.accumulate(np.concatenate([precision, [0.0]])[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * envelope[:-1]).sum())
