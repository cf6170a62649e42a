"""Photographs in folders, a folder a class, as torchvision's `ImageFolder` reads them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.data.photographs import read_photograph
from convbench.data.preprocessing import Preprocessing
from convbench.errors import ConvbenchError, RequestError
from convbench.progress import track

SPLIT_FOLDERS = {"train": ("train",), "test": ("val", "test", "valid", "validation")}  # the first that is there
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"}
MAX_BAD_SHARE = 0.001  # what is left out can then move an error by a tenth of a point at most


@dataclass(frozen=True)
class PhotographSet:
    """Labelled photographs of any size, in files.

    root, files: the folder, and names below it
    labels: int64, shape (n,), indices into `classes`
    """

    name: str
    split: str
    root: Path
    files: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the SHA-256 over each file's name, label and content."""
        digest = hashlib.sha256()
        for file, label in zip(self.files, self.labels.tolist(), strict=True):
            with (self.root / file).open("rb") as content:
                digest.update(f"{file}\0{label}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()[:16]

    def in_memory(self, side: int, max_bad_share: float = MAX_BAD_SHARE) -> Dataset:
        """The photographs with `side` pixels on the shorter side, cut to the central square, as AlexNet's were to 256.

        What cannot be read is left out. Raises ConvbenchError, which lists it, where that is more than `max_bad_share`.
        """
        images = torch.empty(len(self), 3, side, side, dtype=torch.uint8)
        kept, bad = list[int](), list[str]()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            squares = pool.map(lambda file: _square(self.root / file, side), self.files)
            for place, square in enumerate(track(squares, f"reading {self.name}", len(self), "images")):
                if isinstance(square, Tensor):
                    images[len(kept)] = square
                    kept.append(place)
                else:
                    bad.append(square)
        if len(bad) > max_bad_share * len(self):
            raise ConvbenchError(
                f"{self.root}: expected at most {max_bad_share:.1%} bad files, found {len(bad)} of {len(self)}: "
                + "; ".join(bad[:5])
            )
        source = f"{self.root}" + (f" without {len(bad)} bad files" if bad else "")
        return Dataset(self.name, self.split, images[: len(kept)], self.labels[kept], self.classes, source, side)


def open_photographs(folder: Path, split: str) -> PhotographSet:
    """The split ("train" or "test") of a folder with train/ and val/ (or test/, valid/, validation/) of class folders.

    Classes are the names of the training folders, sorted. Hidden files and others than images are left out.

    Raises RequestError where there are no such folders, or a class of the split is none of the training's.
    """
    classes = _subfolders(_split_folder(folder, "train"))
    root = _split_folder(folder, split)
    strange = set(_subfolders(root)) - set(classes)
    if strange:
        raise RequestError(f"{root}: expected the classes of training, such as {classes[0]}, found {min(strange)}")
    files, labels = [], []
    for label, name in enumerate(classes):
        for file in _image_files(root / name):
            files.append(str(file.relative_to(root)))
            labels.append(label)
    if not files:
        raise RequestError(f"{root}: expected photographs in folders of classes, found none")
    return PhotographSet(folder.name, split, root, tuple(files), torch.tensor(labels), tuple(classes))


def has_photographs(folder: Path) -> bool:
    """Whether `folder` is laid out as `open_photographs` reads it."""
    train = folder / SPLIT_FOLDERS["train"][0]
    return train.is_dir() and any(True for name in _subfolders(train) for _ in _image_files(train / name))


def _split_folder(folder: Path, split: str) -> Path:
    choices = [folder / name for name in SPLIT_FOLDERS[split]]
    found = next((choice for choice in choices if choice.is_dir()), None)
    if found is None:
        raise RequestError(f"{folder}: expected {' or '.join(SPLIT_FOLDERS[split])} in it, found neither")
    return found


def _subfolders(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def _image_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        found = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        yield from sorted(path for path in found if path.is_file() and not path.name.startswith("."))


def _square(path: Path, side: int) -> Tensor | str:
    """uint8 (3, side, side), or why there is none."""
    try:
        pixels = Preprocessing(shorter=side, crop=side).geometry(read_photograph(path)[None])[0]
    except ConvbenchError as error:
        return str(error)
    return pixels.mul_(255).round_().to(torch.uint8)
