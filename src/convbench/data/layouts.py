"""The layouts in which photographs are given out: ImageNet's own, Stanford Dogs', folders of classes, tar files."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from convbench.data.catalogue import DATASETS
from convbench.data.folder import (
    PhotographSet,
    has_class_folders,
    has_split_folders,
    image_files,
    labelled,
    read_class_folders,
    read_split_folders,
    subfolders,
)
from convbench.data.imagenet import imagenet_classes
from convbench.data.shards import has_shards, read_shards
from convbench.errors import ConvbenchError, RequestError

DATA = "Data/CLS-LOC"  # of ILSVRC: holds train/WORDNET/ and val/
SYNSETS = "LOC_synset_mapping.txt"  # `n01440764 tench, Tinca tinca`, a line for each class
SOLUTION = "LOC_val_solution.csv"  # `ILSVRC2012_val_00000001,n01751748 111 108 441 193`
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"  # a number for each validation image, in order
SYNSET_TABLE = "meta.mat"  # of the development kit: which class has which number, in an order of its own
IMAGES, LISTS = "Images", {"train": "train_list.mat", "test": "test_list.mat"}  # of Stanford Dogs

KNOWN_CLASSES: dict[str, Callable[[], tuple[str, ...]]] = {  # SHA-256 of the WordNet numbers, a line each -> names
    "385e0240499426c0": imagenet_classes,
    "7fd320a0db9278e1": lambda: DATASETS["imagenette"].classes,
}


@dataclass(frozen=True)
class Layout:
    """A way to lay out photographs.

    fits, read: whether a folder is so, and its split "train" or "test"
    is_certain: whether that is no accident, so that a data set is taken for found
    """

    title: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, str], PhotographSet]
    is_certain: bool = True


def find_layout(folder: Path) -> Layout | None:
    """The layout of the photographs in `folder`, if it has one that is known."""
    return next((layout for layout in LAYOUTS if layout.fits(folder)), None)


def read_photographs(folder: Path, split: str) -> PhotographSet:
    """The split ("train" or "test") of the photographs in `folder`, whose layout is found out.

    The classes of ImageNet and Imagenette get their names; those of others are called as their folders are.

    Raises RequestError where there are no photographs, or not of this split; ConvbenchError for damaged lists.
    """
    layout = find_layout(folder)
    if layout is None:
        raise RequestError(f"{folder}: expected {'; '.join(one.title for one in LAYOUTS)}; found none of these")
    photographs = layout.read(folder, split)
    return replace(photographs, classes=_known_names(photographs.classes) or photographs.classes)


def _known_names(folders: Sequence[str]) -> tuple[str, ...] | None:
    names = KNOWN_CLASSES.get(hashlib.sha256("\n".join(folders).encode(errors="surrogateescape")).hexdigest()[:16])
    return names() if names else None


def _ilsvrc(folder: Path) -> Path | None:
    """Where ILSVRC's `train` and `val` lie."""
    places = (folder / "ILSVRC" / DATA, folder / DATA, folder)
    return next((place for place in places if (place / "train").is_dir() and (place / "val").is_dir()), None)


def _is_ilsvrc(folder: Path) -> bool:
    """Whether it is ImageNet as given out: in its folders, or with validation images that lie in no class folder."""
    place = _ilsvrc(folder)
    if place is None or not subfolders(place / "train"):
        return False
    return place != folder or (not subfolders(place / "val") and _beside(folder, SOLUTION, GROUND_TRUTH) is not None)


def _read_ilsvrc(folder: Path, split: str) -> PhotographSet:
    """ImageNet's training images are in class folders; so are those for validation, or their classes are in a list."""
    place = _ilsvrc(folder)
    assert place is not None
    if split == "train" or subfolders(place / "val"):
        found = replace(read_split_folders(place, split), name=folder.resolve().name)
    else:
        wordnet = subfolders(place / "train")
        root, number = place / "val", {name: label for label, name in enumerate(wordnet)}
        files = list(image_files(root, "."))
        listed = _validation_classes(folder, files)
        try:
            labels = [number[listed[Path(file).stem]] for file in files]
        except KeyError as error:
            raise ConvbenchError(
                f"{root}: expected images in {SOLUTION} or {GROUND_TRUTH}, of training's classes, found {error.args[0]}"
            ) from error
        found = labelled(folder.resolve().name, split, root, wordnet, files, labels, str(root))
    synsets = _beside(folder, SYNSETS)
    if synsets is None or _known_names(found.classes):
        return found
    return replace(found, classes=_synset_names(synsets, found.classes))


