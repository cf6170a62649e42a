"""Photographs in files: a set of them, and the folders of classes that torchvision's `ImageFolder` reads."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from convbench.data.dataset import Dataset
from convbench.data.decoding import decode_shorter
from convbench.data.manifest import fingerprint
from convbench.data.photographs import read_photograph
from convbench.data.policy import MAX_BAD_SHARE, BadFile, bad_file, require_content, require_few
from convbench.data.preprocessing import Preprocessing
from convbench.errors import ConvbenchError, RequestError
from convbench.notebook import facts
from convbench.progress import track

SPLIT_FOLDERS = {"train": ("train",), "test": ("val", "test", "valid", "validation")}  # the first that is there
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
FOR_TESTING = 5  # of a data set without splits, one in so many of each class
OUR_SPLIT = "split by convbench: in the order of the SHA-256 of their names, every fifth of a class is for testing"


@dataclass(frozen=True)
class PhotographSet:
    """Labelled photographs of any size, in files.

    root, files: the folder, and a name for each photograph: its file's, below the folder, or SHARD/MEMBER
    labels: int64, shape (n,), indices into `classes`
    source: where it was read from and how it was split, for people
    shards: names of tar files below `root`, where the photographs lie in some
    spans: then int64, shape (n, 3): the shard's place in `shards`, the offset in it and the length, in bytes
    """

    name: str
    split: str
    root: Path
    files: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    shards: tuple[str, ...] = ()
    spans: Tensor | None = None

    def __post_init__(self) -> None:
        assert (self.labels.dtype, self.labels.shape) == (torch.int64, (len(self.files),))
        assert self.spans is None or self.spans.shape == (len(self.files), 3)

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with the name, label or content of any photograph; see `manifest.fingerprint`."""
        entries = (f"{file}\0{label}" for file, label in zip(self.files, self.labels.tolist(), strict=True))
        return fingerprint(self.root, self.shards or self.files, entries)

    def _repr_html_(self) -> str:
        """What it is, in a notebook."""
        known = {"photographs": len(self), "classes": len(self.classes), "source": self.source}
        return facts(f"{self.name}, {self.split}", known)

    def subset(self, indices: Tensor) -> PhotographSet:
        """The photographs at `indices`, in that order."""
        spans = None if self.spans is None else self.spans[indices]
        files = tuple(self.files[i] for i in indices.tolist())
        return replace(self, files=files, labels=self.labels[indices], spans=spans)

    def open(self, i: int) -> bytes:
        """The content of photograph `i` as it is stored, such as a JPEG's; ConvbenchError where it cannot be read."""
        path = self.root / self.files[i]
        try:
            if self.spans is None:
                return path.read_bytes()
            shard, offset, length = self.spans[i].tolist()
            with (self.root / self.shards[shard]).open("rb") as tar:
                tar.seek(offset)
                return bytes(tar.read(length))
        except OSError as error:
            raise ConvbenchError(f"{path}: expected a readable file, found {error.strerror}") from error

    def readable(self, max_bad_share: float = MAX_BAD_SHARE) -> PhotographSet:
        """Those that can be decoded; ConvbenchError, which lists the others, where more than `max_bad_share` cannot."""
        kept, bad = list[int](), list[BadFile]()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(self._trouble, range(len(self)))
            for place, one in enumerate(track(found, f"looking at {self.name}, {self.split}", len(self), "images")):
                if one is None:
                    kept.append(place)
                else:
                    bad.append(one)
        require_few(bad, len(self), self.root, max_bad_share)
        if not bad:
            return self
        return replace(self.subset(torch.tensor(kept)), source=f"{self.source}, without {len(bad)} bad files")

    def _trouble(self, place: int) -> BadFile | None:
        try:
            decode_shorter(self.open(place), 1)
        except ConvbenchError as error:
            return bad_file(str(self.root / self.files[place]), error)
        return None

    def in_memory(self, side: int, max_bad_share: float = MAX_BAD_SHARE) -> Dataset:
        """The photographs with `side` pixels on the shorter side, cut to the central square, as AlexNet's were to 256.

        What cannot be read is left out. Raises ConvbenchError, which lists it, where that is more than `max_bad_share`.
        """
        images = torch.empty(len(self), 3, side, side, dtype=torch.uint8)
        kept, bad = list[int](), list[BadFile]()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            squares = pool.map(lambda place: _square(self, place, side), range(len(self)))
            for place, square in enumerate(track(squares, f"reading {self.name}", len(self), "images")):
                if isinstance(square, Tensor):
                    images[len(kept)] = square
                    kept.append(place)
                else:
                    bad.append(square)
        require_few(bad, len(self), self.root, max_bad_share)
        source = self.source + (f", without {len(bad)} bad files" if bad else "")
        return Dataset(self.name, self.split, images[: len(kept)], self.labels[kept], self.classes, source, side)


