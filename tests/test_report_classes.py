"""The easiest and the hardest classes: what a run leaves of them, and what the page shows."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from convbench.bench.class_gallery import IMAGES, SIDE, write_class_gallery
from convbench.data import Dataset, open_dataset
from convbench.errors import ConvbenchError
from convbench.evaluation import per_class
from convbench.report.extremes import extreme_classes
from convbench.report.html import write_report
from convbench.report.records import read_suites
from test_report import Tags, record, save

COLOURS = torch.tensor([[0, 0, 200], [0, 200, 0], [200, 0, 0], [200, 200, 0]], dtype=torch.uint8)
NAMES = ("blue thing", "green thing", "red thing", "yellow thing")


def coloured(answers: list[list[int]]) -> tuple[Dataset, Tensor]:
    """A set whose images have their class's colour, each a little lighter than the one before, and scores.

    By the scores they are taken for `answers`, class by class.
    """
    labels = torch.tensor([label for label, own in enumerate(answers) for _ in own])
    colours = COLOURS[labels] + torch.arange(len(labels), dtype=torch.uint8)[:, None]
    images = colours[:, :, None, None].expand(len(labels), 3, 10, 14)
    given = torch.tensor([answer for own in answers for answer in own])
    return Dataset("four", "test", images, labels, NAMES, "a test"), torch.eye(4)[given]


def test_a_run_on_photographs_leaves_its_extreme_classes(tmp_path: Path) -> None:
    data, scores = coloured([[0] * 8, [1, 1, 0, 1], [0, 0], [3, 2, 2]])
    left = write_class_gallery(data, scores, tmp_path)
    assert left == {
        "easiest": [{"label": 0, "predicted": [0] * IMAGES}, {"label": 1, "predicted": [1, 1, 0, 1]}],
        "hardest": [{"label": 2, "predicted": [0, 0]}, {"label": 3, "predicted": [3, 2, 2]}],
    }
    with Image.open(tmp_path / "classes.png") as sheet:
        assert sheet.size == (12 * SIDE, 2 * SIDE)
        middles = [
            sheet.getpixel((SIDE * (place % 12) + SIDE // 2, SIDE * (place // 12) + SIDE // 2)) for place in range(15)
        ]
    places = [*range(6), *range(8, 17)]  # six of the first class
    assert middles == [tuple(data.images[place, :, 5, 7].tolist()) for place in places]


def test_digits_leave_none(tmp_path: Path) -> None:
    digits = open_dataset("digits", "test")
    assert write_class_gallery(digits, torch.eye(10)[digits.labels], tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_no_class_is_at_both_ends_though_all_are_alike() -> None:
    _, scores = coloured([[0, 1], [1, 0], [2, 0], [3, 0]])
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    found = per_class(scores, labels, NAMES)
    assert sorted(one.name for one in (*found.easiest, *found.hardest)) == sorted(NAMES)


def made(errors: list[int], **changes: Any) -> dict[str, Any]:
    """A record over classes of 10 images with so many errors each, all taken for the first or second class."""
    k = len(errors)
    names = [f"class {number}" for number in range(k)]
    result = record("pictured", sum(errors))["result"] | {"worst": [], "n": 10 * k}
    result["per_class"] = [
        {"name": name, "n": 10, "errors": wrong, "error": 10.0 * wrong}
        for name, wrong in zip(names, errors, strict=True)
    ]
    result["confusion"] = [[10 - errors[i] if i == j else 0 for j in range(k)] for i in range(k)]
    one = record("pictured", sum(errors), **changes)
    return one | {"result": result, "data": one["data"] | {"classes": names}}


def save_pictured(runs: Path) -> Path:
    extremes = {
        "easiest": [{"label": 1, "predicted": [1, 0]}],
        "hardest": [{"label": 2, "predicted": [0]}],
    }
    folder = save(runs, made([3, 1, 9, 3], extremes=extremes), metrics=False)
    sheet = Image.new("RGB", (12 * 4, 4), "white")
    for place, colour in enumerate(("red", "lime", "blue")):
        sheet.paste(colour, (4 * place, 0, 4 * place + 4, 4))
    sheet.save(folder / "classes.png")
    return folder


def test_the_page_shows_them_with_what_they_were_taken_for(tmp_path: Path) -> None:
    save_pictured(tmp_path / "runs")
    parsed = Tags(write_report(tmp_path / "runs", tmp_path / "page.html").read_text())
    text = " ".join(parsed.text.split())
    assert "Easiest class 1 90.0 % right, 9 of 10 class 0 Hardest class 2 10.0 % right, 1 of 10 class 0" in text
    images = [attributes for tag, attributes in parsed.tags if tag == "img"]
    assert [one["alt"] for one in images] == ["class 1", "class 1, taken for class 0", "class 2, taken for class 0"]
    pixels = [
        Image.open(io.BytesIO(base64.b64decode((one["src"] or "").partition(",")[2]))).convert("RGB").getpixel((2, 2))
        for one in images
    ]
    assert pixels == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def test_many_classes_are_told_by_their_ends(tmp_path: Path) -> None:
    save(tmp_path, made([*range(10), 10, *[5] * 15]), metrics=False)
    (run,) = read_suites(tmp_path)[0].done
    ends = extreme_classes(run)
    assert ends is not None and not ends.pictured
    assert [one.name for one in ends.easiest] == [f"class {number}" for number in range(6)]
    assert [one.name for one in ends.hardest[:5]] == [f"class {number}" for number in (10, 9, 8, 7, 6)]
    text = " ".join(Tags(write_report(tmp_path, tmp_path / "page.html").read_text()).text.split())
    assert "within the classes that the first method finds hardest" in text


def test_a_class_without_an_image_is_no_error(tmp_path: Path) -> None:
    one = made([3, 1, 9, 3])
    one["result"]["per_class"][1] |= {"n": 0, "errors": 0, "error": None}
    save(tmp_path, one, metrics=False)
    assert "class 1" in write_report(tmp_path, tmp_path / "page.html").read_text()


def test_runs_on_other_classes_do_not_share_the_strips(tmp_path: Path) -> None:
    save(tmp_path, made([3, 1, 9, 3]), metrics=False)
    save(tmp_path, record("fewer", 900), metrics=False)
    assert "Error within each class" in write_report(tmp_path, tmp_path / "page.html").read_text()


def test_what_is_broken_is_named(tmp_path: Path) -> None:
    folder = save_pictured(tmp_path)
    (folder / "classes.png").write_bytes(b"no picture")
    with pytest.raises(ConvbenchError, match=r"classes\.png: expected a PNG contact sheet of 3 images"):
        write_report(tmp_path, tmp_path / "page.html")
    text = json.loads((folder / "record.json").read_text())
    text["extremes"]["hardest"][0]["label"] = 4
    (folder / "record.json").write_text(json.dumps(text))
    with pytest.raises(ConvbenchError, match=r"labels of `extremes` to lie in 0\.\.3"):
        read_suites(tmp_path)
