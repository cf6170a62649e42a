"""ImageNet's validation photographs as one folder: images, `labels.csv` and `classes.txt`.

    labels.csv     the header `file,class_index`, then a line for each image, classes counted from 0
    classes.txt    a line for each class: its WordNet number, then its names, such as `n01440764 tench, Tinca tinca`

The images are of one size: centre crops of photographs whose shorter side was resized to 256 pixels.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from convbench.data.photographs import read_photograph
from convbench.errors import ConvbenchError

LABELS, CLASSES = "labels.csv", "classes.txt"
HEADER = ["file", "class_index"]


def is_imagenet(folder: Path) -> bool:
    """Whether `folder` is laid out so."""
    return (folder / LABELS).is_file() and (folder / CLASSES).is_file()


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the thousand classes of ILSVRC 2012 in their usual order, each of them once.

    They are torchvision's: the first WordNet name, but for the bird among two cranes and one of two maillots.
    """
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def read_imagenet(folder: Path) -> tuple[Tensor, Tensor]:
    """Images, uint8 (n, 3, h, w), and labels, int64 (n,), in the order of `labels.csv`.

    Raises ConvbenchError for classes in another order, a bad line, an image that is missing, damaged or of another
    size than the first.
    """
    _check_classes(folder / CLASSES)
    files, labels = _read_labels(folder / LABELS)
    images: Tensor | None = None
    for i, file in enumerate(files):
        path = folder / file
        if not path.is_file():
            raise ConvbenchError(f"{folder / LABELS}: expected the image {file} beside it (line {i + 2}), found none")
        image = read_photograph(path)
        if images is None:
            images = torch.empty(len(files), *image.shape, dtype=torch.uint8)
        if image.shape != images.shape[1:]:
            expected, found = ("x".join(map(str, shape[-2:])) for shape in (images.shape, image.shape))
            raise ConvbenchError(f"{path}: expected {expected} pixels, as {files[0]} has, found {found}")
        images[i] = image
    assert images is not None
    return images, torch.tensor(labels)


def _check_classes(path: Path) -> None:
    """ConvbenchError unless the classes are ImageNet's, in the order in which its networks give them."""
    known, lines = imagenet_classes(), _read_text(path).splitlines()
    if len(lines) != len(known):
        raise ConvbenchError(f"{path}: expected {len(known)} lines, one a class, found {len(lines)}")
    for number, (line, name) in enumerate(zip(lines, known, strict=True), start=1):
        first = line.partition(" ")[2].partition(",")[0]
        if not first or not f"{name} ".startswith(f"{first} "):  # "crane" stands for torchvision's "crane bird"
            raise ConvbenchError(f"{path}: line {number}: expected a WordNet number and {name!r}, found {line[:80]!r}")


def _read_labels(path: Path) -> tuple[list[str], list[int]]:
    try:
        rows = list(csv.reader(_read_text(path).splitlines(), strict=True))
    except csv.Error as error:
        raise ConvbenchError(f"{path}: expected lines of {','.join(HEADER)}, found {error}") from error
    if not rows or rows[0] != HEADER:
        raise ConvbenchError(
            f"{path}: expected the header {','.join(HEADER)}, found {','.join(rows[0]) if rows else ''!r}"
        )
    if len(rows) == 1:
        raise ConvbenchError(f"{path}: expected at least one image, found the header alone")
    last = len(imagenet_classes()) - 1
    labels: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not row[0] or not row[1].isdecimal() or int(row[1]) > last:
            raise ConvbenchError(
                f"{path}: line {number}: expected a file and a class from 0 to {last}, found {','.join(row)!r}"
            )
        if row[0] in labels:
            raise ConvbenchError(f"{path}: line {number}: expected each image once, found {row[0]} again")
        labels[row[0]] = int(row[1])
    return list(labels), list(labels.values())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConvbenchError(f"{path}: expected a readable text file in UTF-8, found {error}") from error
