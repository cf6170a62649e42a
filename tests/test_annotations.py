"""COCO's and Pascal VOC's annotations: real ones, and by the policy whatever no detector can use."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import convbench as cb
from convbench.data.photographs import read_photograph
from convbench.detection.annotations import DetectionSet, read_coco, read_voc
from convbench.detection.datasets import open_detection_set
from convbench.detection.result import Detections, coco_result
from convbench.detection.ssd import ssd300_mobilenet_v1
from convbench.errors import ConvbenchError, RequestError

VOC = """<annotation><filename>other.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>
{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"""


def voc_folder(folder: Path, *images: list[tuple[str, tuple[int, int, int, int], int]]) -> Path:
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for number, rows in enumerate(images):
        objects = "".join(OBJECT.format(name=name, box=box, difficult=difficult) for name, box, difficult in rows)
        (folder / "Annotations" / f"{number}.xml").write_text(VOC.format(objects=objects))
    names = "".join(f"{number}\n" for number in range(len(images)))
    (folder / "ImageSets" / "Main" / "train.txt").write_text(names)
    return folder


def test_vocs_corners_count_from_one(tmp_path: Path) -> None:
    found = read_voc(voc_folder(tmp_path, [("cat", (1, 1, 40, 30), 0), ("bird", (2, 3, 4, 5), 1)]), "train")
    (objects,) = found.objects
    assert found.classes == ("bird", "cat")
    assert objects.boxes.tolist() == [[0, 0, 40, 30], [1, 2, 4, 5]]
    assert (objects.labels.tolist(), objects.ignored.tolist()) == ([1, 0], [False, True])
    assert (found.files, found.sizes.tolist()) == (("0.jpg",), [[30, 40]])


def test_what_no_detector_can_use_is_counted(tmp_path: Path) -> None:
    rows = [("a", (5, 5, 5, 9), 0), ("a", (30, 20, 60, 30), 0), ("a", (50, 2, 60, 9), 0), ("a", (2, 2, 9, 9), 1)]
    found = read_voc(voc_folder(tmp_path, rows, []), "train")
    noted = {"no area": 1, "cut at the border": 1, "outside of the image": 1, "difficult": 1, "images without boxes": 1}
    assert found.noted == noted
    assert found.objects[0].boxes.tolist() == [[29, 19, 40, 30], [1, 1, 9, 9]]
    assert found.objects[1].boxes.shape == (0, 4)


def test_a_list_or_class_that_is_not_there_is_told(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, [("cat", (1, 1, 9, 9), 0)])
    with pytest.raises(RequestError, match="found lists train"):
        read_voc(folder, "val")
    with pytest.raises(RequestError, match="among dog, found cat"):
        read_voc(folder, "train", ["dog"])


@pytest.mark.parametrize("text", ["<annotation>", "<annotation></annotation>", VOC.format(objects="<object></object>")])
def test_damaged_annotations_are_told(tmp_path: Path, text: str) -> None:
    folder = voc_folder(tmp_path, [])
    (folder / "Annotations" / "0.xml").write_text(text)
    with pytest.raises(ConvbenchError, match=r"0\.xml: expected a VOC annotation"):
        read_voc(folder, "train")


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"images": [], "annotations": []})])
def test_what_is_no_coco_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConvbenchError, match="expected COCO's annotations"):
        read_coco(tmp_path / "a.json", tmp_path, "train")
    with pytest.raises(RequestError, match="expected COCO's annotations"):
        read_coco(tmp_path / "b.json", tmp_path, "train")


def coco_file(folder: Path, *, images: Any = None, categories: Any = None, **annotation: Any) -> Path:
    """Of one photograph with one cat, but for what is given."""
    image = {"id": 7, "file_name": "a.jpg", "height": 30, "width": 40}
    cat = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [2, 3, 10, 8], "area": 50.0, "iscrowd": 0}
    content = {
        "images": [image | one for one in ([{}] if images is None else images)],
        "categories": [{"id": 3, "name": "cat"} | one for one in ([{}] if categories is None else categories)],
        "annotations": [cat | annotation],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"images": [{"id": "7"}]}, "the id of an image: expected a whole number, found '7'"),
        ({"images": [{}, {}]}, "the id of an image: expected each once, found 7 twice"),
        ({"images": [{"file_name": 7}]}, "a file_name: expected text, found 7"),
        ({"categories": [{"id": "3"}]}, "the id of a category: expected a whole number, found '3'"),
        ({"categories": [{}, {"name": "dog"}]}, "the id of a category: expected each once, found 3 twice"),
        ({"categories": [{}, {"id": 4}]}, "the name of a category: expected each once, found 'cat' twice"),
        ({"categories": [{"name": None}]}, "a name: expected text, found None"),
        ({"image_id": "7"}, "an annotation's image_id: expected one of the file's, found '7'"),
        ({"category_id": 9}, "an annotation's category_id: expected one of the file's, found 9"),
    ],
)
def test_what_cannot_be_told_apart_is_one_line(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    file = coco_file(tmp_path, **given)
    with pytest.raises(RequestError) as error:
        read_coco(file, tmp_path, "train")
    assert str(error.value) == f"{file}: {told}"


def test_a_box_without_numbers_has_no_area(tmp_path: Path) -> None:
    for place in range(4):
        box = [2.0, 3, 10, 8]
        box[place] = math.nan
        found = read_coco(coco_file(tmp_path, bbox=box), tmp_path, "train")
        assert found.noted == {"no area": 1, "images without boxes": 1}
    found = read_coco(coco_file(tmp_path, area=math.nan), tmp_path, "train")
    assert found.objects[0].areas.tolist() == [80], "of the box, where the object's is not known"


def test_a_split_without_photographs_is_told(tmp_path: Path) -> None:
    for split, images in (("train", [{}]), ("test", [])):
        (tmp_path / split).mkdir()
        content = json.loads(coco_file(tmp_path / split, images=images).read_text())
        content["annotations"] = content["annotations"] if images else []
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    assert len(open_detection_set(tmp_path, "train")) == 1
    with pytest.raises(RequestError, match="expected photographs for test, found none"):
        open_detection_set(tmp_path, "test")


def coco128(real_data: Path) -> DetectionSet:
    folder = real_data / "coco128"
    return read_coco(folder / "annotations" / "instances_train2017.json", folder / "train2017", "train")


def test_a_crowd_is_neither_learnt_nor_asked_for(tmp_path: Path) -> None:
    rows = [((2, 3, 10, 8), 50.0, 0), ((0, 0, 30, 20), 400.0, 1), ((5, 5, 0, 4), 0.0, 0)]
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 30, "width": 40}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 3, "bbox": box, "area": area, "iscrowd": crowd}
            for number, (box, area, crowd) in enumerate(rows, start=1)
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = read_coco(tmp_path / "a.json", tmp_path, "train")
    (objects,) = found.objects
    assert found.noted == {"crowd": 1, "no area": 1}
    assert (objects.ignored.tolist(), objects.learnt.tolist()) == ([False, True], [True, False])
    assert objects.to_learn[0].tolist() == [[2, 3, 12, 11]] and objects.areas.tolist() == [50, 400]


def test_real_annotations_are_read_whole(real_data: Path) -> None:
    found = coco128(real_data)
    assert (len(found), sum(len(one.labels) for one in found.objects), len(found.classes)) == (128, 939, 80)
    assert found.categories[-1] == 90
    cells = {split: read_voc(real_data / "bccd", split) for split in ("trainval", "test")}
    assert {split: len(one) for split, one in cells.items()} == {"trainval": 292, "test": 72}
    assert cells["trainval"].noted == {"no area": 2}
    assert sum(len(one.labels) for each in cells.values() for one in each.objects) == 4888 - 2
    assert found.fingerprint != found.subset(torch.arange(127)).fingerprint


def test_ssd_with_the_apis_weights_finds_what_it_did_there(real_data: Path, real_weights: Path) -> None:
    """The integer network has an AP of 0.212 and an AP50 of 0.341 with ten detections an image."""
    net = ssd300_mobilenet_v1(width_multiplier=0.75)
    about = cb.load_weights(net, real_weights / "ssd_mobilenet_v1_0.75_coco_uint8.npz")
    assert (about["folded"], about["conventions"]["relu6"]) == (True, True)
    dataset, found = coco128(real_data), list[Detections]()
    place = torch.full((91,), -1)  # of COCO's 90 numbers those that are classes
    place[list(dataset.categories)] = torch.arange(len(dataset.classes))
    with torch.inference_mode():
        for i in range(len(dataset)):
            pixels = read_photograph(dataset.root / dataset.files[i]).float()[None] / 127.5 - 1
            images = torch.nn.functional.interpolate(pixels, (300, 300), mode="bilinear", align_corners=False)
            (one,) = net.find(net.eval()(images), dataset.sizes[i, None].tolist())
            labels = place[one.labels + 1]
            found.append(Detections(one.boxes[labels >= 0], labels[labels >= 0], one.scores[labels >= 0]))
    few = coco_result(dataset, [one.most(10) for one in found])
    assert few.ap >= 0.205
    assert few.ap50 >= 0.341
    assert coco_result(dataset, found).ap > few.ap
