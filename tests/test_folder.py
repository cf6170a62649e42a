"""Photographs in folders of every layout, beside torchvision's ImageFolder and ImageNet, and with bad files."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat
from torchvision.transforms import v2

from convbench.data import DATASETS, imagenet_classes, open_dataset, open_photographs, open_splits
from convbench.data.content import cache_folder
from convbench.data.layouts import _known_names
from convbench.data.photographs import opened
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
    content = bytearray((folder / "train/ant/00.png").read_bytes())
    content[-20] ^= 1  # of the same size
    (folder / "train/ant/00.png").write_bytes(content)
    assert len({first, renamed, open_photographs(folder, "train").fingerprint}) == 3


def test_ten_other_classes_are_not_imagenette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVBENCH_DATA", raising=False)
    for split in ("train", "val"):
        for number in range(10):
            (tmp_path / split / f"n{number:08}").mkdir(parents=True)
            Image.new("RGB", (16, 16)).save(tmp_path / split / f"n{number:08}/0.png")
    assert len(open_photographs(tmp_path, "train").classes) == 10
    with pytest.raises(RequestError, match="imagenette is not on this machine"):
        open_dataset("imagenette", "test", data_dir=tmp_path, stored=16)


def test_a_fingerprint_is_remembered_for_files_that_have_settled(folder: Path) -> None:
    remembered = cache_folder() / "fingerprints"
    before = set(remembered.glob("*"))
    assert open_photographs(folder, "train").fingerprint
    assert set(remembered.glob("*")) == before  # two seconds have not passed: a change could go unnoticed
    for file in (folder / "train").rglob("*.*"):
        os.utime(file, (1e9, 1e9))
    photographs = open_photographs(folder, "train")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("convbench.data.manifest.SETTLED", -1e9)  # the time of the change itself cannot be set
        first = photographs.fingerprint
    (new,) = set(remembered.glob("*")) - before
    assert new.read_text() == first == open_photographs(folder, "train").fingerprint
    Image.new("RGB", (40, 30), "white").save(folder / "train/ant/0.png")
    assert open_photographs(folder, "train").fingerprint != first


def test_a_fingerprint_is_of_the_data_not_of_the_place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    moved = tmp_path_factory.mktemp("moved") / "there"
    before = open_photographs(folder, "train").fingerprint
    folder.rename(moved)
    assert open_photographs(moved, "train").fingerprint == before


def test_a_subset_opens_the_same_files(folder: Path) -> None:
    photographs = open_photographs(folder, "train")
    part = photographs.subset(torch.tensor([4, 0]))
    assert part.files == (photographs.files[4], photographs.files[0]) and part.labels.tolist() == [1, 0]
    assert part.open(0) == (folder / "train/bee/1.JPG").read_bytes()
    (folder / "train/bee/1.JPG").unlink()
    with pytest.raises(ConvbenchError, match=r"bee/1\.JPG: expected a readable file, found No such file"):
        part.open(0)


def test_files_in_folders_of_folders_are_in_torchvisions_order(folder: Path) -> None:
    for inner in ("a", "a/b", "a-b"):
        (folder / "train/ant" / inner).mkdir()
        Image.new("RGB", (9, 9)).save(folder / "train/ant" / inner / "Z.PNG")
        Image.new("RGB", (9, 9)).save(folder / "train/ant" / inner / "a.jpeg")
    (folder / "elsewhere").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "elsewhere/linked.bmp")
    (folder / "train/ant/link").symlink_to(folder / "elsewhere")
    ours = open_photographs(folder, "train")
    theirs = torchvision.datasets.ImageFolder(folder / "train")
    assert [str(ours.root / file) for file in ours.files] == [path for path, _ in theirs.samples]
    assert (list(ours.classes), ours.labels.tolist()) == (theirs.classes, theirs.targets)


def test_links_in_circles_are_followed_once(folder: Path) -> None:
    before = open_photographs(folder, "train").files
    (folder / "train/ant/circle").symlink_to(folder / "train/ant")
    (folder / "train/bee/up").symlink_to(folder / "train/bee", target_is_directory=True)
    assert open_photographs(folder, "train").files == before


def test_class_folders_alone_are_split_by_us(tmp_path: Path) -> None:
    for name, count in (("ant", 25), ("bee", 12)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("L", (8, 8), number).save(tmp_path / name / f"{number}.png")
    train, test = (open_photographs(tmp_path, split) for split in ("train", "test"))
    assert (train.labels.bincount().tolist(), test.labels.bincount().tolist()) == ([20, 10], [5, 2])
    assert not set(train.files) & set(test.files) and len({*train.files, *test.files}) == 37
    assert "split by convbench" in train.source
    assert open_photographs(tmp_path, "test").files == test.files
    (tmp_path / "ant/25.png").write_bytes((tmp_path / "ant/0.png").read_bytes())
    moved = set(test.files) ^ set(open_photographs(tmp_path, "test").files)
    assert all(file.startswith("ant") for file in moved)


NUMBERS = {"n01": 3, "n02": 1, "n03": 2}  # WordNet number -> ILSVRC2012_ID: of another order
TRUTH = [2, 3, 1, 1]


@pytest.fixture
def ilsvrc(tmp_path: Path) -> Path:
    """ImageNet in small, unpacked as Kaggle gives it, with the development kit beside it."""
    data = tmp_path / "ILSVRC/Data/CLS-LOC"
    for name in NUMBERS:
        (data / "train" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(data / "train" / name / f"{name}_1.JPEG")
    (data / "val").mkdir()
    for number in range(1, 5):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(data / f"val/ILSVRC2012_val_0000000{number}.JPEG")
    kit = tmp_path / "ILSVRC2012_devkit_t12/data"
    kit.mkdir(parents=True)
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    rows = [(number, name, f"word of {name}", "", 0) for name, number in NUMBERS.items()] + [(4, "n04", "all", "", 3)]
    savemat(kit / "meta.mat", {"synsets": np.array(rows, dtype=[(field, object) for field in fields])})
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in TRUTH))
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01 crane, bird\nn02 tench, Tinca tinca\nn03 crane\n")
    return tmp_path


def test_imagenet_as_given_out_is_torchvisions(
    ilsvrc: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs_at = tmp_path_factory.mktemp("torchvision")
    with tarfile.open(theirs_at / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as kit:
        kit.add(ilsvrc / "ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t12")
    with tarfile.open(theirs_at / "ILSVRC2012_img_val.tar", "w") as images:
        for image in (ilsvrc / "ILSVRC/Data/CLS-LOC/val").iterdir():
            images.add(image, image.name)
    monkeypatch.setattr("torchvision.datasets.imagenet._verify_archive", lambda *_: None)  # it wants the real ones
    theirs = torchvision.datasets.ImageNet(theirs_at, split="val")
    ours = open_photographs(ilsvrc, "test")
    expected = {Path(path).name: theirs.wnids[label] for path, label in theirs.samples}
    wordnet = sorted(NUMBERS)
    assert {file: wordnet[label] for file, label in zip(ours.files, ours.labels.tolist(), strict=True)} == expected
    assert ours.classes == ("crane (n01)", "tench", "crane (n03)")
    assert open_photographs(ilsvrc, "train").files == tuple(f"{name}/{name}_1.JPEG" for name in wordnet)
    sorted_by_torchvision = open_photographs(_with_training(theirs_at, ilsvrc), "test")
    assert sorted_by_torchvision.labels.tolist() == theirs.targets


def _with_training(folder: Path, ilsvrc: Path) -> Path:
    (folder / "train").symlink_to(ilsvrc / "ILSVRC/Data/CLS-LOC/train")
    return folder


def test_imagenet_from_kaggle_has_its_solution(ilsvrc: Path) -> None:
    truth = open_photographs(ilsvrc, "test").labels
    names = {number: name for name, number in NUMBERS.items()}
    lines = [f"ILSVRC2012_val_0000000{i},{names[number]} 1 2 3 4 " for i, number in enumerate(TRUTH, start=1)]
    (ilsvrc / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(lines)]))
    (ilsvrc / "ILSVRC2012_devkit_t12/data/meta.mat").unlink()
    assert torch.equal(open_photographs(ilsvrc, "test").labels, truth)
    (ilsvrc / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n01 1 2 3 4")
    with pytest.raises(ConvbenchError, match="found ILSVRC2012_val_00000002"):
        open_photographs(ilsvrc, "test")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ILSVRC2012_validation_ground_truth.txt", b"1 2 3", "a class for each of 4 validation images"),
        ("ILSVRC2012_validation_ground_truth.txt", b"1 2 3 9", "a class for each of 4 validation images"),
        ("meta.mat", b"no table", "expected a Matlab file with synsets"),
    ],
)
def test_damaged_lists_of_imagenet_are_one_line(ilsvrc: Path, file: str, content: bytes, message: str) -> None:
    (ilsvrc / "ILSVRC2012_devkit_t12/data" / file).write_bytes(content)
    with pytest.raises(ConvbenchError, match=message):
        open_photographs(ilsvrc, "test")


@pytest.fixture
def dogs(tmp_path: Path) -> Path:
    lists = {"train": [], "test": []}
    for name in ("n02085620-Chihuahua", "n02085782-Japanese_spaniel"):
        (tmp_path / "Images" / name).mkdir(parents=True)
        for number in range(4):
            file = f"{name}/{name.split('-')[0]}_{number}.jpg"
            Image.new("RGB", (8, 8)).save(tmp_path / "Images" / file)
            lists["test" if number == 2 else "train"].append(file)
    (tmp_path / "lists").mkdir()
    for split, files in lists.items():
        cells = np.array(files, dtype=object)[:, None]
        savemat(tmp_path / f"lists/{split}_list.mat", {"file_list": cells})
    return tmp_path


def test_stanford_dogs_are_split_by_their_lists(dogs: Path) -> None:
    train, test = (open_photographs(dogs, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("Chihuahua", "Japanese spaniel")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1])
    assert test.files[1] == "n02085782-Japanese_spaniel/n02085782_2.jpg" and test.open(1)[:2] == b"\xff\xd8"
    for file in (dogs / "lists").iterdir():
        file.rename(dogs / file.name)  # as its archive unpacks
    assert open_photographs(dogs, "test").files == test.files
    savemat(dogs / "test_list.mat", {"file_list": np.array(["n03-Cat/1.jpg"], dtype=object)})
    with pytest.raises(ConvbenchError, match=r"found n03-Cat/1\.jpg"):
        open_photographs(dogs, "test")


def test_named_photographs_are_looked_for_by_their_number_of_classes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONVBENCH_DATA", raising=False)
    for name in ("imagenet", "stanford-dogs", "imagenette"):
        with pytest.raises(
            RequestError, match=f"{name} is not on this machine.*{DATASETS[name].num_classes:,} classes"
        ):
            open_photographs(name, "train", data_dir=folder)
    with pytest.raises(RequestError, match="nearest: imagenet, imagenette, stanford-dogs"):
        open_photographs("mnist", "train")
    assert [part.split for part in open_splits(folder)] == ["train", "test"]
    with pytest.raises(RequestError, match="found none of these"):
        open_photographs(folder / "train/ant", "train")


def test_warnings_are_silent_until_the_last_reader_has_left(folder: Path) -> None:
    before, first, second = list(warnings.filters), *(ExitStack() for _ in range(2))
    for reader in (first, second):
        reader.enter_context(opened(folder / "train/ant/0.png"))
    first.close()  # as threads do, in the order in which they came
    assert ("ignore", None, UserWarning, None, 0) in warnings.filters
    second.close()
    assert warnings.filters == before


@pytest.mark.realdata
def test_imagenets_classes_are_known_by_their_numbers(real_data: Path) -> None:
    lines = (real_data / "imagenet-val/classes.txt").read_text().splitlines()
    assert _known_names([line.split()[0] for line in lines]) == imagenet_classes()
    assert open_photographs(real_data / "imagenette", "train").classes == DATASETS["imagenette"].classes


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
