"""Average precision against pycocotools, and Pascal VOC's against work done by hand."""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from convbench.detection.annotations import DetectionSet, Objects
from convbench.detection.datasets import open_detection_set
from convbench.detection.result import (
    COCO_FIGURES,
    Detections,
    coco_detections,
    coco_result,
    coco_truth,
    voc_ap,
)


def boxes_of(count: int) -> torch.Tensor:
    low = torch.rand(count, 2) * 300
    return torch.cat([low, low + 4 + torch.rand(count, 2) ** 2 * 200], 1)


def random_set(images: int, classes: int = 5) -> tuple[DetectionSet, list[Detections]]:
    """Objects of all sizes, a few crowds, and detections that hit some of them."""
    torch.manual_seed(0)
    objects, found = [], []
    for _ in range(images):
        count = int(torch.randint(0, 12, ()))
        boxes, labels = boxes_of(count), torch.randint(0, classes, (count,))
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) * 0.7
        objects.append(Objects(boxes, labels, areas, torch.rand(count) < 0.05, torch.ones(count, dtype=torch.bool)))
        others = int(torch.randint(0, 120, ()))
        guessed = torch.cat([boxes + torch.randn(count, 4) * 4, boxes_of(others)])
        certain = torch.cat([torch.rand(count), torch.rand(others) * 0.7]).sort(descending=True)
        named = torch.cat([labels, torch.randint(0, classes, (others,))])
        found.append(Detections(guessed[certain.indices], named[certain.indices], certain.values))
    dataset = DetectionSet(
        name="made",
        split="test",
        root=Path(),
        files=tuple(f"{i}.jpg" for i in range(images)),
        sizes=torch.full((images, 2), 500),
        identifiers=tuple(range(7, 7 + images)),
        objects=tuple(objects),
        classes=tuple("abcdefgh"[:classes]),
        categories=tuple(range(1, 2 * classes, 2)),
        noted={},
        source="made",
    )
    return dataset, found


def by_pycocotools(dataset: DetectionSet, found: list[Detections], annotations: Path | None = None) -> list[float]:
    """Of the set's annotations as we hand them on, or of a file as it is."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(annotations)
        if annotations is None:
            truth.dataset = coco_truth(dataset)
            truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(coco_detections(dataset, found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("most", [3, 100])
def test_the_twelve_figures_are_pycocotools(most: int) -> None:
    dataset, found = random_set(40)
    found = [one.most(most) for one in found]
    result = coco_result(dataset, found).to_dict()
    expected = by_pycocotools(dataset, found)
    assert 0.05 < expected[0] < 0.95
    assert [result[name] for name in COCO_FIGURES] == pytest.approx(expected, abs=1e-6)
    assert sum(result["per_class"].values()) / 5 == pytest.approx(expected[0], abs=1e-6)


def test_the_figures_of_real_annotations_are_pycocotools_from_their_file(real_data: Path) -> None:
    """Which reads crowds, areas and numbers of categories itself; found are the objects, moved, and as many others."""
    torch.manual_seed(0)
    dataset, found = open_detection_set(real_data / "coco128", "train"), list[Detections]()
    assert dataset.noted["crowd"] == 10
    for objects in dataset.objects:
        count = len(objects.boxes)
        boxes = torch.cat([objects.boxes + 5 * torch.randn(count, 4), boxes_of(count)])
        labels = torch.cat([objects.labels, torch.randint(0, len(dataset.classes), (count,))])
        certain = torch.rand(2 * count).sort(descending=True)
        found.append(Detections(boxes[certain.indices], labels[certain.indices], certain.values))
    expected = by_pycocotools(dataset, found, real_data / "coco128/annotations/instances_train2017.json")
    result = coco_result(dataset, found).to_dict()
    assert [result[name] for name in COCO_FIGURES] == pytest.approx(expected, abs=1e-6)
    assert 0.05 < expected[0] < 0.95


def test_nothing_found_is_nothing_right() -> None:
    dataset, found = random_set(5)
    result = coco_result(dataset, [one.most(0) for one in found])
    assert (result.ap, result.ar100) == (0, 0)


def one_image(boxes: list[list[float]], ignored: list[bool]) -> DetectionSet:
    dataset, _ = random_set(1, 1)
    tensor = torch.tensor(boxes, dtype=torch.float32)
    areas = (tensor[:, 2:] - tensor[:, :2]).prod(1)
    labels, learnt = torch.zeros(len(boxes), dtype=torch.int64), torch.ones(len(boxes), dtype=torch.bool)
    objects = Objects(tensor, labels, areas, torch.tensor(ignored), learnt)
    return DetectionSet(**{**vars(dataset), "objects": (objects,)})


def detections(boxes: list[list[float]], scores: list[float]) -> list[Detections]:
    return [Detections(torch.tensor(boxes), torch.zeros(len(boxes), dtype=torch.int64), torch.tensor(scores))]


A, B, C = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [40.0, 0, 50, 10]


def test_vocs_figures_worked_by_hand() -> None:
    """Right, wrong, right, of three objects: precision 1 at a recall of 1/3, 2/3 at 2/3.

    By area 1/3 + 2/3 * 1/3 = 5/9; at eleven recalls 1 four times (0 to 0.3), 2/3 three times (0.4 to 0.6): 6/11.
    """
    dataset = one_image([A, B, C], [False] * 3)
    found = detections([A, [60.0, 0, 70, 10], B], [0.9, 0.8, 0.7])
    assert voc_ap(dataset, found)["area"]["a"] == pytest.approx(5 / 9)
    assert voc_ap(dataset, found)["07"]["a"] == pytest.approx(6 / 11)


def test_an_object_is_found_once_and_a_difficult_one_does_not_count() -> None:
    """A twice: the second is wrong. B is difficult: neither asked for nor wrong. So 1 of 1, before the wrong one."""
    dataset = one_image([A, B], [False, True])
    assert voc_ap(dataset, detections([A, A, B], [0.9, 0.8, 0.7]))["area"]["a"] == 1
    assert voc_ap(dataset, detections([B, A], [0.9, 0.8]))["area"]["a"] == 1
    assert voc_ap(dataset, detections([[60.0, 0, 70, 10], A], [0.9, 0.8]))["area"]["a"] == pytest.approx(0.5)


def test_classes_and_images_are_kept_apart() -> None:
    """A's object is not found by b's detection. Of b right, wrong, right, of two objects: 1/2 + 1/2 * 2/3 = 5/6."""
    dataset, first, second = random_set(2, 2)[0], one_image([A, B], [False] * 2), one_image([A], [False])
    objects = tuple(
        replace(one.objects[0], labels=torch.tensor(labels)) for one, labels in ((first, [0, 1]), (second, [1]))
    )
    found = [
        Detections(torch.tensor(boxes), torch.tensor(labels), torch.tensor(scores))
        for boxes, labels, scores in (([A, B, A], [1, 1, 0], [0.9, 0.8, 0.7]), ([A], [1], [0.95]))
    ]
    figures = voc_ap(replace(dataset, objects=objects), found)["area"]
    assert figures == {"a": 1, "b": pytest.approx(5 / 6)}


def test_a_class_without_objects_has_no_figure() -> None:
    assert math.isnan(voc_ap(one_image([A], [True]), detections([A], [0.5]))["area"]["a"])
