"""Photographs in folders, beside torchvision's ImageFolder, and with files of every bad kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from convbench.data import open_dataset
from convbench.data.folder import open_photographs
from convbench.errors import ConvbenchError, RequestError
from convbench.weights import read_metadata


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, two splits, sizes and formats that differ."""
    for split, count in (("train", 3), ("val", 2)):
        for place, name in enumerate(("ant", "bee")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                colour = (200 * place, 90 * number, 50)
                suffix = (".png", ".JPG", ".webp")[number]
                Image.new("RGB", (40 + 10 * number, 30), colour).save(tmp_path / split / name / f"{number}{suffix}")
    return tmp_path


def test_a_folder_is_a_data_set(folder: Path) -> None:
    train, test = (open_dataset(folder, split, stored=20) for split in ("train", "test"))
    assert (train.classes, train.labels.tolist(), test.labels.tolist()) == (
        ("ant", "bee"),
        [0] * 3 + [1] * 3,
        [0, 0, 1, 1],
    )
    assert train.images.shape == (6, 3, 20, 20) and train.shorter == 20
    assert train.images[0, :, 10, 10].tolist() == [0, 0, 50] and train.images[3, :, 10, 10].tolist() == [200, 0, 50]


def test_the_side_must_be_said(folder: Path) -> None:
    with pytest.raises(RequestError, match="such as stored=256"):
        open_dataset(folder, "train")


def test_bad_files_are_listed_and_too_many_are_an_error(folder: Path) -> None:
    (folder / "train/ant/cut.jpg").write_bytes((folder / "train/ant/1.JPG").read_bytes()[:200])
    (folder / "train/ant/empty.png").write_bytes(b"")
    (folder / "train/bee/text.jpeg").write_text("no image")
    (folder / "train/bee/.hidden.jpg").write_text("not looked at")
    (folder / "train/bee/notes.txt").write_text("not looked at")
    photographs = open_photographs(folder, "train")
    assert len(photographs) == 9
    with pytest.raises(
        ConvbenchError, match=r"at most 0.1% bad files, found 3 of 9: .*cut\.jpg.*; .*empty\.png.*text\.jpeg"
    ):
        photographs.in_memory(20)
    dataset = photographs.in_memory(20, max_bad_share=0.5)
    assert dataset.labels.tolist() == [0] * 3 + [1] * 3
    assert torch.equal(dataset.images, open_photographs(folder, "train").in_memory(20, 0.5).images)
    assert dataset.source.endswith("without 3 bad files")


def test_a_class_unknown_to_training_is_refused(folder: Path) -> None:
    (folder / "val/cat").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "val/cat/0.png")
    with pytest.raises(RequestError, match="found cat"):
        open_photographs(folder, "test")


def test_the_fingerprint_changes_with_content_name_and_label(folder: Path) -> None:
    first = open_photographs(folder, "train").fingerprint
    assert first == open_photographs(folder, "train").fingerprint
    (folder / "train/ant/0.png").rename(folder / "train/ant/00.png")
    renamed = open_photographs(folder, "train").fingerprint
    Image.new("RGB", (40, 30), "white").save(folder / "train/ant/00.png")
    assert len({first, renamed, open_photographs(folder, "train").fingerprint}) == 3


def test_other_classes_are_not_imagenette(folder: Path) -> None:
    with pytest.raises(RequestError, match=r"expected imagenette's classes, n01440764, .*, found others"):
        open_dataset("imagenette", "test", data_dir=folder, stored=16)


@pytest.mark.realdata
def test_imagenette_is_torchvisions(real_data: Path) -> None:
    ours = open_photographs(real_data / "imagenette", "test")
    theirs = torchvision.datasets.ImageFolder(real_data / "imagenette/val")
    assert [(str(ours.root / file), label) for file, label in zip(ours.files, ours.labels.tolist(), strict=True)] == (
        theirs.samples
    )
    named = open_dataset("imagenette", "test", data_dir=real_data, stored=64)
    assert (len(named), named.classes[0], named.classes[-1]) == (3925, "tench", "parachute")
    resize = v2.Compose([v2.PILToTensor(), v2.Resize(64, antialias=True), v2.CenterCrop(64)])
    for place in (0, 1000, 3924):
        difference = named.images[place].int() - resize(theirs[place][0].convert("RGB")).int()
        assert difference.abs().max() <= 2 and difference.abs().float().mean() < 0.5


def test_a_training_on_photographs_tells_how_whole_ones_are_read(folder: Path) -> None:
    """The document's command, for a moment; prediction then resizes as the stored squares were resized."""
    out = folder / "run"
    changes = ("data=" + str(folder), "network=mobilenet_v1_025", "epochs=1")
    command = [sys.executable, "-m", "convbench", "train", "imagenette-cpu", "--out", str(out)]
    for change in changes:
        command += ["--set", change]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    metadata = read_metadata(out / "weights.safetensors")
    assert (metadata["preprocessing"]["shorter"], metadata["preprocessing"]["crop"]) == (128, 112)
    assert metadata["classes"] == ["ant", "bee"]
