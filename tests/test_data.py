"""Data sets: the official ones as torchvision and scikit-learn read them; one clear error for a bad file."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import pickle
import struct
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_digits

from convbench.data import DATASETS, imagenet_classes, open_dataset, open_splits
from convbench.data import content as content_module
from convbench.data.cifar import read_batch, read_batches
from convbench.data.idx import FILES, read_idx
from convbench.data.photographs import read_photograph
from convbench.errors import ConvbenchError, RequestError

IMAGES = np.arange(12 * 5 * 4, dtype=np.uint8).reshape(12, 5, 4)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], dtype=np.uint8)


def idx_bytes(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def nothing_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the data folders, or the cache, of the person who runs it."""
    monkeypatch.delenv("CONVBENCH_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content_module, "SYSTEM_FOLDER", tmp_path / "system")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small data set in four IDX files."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for images, labels in FILES.values():
        (folder / images).write_bytes(idx_bytes(IMAGES))
        (folder / labels).write_bytes(idx_bytes(LABELS))
    return folder


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """`mnist` stands for the small data set: the official one, as far as checksums go."""
    sums = (md5(idx_bytes(IMAGES)), md5(idx_bytes(LABELS)))
    files = {split: tuple(zip(names, sums, strict=True)) for split, names in FILES.items()}
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], files=files))


def complaint(*expected: str, error: type[ConvbenchError] = ConvbenchError, **arguments: object) -> str:
    """The message with which open_dataset(**arguments) fails: one line that has all of `expected` in it."""
    with pytest.raises(ConvbenchError) as caught:
        open_dataset(**arguments)  # type: ignore[arg-type]
    assert type(caught.value) is error
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message
    return message


# What is opened


def test_digits_are_scikit_learns_own_and_split_by_class() -> None:
    train, test = open_dataset("digits", "train"), open_dataset("digits", "test")
    bunch = load_digits()
    assert (len(train), len(test)) == (1201, 596) == (DATASETS["digits"].train, DATASETS["digits"].test)
    assert (test.labels.bincount() == torch.from_numpy(bunch.target).bincount() // 3).all()

    def tally(pixels: np.ndarray, labels: np.ndarray) -> list[bytes]:
        return sorted(image.tobytes() + bytes([label]) for image, label in zip(pixels, labels, strict=True))

    images, labels = torch.cat((train.images, test.images)), torch.cat((train.labels, test.labels))
    as_stored = np.round(images[:, 0].numpy() / 255 * 16)
    assert tally(as_stored.astype(np.uint8), labels.numpy()) == tally(bunch.images.astype(np.uint8), bunch.target)
    # By hand: zeros lie at 0, 10, 20, 30, 36, 48, ...; every third of them is for testing.
    assert bunch.target[[0, 10, 20, 30, 36, 48]].sum() == 0
    zeros = test.images[test.labels == 0][:2, 0].double() / 255 * 16
    assert (zeros.round().numpy() == bunch.images[[20, 48]]).all()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("name", "peer"), [("mnist", "MNIST"), ("cifar10", "CIFAR10")])
