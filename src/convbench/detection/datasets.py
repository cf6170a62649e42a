"""Open photographs with boxes by a folder, whichever of the usual layouts it has."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import torch

from convbench.data.content import data_folders
from convbench.detection.annotations import DetectionSet, read_coco, read_voc, voc_annotations, voc_lists
from convbench.errors import RequestError

STANDS_FOR = {"train": ("trainval", "train"), "test": ("test", "val", "valid")}  # the first that is there
FOR_TESTING = 5  # of a set without splits, one in so many
OURS = "split by convbench: in the order of the SHA-256 of their names, every fifth is for testing"


def open_detection_set(name_or_path: str | Path, split: str | None, *, data_dir: Path | None = None) -> DetectionSet:
    """A split of a folder of photographs with boxes.

    name_or_path: a folder, here or in the folders in which data sets are looked for, laid out as Pascal VOC
        (Annotations/, JPEGImages/, ImageSets/; or with all its files in one folder), or as COCO
        (annotations/instances_NAME.json with photographs in NAME/ or images/, SPLIT/_annotations.coco.json beside its
        photographs, or one JSON file with photographs anywhere beside it)
    split: `train` (VOC's trainval, else train), `test` (else val), or the name of a list or file, such as val2017;
        None for `test`, or for the only split that is there

    Where there are no splits, the set is parted by us.

    Raises RequestError where nothing of that kind, or no such split, is there; ConvbenchError for damaged annotations.
    """
    folder = _folder(name_or_path, data_dir)
    if (annotations := voc_annotations(folder)) is not None:
        found = _voc(folder, annotations, split)
    elif files := _coco_files(folder):
        found = _coco(folder, files, split)
    else:
        raise RequestError(
            f"{folder}: expected VOC's XML file for each photograph in Annotations/ or beside it, or COCO's JSON in "
            "annotations/ or beside the photographs, found neither"
        )
    if not len(found):
        raise RequestError(f"{found.source}: expected photographs for {found.split}, found none")
    return found


def _folder(name_or_path: str | Path, data_dir: Path | None) -> Path:
    places = [Path(name_or_path).expanduser(), *(root / name_or_path for root in data_folders(data_dir))]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        looked = ", ".join(map(str, places[1:]))
        raise RequestError(f"expected a folder with photographs and boxes at {places[0]}, found none, nor {looked}")
    return found


def _voc(folder: Path, annotations: Path, split: str | None) -> DetectionSet:
    """The classes of any list are those of the one for training."""
    lists = voc_lists(folder)
    if not lists:
        names = sorted(file.stem for file in annotations.glob("*.xml"))
        return _part(read_voc(folder, split or "test", names=names), split or "test")
    split = split or _to_judge(lists)
    chosen = _chosen(folder, split, lists)
    training = next((name for name in STANDS_FOR["train"] if name in lists), chosen)
    learnt = read_voc(folder, training)
    return replace(learnt if chosen == training else read_voc(folder, chosen, learnt.classes), split=split)


def _coco_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Each split's JSON file and photographs; "" where one file is all."""
    found: dict[str, tuple[Path, Path]] = {}
    for file in sorted((folder / "annotations").glob("*.json")):
        name = file.stem.removeprefix("instances_")
        found[name] = file, next((place for place in (folder / name, folder / "images") if place.is_dir()), folder)
    for file in sorted(folder.glob("*/_annotations.coco.json")):
        found[file.parent.name] = file, file.parent
    if not found and len(files := sorted(folder.glob("*.json"))) == 1:
        found[""] = files[0], next((place for place in (folder / "images",) if place.is_dir()), folder)
    return found


def _coco(folder: Path, files: dict[str, tuple[Path, Path]], split: str | None) -> DetectionSet:
    if list(files) == [""]:
        split = split or "test"
        return replace(_part(read_coco(*files[""], split), split), name=folder.name)
    split = split or _to_judge(files)
    kinds = {name.rstrip("0123456789"): name for name in files}  # train2017 is train
    chosen = split if split in files else kinds[_chosen(folder, split, kinds)]
    return replace(read_coco(*files[chosen], split), name=folder.name)


def _to_judge(there: Collection[str]) -> str:
    """The split to judge a detector on where none is asked for: the only one, or that for testing."""
    return next(iter(there)) if len(there) == 1 else "test"


def _chosen(folder: Path, split: str, there: Iterable[str]) -> str:
    names = list(there)
    found = next((name for name in (*STANDS_FOR.get(split, ()), split) if name in names), None)
    if found is None:
        raise RequestError(f"{folder}: expected a split {split!r}, found {', '.join(sorted(names))}")
    return found


def _part(whole: DetectionSet, split: str) -> DetectionSet:
    if split not in STANDS_FOR:
        raise RequestError(f"{whole.root}: expected train or test, as it has no splits of its own, found {split!r}")
    order = sorted(range(len(whole)), key=lambda place: hashlib.sha256(whole.files[place].encode()).digest())
    for_testing = set(order[FOR_TESTING - 1 :: FOR_TESTING])
    places = [place for place in range(len(whole)) if (place in for_testing) == (split == "test")]
    if not places:
        found = len(whole)
        raise RequestError(f"{whole.root}: expected {FOR_TESTING} photographs at least, to part them, found {found}")
    return replace(whole.subset(torch.tensor(places)), source=f"{whole.source}, {OURS}")
