"""Folders of photographs with boxes, in each layout that the documents name; and what a VGG's weights become in SSD."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from boxed import write_rectangles
from convbench.detection.datasets import open_detection_set
from convbench.detection.ssd import thinned
from convbench.errors import RequestError
from test_annotations import voc_folder


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_rectangles(tmp_path / "coco", 10)


def test_splits_are_known_by_year_name_and_beside_their_photographs(coco: Path, tmp_path: Path) -> None:
    train, test = (open_detection_set(coco, split) for split in ("train", "test"))
    assert (train.root.name, test.root.name, train.split, test.split) == ("train2000", "val2000", "train", "test")
    assert open_detection_set(coco, "val2000").fingerprint == test.fingerprint
    beside = tmp_path / "beside"
    for there, here in (("train2000", "train"), ("val2000", "valid")):
        shutil.copytree(coco / there, beside / here)
        shutil.copy(coco / f"annotations/instances_{there}.json", beside / here / "_annotations.coco.json")
    assert open_detection_set(beside, "test").objects[0].boxes.equal(test.objects[0].boxes)
    assert open_detection_set(beside, "test").open(0) == test.open(0)


def test_one_file_is_parted_by_us(coco: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    shutil.copytree(coco / "train2000", one / "images")
    shutil.copy(coco / "annotations/instances_train2000.json", one / "boxes.json")
    train, test = (open_detection_set(one, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2) and not set(train.files) & set(test.files)
    assert "split by convbench" in test.source and json.loads((one / "boxes.json").read_text())["images"]
    with pytest.raises(RequestError, match="expected train or test"):
        open_detection_set(one, "val")


def test_voc_without_lists_is_parted_and_with_them_is_not(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, *[[("cat", (1, 1, 9, 9), 0)] for _ in range(5)])
    assert len(open_detection_set(folder, "train")) == 5
    with pytest.raises(RequestError, match="expected a split 'test', found train"):
        open_detection_set(folder, "test")
    shutil.rmtree(folder / "ImageSets")
    assert [len(open_detection_set(folder, split)) for split in ("train", "test")] == [4, 1]
    (folder / "Annotations").rename(folder / "annotations")
    assert len(open_detection_set(folder, "train")) == 4


def test_vocs_files_may_lie_beside_their_photographs(tmp_path: Path) -> None:
    folder = voc_folder(tmp_path, *[[("cat", (1, 1, 9, 9), 0)] for _ in range(5)])
    shutil.rmtree(folder / "ImageSets")
    flat = tmp_path / "flat"
    shutil.copytree(folder / "Annotations", flat)
    for file in flat.glob("*.xml"):
        file.with_suffix(".jpg").write_bytes(b"a photograph")
    parts = [open_detection_set(flat, split) for split in ("train", "test")]
    assert [len(part) for part in parts] == [4, 1]
    assert parts[0].open(0) == b"a photograph" and parts[0].objects[0].boxes.tolist() == [[0, 0, 9, 9]]


def test_a_folder_of_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected VOC's XML file for each photograph"):
        open_detection_set(tmp_path, "train")


def test_vggs_full_layers_become_ssds_by_every_fourth_unit() -> None:
    """Unit 8 of fc6 is the third of SSD's; its window's rows and columns 0, 3 and 6 stay."""
    full = {"fc6.weight": torch.randn(4096, 512 * 49), "fc7.weight": torch.randn(4096, 4096)}
    full |= {f"{name}.bias": torch.randn(4096) for name in ("fc6", "fc7")}
    made = thinned(full)
    assert made["fc6.weight"].shape == (1024, 512, 3, 3) and made["fc7.weight"].shape == (1024, 1024, 1, 1)
    window = full["fc6.weight"][8].view(512, 7, 7)
    assert made["fc6.weight"][2, 5, 1, 2] == window[5, 3, 6] and made["fc6.bias"][2] == full["fc6.bias"][8]
    assert made["fc7.weight"][3, 2, 0, 0] == full["fc7.weight"][12, 8]