def _validation_classes(folder: Path, files: Sequence[str]) -> dict[str, str]:
    """The WordNet number of each validation image, by the name of its file without the suffix."""
    path = _beside(folder, SOLUTION, GROUND_TRUTH)
    if path is None:
        raise RequestError(f"{folder}: expected {SOLUTION} or {GROUND_TRUTH} for images in no class folder, found none")
    try:
        if path.name == SOLUTION:
            with path.open(newline="") as lines:
                return {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(lines)}
        numbers, wordnet = path.read_text().split(), _synset_table(path.with_name(SYNSET_TABLE))
        return {Path(file).stem: wordnet[int(number)] for file, number in zip(files, numbers, strict=True)}
    except (KeyError, IndexError, ValueError, csv.Error) as error:
        raise ConvbenchError(
            f"{path}: expected a class for each of {len(files):,} validation images, found another list ({error!r})"
        ) from error


def _synset_table(path: Path) -> dict[int, str]:
    """ILSVRC2012_ID -> WordNet number; the order is not the alphabetical one of the folders."""
    return {int(row[0]): str(row[1]) for row in _read_mat(path, "synsets")}


def _synset_names(path: Path, wordnet: Sequence[str]) -> tuple[str, ...]:
    """The first name of each class, with its WordNet number where two have the same, as the two cranes of ImageNet."""
    lines = (line.partition(" ") for line in path.read_text().splitlines())
    first = {number: names.partition(",")[0] for number, _, names in lines}
    names = [first.get(number, number) for number in wordnet]
    times = Counter(names)
    return tuple(
        name if times[name] == 1 else f"{name} ({number})" for name, number in zip(names, wordnet, strict=True)
    )


def _is_dogs(folder: Path) -> bool:
    return (folder / IMAGES).is_dir() and _beside(folder, LISTS["train"]) is not None


def _read_dogs(folder: Path, split: str) -> PhotographSet:
    """Stanford Dogs (Khosla et al. 2011): its lists name `n02085620-Chihuahua/n02085620_5927.jpg`."""
    path, root = _beside(folder, LISTS[split]), folder / IMAGES
    if path is None:
        raise RequestError(f"{folder}: expected {LISTS[split]} in it or in lists, found none")
    folders = subfolders(root)
    number = {name: label for label, name in enumerate(folders)}
    files = [str(file) for file in _read_mat(path, "file_list")]
    strange = next((file for file in files if file.partition("/")[0] not in number), None)
    if strange is not None:
        raise ConvbenchError(f"{path}: expected files in the folders of {root}, found {strange}")
    labels = [number[file.partition("/")[0]] for file in files]
    classes = [name.partition("-")[2].replace("_", " ") or name for name in folders]
    return labelled(folder.resolve().name, split, root, classes, files, labels, f"{root}, split by {path.name}")


def _read_mat(path: Path, variable: str) -> Sequence[Any]:
    """A list in a Matlab file; ConvbenchError where it is not in it."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return cast(Sequence[Any], np.atleast_1d(loadmat(path, squeeze_me=True)[variable]))
    except (OSError, KeyError, ValueError, NotImplementedError, MatReadError) as error:
        raise ConvbenchError(f"{path}: expected a Matlab file with {variable}, found none ({error})") from error


def _beside(folder: Path, *names: str) -> Path | None:
    """The first file of these names in the folder, or where archives unpack their lists."""
    below = ("", "lists", "devkit/data", "ILSVRC2012_devkit_t12/data", DATA)
    places = [parent / place for parent in (folder, folder.parent) for place in below]
    return next((path for name in names for place in places if (path := place / name).is_file()), None)


LAYOUTS = (  # the first that fits
    Layout("ImageNet's ILSVRC/Data/CLS-LOC", _is_ilsvrc, _read_ilsvrc),
    Layout(f"Stanford Dogs' {IMAGES} and {LISTS['train']}", _is_dogs, _read_dogs),
    Layout("photographs in train/CLASS/ and val/CLASS/", has_split_folders, read_split_folders),
    Layout("photographs in CLASS/ without splits", has_class_folders, read_class_folders, is_certain=False),
    Layout("WebDataset's tar files", has_shards, read_shards, is_certain=False),
)