def read_split_folders(folder: Path, split: str) -> PhotographSet:
    """The split ("train" or "test") of a folder with train/ and val/ (or test/, valid/, validation/) of class folders.

    Classes are the names of the training folders, sorted. Hidden files and others than images are left out.

    Raises RequestError where there are no such folders, or a class of the split is none of the training's.
    """
    classes = subfolders(_split_folder(folder, "train"))
    root = _split_folder(folder, split)
    strange = set(subfolders(root)) - set(classes)
    if strange:
        raise RequestError(f"{root}: expected the classes of training, such as {classes[0]}, found {min(strange)}")
    return _read_classes(folder.resolve().name, split, root, classes, str(root))


def read_class_folders(folder: Path, split: str) -> PhotographSet:
    """The split of a folder of class folders alone, which it lacks: ours is stratified, and does not change."""
    both = _read_classes(folder.resolve().name, split, folder, subfolders(folder), f"{folder}, {OUR_SPLIT}")
    return part_for(split, both)


def part_for(split: str, both: PhotographSet) -> PhotographSet:
    """What of a set without splits is for "train" or "test".

    Of each class, in the order of the SHA-256 of the names, every fifth is for testing. A file's place in that order
    has nothing to do with its content, and no random number is drawn.
    """
    seen, is_test = Counter[int](), torch.zeros(len(both), dtype=torch.bool)
    labels = both.labels.tolist()
    for i in sorted(range(len(both)), key=lambda i: hashlib.sha256(os.fsencode(both.files[i])).digest()):
        seen[labels[i]] += 1
        is_test[i] = seen[labels[i]] % FOR_TESTING == 0
    part = both.subset((is_test if split == "test" else ~is_test).nonzero()[:, 0])
    if not len(part):
        raise RequestError(f"{both.root}: expected at least {FOR_TESTING} photographs in a class, found fewer")
    return part


def has_split_folders(folder: Path) -> bool:
    """Whether `folder` is laid out as `read_split_folders` reads it."""
    return _has_photographs(folder / SPLIT_FOLDERS["train"][0])


def has_class_folders(folder: Path) -> bool:
    """Whether `folder` is laid out as `read_class_folders` reads it: none of its folders is for a split."""
    splits = {name for choices in SPLIT_FOLDERS.values() for name in choices}
    return _has_photographs(folder) and not splits & set(subfolders(folder))


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted, without hidden ones."""
    return sorted(one.name for one in os.scandir(folder) if one.is_dir() and not one.name.startswith("."))


def image_files(root: Path, below: str) -> Iterator[str]:
    """Names below `root` of the image files in its folder `below`, in torchvision's order, without hidden ones."""
    for folder, name in all_files(root, below):
        if name.lower().endswith(SUFFIXES):
            yield name if folder == "." else f"{folder}/{name}"


def all_files(root: Path, below: str) -> Iterator[tuple[str, str]]:
    """(folder below `root`, name) of every file that is not hidden; links are followed, but never in circles."""
    found, seen = [], set[str]()
    for folder, inner, names in os.walk(root / below, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        inner[:] = [name for name in inner if not name.startswith(".")]
        found.append((folder, names))
    for folder, names in sorted(found):
        place = os.path.relpath(folder, root)
        yield from ((place, name) for name in sorted(names) if not name.startswith("."))


def labelled(
    name: str, split: str, root: Path, classes: Sequence[str], files: Sequence[str], labels: Sequence[int], source: str
) -> PhotographSet:
    """A set of files; RequestError where there are none."""
    if not files:
        raise RequestError(f"{root}: expected photographs in folders of classes, found none")
    return PhotographSet(name, split, root, tuple(files), torch.tensor(labels), tuple(classes), source)


def _has_photographs(folder: Path) -> bool:
    """In one of the folders in it."""
    return folder.is_dir() and any(True for name in subfolders(folder) for _ in image_files(folder, name))


def _read_classes(name: str, split: str, root: Path, folders: Sequence[str], source: str) -> PhotographSet:
    files, labels = list[str](), list[int]()
    for label, folder in enumerate(folders):
        of_class = list(image_files(root, folder))
        files += of_class
        labels += [label] * len(of_class)
    return labelled(name, split, root, folders, files, labels, source)


def _split_folder(folder: Path, split: str) -> Path:
    choices = [folder / name for name in SPLIT_FOLDERS[split]]
    found = next((choice for choice in choices if choice.is_dir()), None)
    if found is None:
        raise RequestError(f"{folder}: expected {' or '.join(SPLIT_FOLDERS[split])} in it, found neither")
    return found


def _square(photographs: PhotographSet, place: int, side: int) -> Tensor | BadFile:
    """uint8 (3, side, side), or why there is none."""
    try:
        content = photographs.open(place)
        require_content(content)
        # `decode_shorter` is twice as fast, but rounds between the two directions: a seventh of the bytes would be one
        # level off those of which fingerprints, trained weights and kept trials are.
        pixels = Preprocessing(shorter=side, crop=side).geometry(read_photograph(content)[None])[0]
    except ConvbenchError as error:
        return bad_file(str(photographs.root / photographs.files[place]), error)
    return pixels.mul_(255).round_().to(torch.uint8)