@pytest.mark.realdata
def test_named_data_sets_equal_torchvisions(name: str, peer: str, split: str, real_data: Path) -> None:
    ours = open_dataset(name, split, data_dir=real_data, download=False)
    theirs = getattr(torchvision.datasets, peer)(real_data, train=split == "train")
    pixels = torch.as_tensor(theirs.data)
    pixels = pixels.permute(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
    assert torch.equal(ours.images, pixels)
    assert torch.equal(ours.labels, torch.as_tensor(theirs.targets))
    described = DATASETS[name]
    assert len(ours) == getattr(described, split)
    assert ours.images.shape[1:] == described.shape
    assert ours.labels.unique().tolist() == list(range(len(ours.classes)))
    if name == "cifar10":
        assert ours.classes == tuple(theirs.classes)


@pytest.mark.skipif(not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="no dataset-fashion-mnist")
def test_fashion_mnist_is_found_in_the_systems_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = Path("/usr/share/datasets")
    monkeypatch.setattr(content_module, "SYSTEM_FOLDER", system)
    test = open_dataset("fashion-mnist", "test", download=False)
    assert test.source == str(system / "fashion-mnist")
    assert test.classes == tuple(torchvision.datasets.FashionMNIST.classes)
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for packed in (system / "fashion-mnist").iterdir():
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    theirs = torchvision.datasets.FashionMNIST(tmp_path, train=False)
    assert torch.equal(test.images[:, 0], theirs.data)
    assert torch.equal(test.labels, theirs.targets)


def test_torchvision_agrees_on_cifars_checksums() -> None:
    files = DATASETS["cifar10"].files
    assert [list(pair) for pair in files["train"]] == torchvision.datasets.CIFAR10.train_list
    assert [list(pair) for pair in files["test"]] == torchvision.datasets.CIFAR10.test_list


@pytest.mark.parametrize("below", [".", "MNIST/raw"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_idx_files(folder: Path, below: str, packed: bool, tmp_path: Path) -> None:
    home = tmp_path / "moved" / below
    home.mkdir(parents=True)
    for path in folder.iterdir():
        content = path.read_bytes()
        (home / (path.name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    test = open_dataset(tmp_path / "moved", "test")
    assert (test.images[:, 0].numpy() == IMAGES).all()
    assert (test.labels.numpy() == LABELS).all()
    assert (test.name, test.classes) == ("moved", ("0", "1", "2"))


@pytest.mark.usefixtures("tiny_mnist")
def test_folders_are_searched_in_order(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = [tmp_path / "asked", tmp_path / "environment", tmp_path / "cache/convbench", tmp_path / "system"]
    for home in homes:
        (home / "MNIST/raw").mkdir(parents=True)
        for path in folder.iterdir():
            (home / "MNIST/raw" / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("CONVBENCH_DATA", str(homes[1]))
    for home in homes:
        opened = open_dataset("mnist", "train", data_dir=homes[0], download=False)
        assert opened.source == str(home / "MNIST/raw")
        (home / "MNIST/raw/train-labels-idx1-ubyte").unlink()
    complaint("`convbench data mnist`", error=RequestError, name_or_path="mnist", split="train", download=False)


def test_opening_imports_neither_torchvision_nor_scikit_learn() -> None:
    code = "import sys, convbench.data.datasets; print({'torchvision', 'sklearn'} & set(sys.modules))"
    assert subprocess.check_output((sys.executable, "-c", code), text=True).strip() == "set()"


# Downloading, with a stand-in for the network


@pytest.mark.usefixtures("tiny_mnist")
def test_a_download_ends_up_in_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mirror(root: str, *, download: bool) -> None:
        assert download
        raw = Path(root) / "MNIST/raw"
        raw.mkdir(parents=True)
        for path in folder.iterdir():
            (raw / path.name).write_bytes(path.read_bytes())

    monkeypatch.setattr(torchvision.datasets, "MNIST", mirror)
    first = open_dataset("mnist", "train")
    assert first.source == str(tmp_path / "cache/convbench/MNIST/raw")
    assert open_dataset("mnist", "test", download=False).source == first.source
    assert [path.name for path in (tmp_path / "cache/convbench").iterdir()] == ["MNIST"]


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("no network"), RuntimeError("Tried A\nno network"), OSError(28, "no network")],
)
def test_offline_says_where_it_looked_and_what_would_help(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mirror(root: str, *, download: bool) -> None:
        (Path(root) / "half").write_bytes(b"half of a file")
        raise failure

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", mirror)
    looked = (str(tmp_path), str(tmp_path / "cache/convbench"), str(tmp_path / "system"))
    helps = ("`convbench data fashion-mnist --data-dir DIR`", "`apt install dataset-fashion-mnist`")
    files = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    request = {"name_or_path": "fashion-mnist", "split": "test", "data_dir": tmp_path}
    complaint("no network", *looked, *files, *helps, error=RequestError, **request)
    assert not list((tmp_path / "cache/convbench").iterdir())


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    complaint(str(tmp_path / "cache"), error=RequestError, name_or_path="mnist", split="test")


# Bad requests


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("minst", "train", "unknown data set 'minst': nearest is mnist"),
        ("mnist", "validation", "unknown split 'validation': valid are test, train"),
        ("no/such/folder", "train", "no/such/folder, found nothing"),
        (__file__, "train", "test_data.py, found a file"),
    ],
)
def test_bad_requests(name: str, split: str, expected: str) -> None:
    complaint(expected, error=RequestError, name_or_path=name, split=split)


def test_missing_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    complaint(str(gone), error=RequestError, name_or_path=gone, split="test")
    complaint(str(gone), "found nothing", error=RequestError, name_or_path="mnist", split="test", data_dir=gone)
    monkeypatch.setenv("CONVBENCH_DATA", str(gone))
    complaint("CONVBENCH_DATA", str(gone), error=RequestError, name_or_path="mnist", split="test")


def test_folders_with_no_data_set_or_two(folder: Path) -> None:
    request = {"error": RequestError, "name_or_path": folder, "split": "test"}
    (folder / "test_batch").write_bytes(b"")
    complaint("found two", **request)  # type: ignore[arg-type]
    (folder / "test_batch").unlink()
    (folder / "t10k-labels-idx1-ubyte").unlink()
    complaint("t10k-labels-idx1-ubyte", "found t10k-images-idx3-ubyte", **request)  # type: ignore[arg-type]


# Bad files


def corrupt_gzip(content: bytes, where: int) -> bytes:
    packed = bytearray(gzip.compress(content))
    packed[where] = 0xFF
    return bytes(packed)


GOOD = idx_bytes(IMAGES)
BAD_IMAGE_FILES = [
    ("", GOOD[:-1], ("expected 240 bytes", "found 239")),
    ("", GOOD + b"x", ("expected 240 bytes", "found 241")),
    ("", GOOD[:9], ("expected an IDX header of 16 bytes", "found only 9")),
    ("", b"", ("expected IDX magic 00000803", "found an empty file")),
    ("", idx_bytes(LABELS), ("expected IDX magic 00000803", "found 00000801")),
    ("", b"\x89PNG" + GOOD, ("expected IDX magic 00000803", "found 89504e47")),
    ("", idx_bytes(IMAGES[:0]), ("at least one value", "0 x 5 x 4")),
    ("", idx_bytes(IMAGES[:11]), ("a label for each of the 11 images", "found 12")),
    (".gz", gzip.compress(GOOD)[:-12], ("expected a whole gzip file",)),
    (".gz", corrupt_gzip(GOOD, 10), ("expected a whole gzip file", "invalid block type")),
    (".gz", corrupt_gzip(GOOD, -8), ("expected a whole gzip file", "CRC check failed")),
    (".gz", GOOD, ("expected a whole gzip file",)),
]


@pytest.mark.parametrize(("suffix", "content", "expected"), BAD_IMAGE_FILES)
def test_bad_idx_files(suffix: str, content: bytes, expected: tuple[str, ...], folder: Path) -> None:
    bad = folder / f"t10k-images-idx3-ubyte{suffix}"
    (folder / "t10k-images-idx3-ubyte").unlink()
    bad.write_bytes(content)
    complaint("t10k-", *expected, name_or_path=folder, split="test")


def test_a_label_out_of_range(folder: Path) -> None:
    labels = LABELS.copy()
    labels[7] = 3
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    complaint("labels from 0 to 2", "found 3 at image 7", name_or_path=folder, split="test")


@pytest.mark.usefixtures("tiny_mnist")
def test_a_flipped_byte_in_an_official_file(folder: Path) -> None:
    assert len(open_dataset("mnist", "train", data_dir=folder, download=False)) == 12
    path = folder / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    complaint(str(path), md5(GOOD), md5(content), name_or_path="mnist", split="train", data_dir=folder)


def test_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConvbenchError, match="expected a readable file, found Is a directory"):
        read_idx(tmp_path, 3)


# CIFAR-10's pickles


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


def test_a_batch_is_read_in_the_official_layout(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    path = tmp_path / "batch"
    path.write_bytes(
        pickle.dumps({"data": pixels, "labels": [3, 9]}, protocol=3).replace(b"numpy._core", b"numpy.core")
    )
    images, labels = read_batches([path, path], [md5(path.read_bytes())] * 2)
    assert images.shape == (4, 3, 32, 32)
    assert images[3, 2, 31, 30] == pixels[1, 2 * 1024 + 31 * 32 + 30]
    assert labels.tolist() == [3, 9, 3, 9]


def test_a_malicious_pickle_is_not_executed(tmp_path: Path) -> None:
    target, path = tmp_path / "executed", tmp_path / "test_batch"
    path.write_bytes(pickle.dumps(Malicious(target)))
    complaint("expected the official content", name_or_path=tmp_path, split="test")
    with pytest.raises(ConvbenchError, match="expected a pickle of arrays only, found a call of"):
        read_batch(path, md5(path.read_bytes()))
    assert not target.exists()
    pickle.loads(path.read_bytes())
    assert target.exists()  # so it would have worked


def test_a_cut_batch(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(b"\x80\x02}")
    complaint("expected the official content", name_or_path="cifar10", split="test", data_dir=tmp_path)


# ImageNet's photographs in a folder


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three photographs of a bird, a machine and a bathing suit, laid out as imagenet-val is; one of them grey."""
    folder = tmp_path / "data" / "imagenet-val"
    folder.mkdir(parents=True)
    names = [name.removesuffix(" bird").removesuffix(" tank suit") + ", another name" for name in imagenet_classes()]
    (folder / "classes.txt").write_text("".join(f"n{i:08d} {name}\n" for i, name in enumerate(names)))
    (folder / "labels.csv").write_text("file,class_index\nb.jpeg,134\na.jpeg,517\nc.jpeg,639\n")
    for number, name in enumerate("abc"):
        image = Image.linear_gradient("L").resize((20, 20)).rotate(90 * number)
        (image if name == "a" else image.convert("RGB")).save(folder / f"{name}.jpeg")
    return folder


def test_photographs_are_read_in_the_tables_order(photographs: Path) -> None:
    opened = open_dataset("imagenet-val", "test", data_dir=photographs.parent)
    assert (opened.name, opened.split, opened.shorter) == ("imagenet-val", "test", 256)
    assert opened.labels.tolist() == [134, 517, 639]
    assert [opened.classes[label] for label in opened.labels] == ["crane bird", "crane", "maillot tank suit"]
    assert opened.images.shape == (3, 3, 20, 20)
    for image, name in zip(opened.images, "bac", strict=True):
        with Image.open(photographs / f"{name}.jpeg") as stored:
            assert (image.permute(1, 2, 0).numpy() == np.asarray(stored.convert("RGB"))).all()
    by_path = open_dataset(photographs, "test")
    assert (
        by_path.fingerprint
        == opened.fingerprint
        == open_dataset("imagenet-val", "test", data_dir=photographs).fingerprint
    )


def test_photographs_have_a_test_split_alone(photographs: Path) -> None:
    message = "has no split 'train': nearest is test"
    for name in ("imagenet-val", photographs):
        complaint(message, error=RequestError, name_or_path=name, split="train", data_dir=photographs)
    (only,) = open_splits("imagenet-val", data_dir=photographs)
    assert only.split == "test"
    assert [part.split for part in open_splits("digits")] == ["train", "test"]


def test_photographs_cannot_be_downloaded(tmp_path: Path) -> None:
    looked = (str(tmp_path), str(tmp_path / "cache/convbench"), str(tmp_path / "system"))
    layout = ("labels.csv (file,class_index)", "classes.txt", "227x227", "256", "cannot be downloaded", "image-net.org")
    complaint(*looked, *layout, error=RequestError, name_or_path="imagenet-val", split="test", data_dir=tmp_path)


BAD_TABLES = [
    ("labels.csv", "image,label\nb.jpeg,1\n", ("expected the header file,class_index", "'image,label'")),
    ("labels.csv", "", ("expected the header file,class_index", "''")),
    ("labels.csv", "file,class_index\n", ("at least one image",)),
    ("labels.csv", "file,class_index\nb.jpeg,1000\n", ("line 2", "a class from 0 to 999", "b.jpeg,1000")),
    ("labels.csv", "file,class_index\nb.jpeg,-1\n", ("line 2", "b.jpeg,-1")),
    ("labels.csv", "file,class_index\nb.jpeg,1\na.jpeg\n", ("line 3", "'a.jpeg'")),
    ("labels.csv", "file,class_index\nb.jpeg,1\nb.jpeg,2\n", ("line 3", "each image once")),
    ("labels.csv", "file,class_index\nb.jpeg,1\ngone.jpeg,2\n", ("the image gone.jpeg beside it (line 3)",)),
    ("labels.csv", 'file,class_index\n"b.jpeg,1\n', ("labels.csv: expected lines of file,class_index",)),
    ("labels.csv", b"\xff\xfe\x00", ("a readable text file in UTF-8",)),
    ("classes.txt", "n00000000 tench\n", ("expected 1000 lines", "found 1")),
    ("a.jpeg", b"", ("a.jpeg: expected an image",)),
]


@pytest.mark.parametrize(("name", "content", "expected"), BAD_TABLES)
def test_bad_photograph_folders(name: str, content: str | bytes, expected: tuple[str, ...], photographs: Path) -> None:
    (photographs / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConvbenchError) as caught:
        open_dataset(photographs, "test")
    assert "\n" not in str(caught.value)
    for part in expected:
        assert part in str(caught.value)


def test_classes_in_another_order(photographs: Path) -> None:
    """A label is an index: in another order, it would mean another class than a network's output does."""
    lines = (photographs / "classes.txt").read_text().splitlines()
    lines[3], lines[4] = lines[4], lines[3]
    (photographs / "classes.txt").write_text("\n".join(lines))
    complaint(
        "line 4: expected a WordNet number and 'tiger shark'", "hammerhead", name_or_path=photographs, split="test"
    )


def test_photographs_of_different_sizes(photographs: Path) -> None:
    Image.new("RGB", (20, 21)).save(photographs / "c.jpeg")
    complaint("c.jpeg: expected 20x20 pixels, as b.jpeg has, found 21x20", name_or_path=photographs, split="test")


def test_a_photograph_cut_short(photographs: Path) -> None:
    path = photographs / "a.jpeg"
    path.write_bytes(path.read_bytes()[:-60])
    complaint("a.jpeg: expected a whole image", "cannot be decoded", name_or_path=photographs, split="test")


@pytest.mark.realdata
def test_imagenet_is_what_it_was(real_data: Path) -> None:
    opened = open_dataset("imagenet-val", "test", data_dir=real_data)
    known = DATASETS["imagenet-val"]
    assert len(opened) == known.test
    assert opened.images.shape[1:] == known.shape
    assert opened.labels[:4].tolist() == [65, 970, 230, 809]
    assert opened.classes[65] == "sea snake"
    assert opened.labels.min() >= 0 and opened.labels.max() <= 999 and len(set(opened.classes)) == 1000
    assert opened.fingerprint == "5676a3fc670774b9"
    with Image.open(real_data / "imagenet-val/ILSVRC2012_val3.jpeg") as image:
        assert (opened.images[2].permute(1, 2, 0).numpy() == np.asarray(image.convert("RGB"))).all()


# Single photographs

RED, SEE_THROUGH = (200, 30, 60), (200, 30, 60, 0)


@pytest.mark.parametrize(
    ("image", "suffix", "expected"),
    [
        (Image.new("RGB", (3, 2), RED), "png", RED),
        (Image.new("RGB", (3, 2), RED), "webp", RED),
        (Image.new("L", (3, 2), 90), "png", (90, 90, 90)),
        (Image.new("1", (3, 2), 1), "png", (255, 255, 255)),
        (Image.new("I;16", (3, 2), 257 * 90), "png", (90, 90, 90)),
        (Image.new("P", (3, 2), 1), "gif", None),
        (Image.new("RGBA", (3, 2), (*RED, 255)), "png", RED),
        (Image.new("RGBA", (3, 2), SEE_THROUGH), "png", (255, 255, 255)),
        (Image.new("LA", (3, 2), (0, 51)), "png", (204, 204, 204)),
        (Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "jpg", (255, 0, 0)),
    ],
)
def test_any_photograph_becomes_colours(image: Any, suffix: str, expected: Any, tmp_path: Path) -> None:
    path = tmp_path / f"image.{suffix}"
    image.save(path, **({"lossless": True} if suffix == "webp" else {}))
    if expected is None:
        with Image.open(path) as stored:
            expected = stored.convert("RGB").getpixel((0, 0))
    for source in (path, str(path), image):
        pixels = read_photograph(source)
        assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 2, 3))
        assert (pixels.int() - torch.tensor(expected)[:, None, None]).abs().max() <= 2 * (suffix == "jpg")
    grey = read_photograph(path, channels=1)
    luma = round(sum(weight * value for weight, value in zip((0.299, 0.587, 0.114), expected, strict=True)))
    assert grey.shape == (1, 2, 3)
    assert abs(int(grey[0, 0, 0]) - luma) <= 1 + (suffix == "jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_cameras_orientation_is_obeyed(orientation: int, tmp_path: Path) -> None:
    """By hand: where the tag says that the stored first row and first column lie (EXIF 2.3, tag 274)."""
    stored = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.T,
        6: stored[::-1].T,
        7: stored[::-1, ::-1].T,
        8: stored[:, ::-1].T,
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(stored).save(tmp_path / "image.png", exif=exif)
    assert (read_photograph(tmp_path / "image.png", channels=1)[0].numpy() == upright).all()


def photograph_complaint(source: Path | str, *expected: str, error: type[ConvbenchError] = RequestError) -> None:
    with pytest.raises(ConvbenchError) as caught:
        read_photograph(source)
    assert type(caught.value) is error
    for part in (str(source), *expected):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, deep, large = tmp_path / "notes.txt", tmp_path / "deep.tiff", tmp_path / "large.png"
    text.write_text("no image")
    photograph_complaint(text, "expected an image, such as JPEG or PNG, found no format that is known")
    photograph_complaint(tmp_path / "gone.jpg", "found nothing")
    photograph_complaint(str(tmp_path), "found a folder", "*.jpg")
    Image.new("F", (2, 2)).save(deep)
    photograph_complaint(deep, "32 bits a pixel", error=ConvbenchError)
    Image.new("L", (60, 50)).save(large)
    for limit in (2000, 1000):  # Pillow warns of the first and refuses the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        photograph_complaint(large, f"expected at most {limit:,} pixels")
    with pytest.raises(RequestError, match="1 or 3 channels, found a network that reads 4"):
        read_photograph(text, channels=4)


@pytest.mark.filterwarnings("error")  # what Pillow makes of the tags is not for the terminal
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tiff", "bmp", "webp"])
def test_a_damaged_photograph_is_read_or_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    path, generator = tmp_path / f"image.{suffix}", np.random.default_rng(0)
    Image.linear_gradient("L").resize((24, 24)).save(path)
    whole, refusals = path.read_bytes(), list[str]()
    for _ in range(60):
        content = bytearray(whole[: generator.integers(1, len(whole) + 1)])
        content[generator.integers(len(content))] ^= generator.integers(1, 256)
        path.write_bytes(content)
        try:
            assert read_photograph(path).dtype == torch.uint8
        except ConvbenchError as error:
            refusals.append(str(error))
    assert len(refusals) >= 20
    assert all(str(path) in refusal and "\n" not in refusal for refusal in refusals)
