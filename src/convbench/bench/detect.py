"""Evaluate a detector, and find objects in photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from convbench.bench.train_detector import result_of, weights_at
from convbench.data import Preprocessing
from convbench.data.photographs import read_photograph, require_image_file
from convbench.detection.coco import COCO_CLASSES
from convbench.detection.datasets import open_detection_set
from convbench.detection.detecting import find_all
from convbench.detection.detector import Detector
from convbench.detection.drawing import draw
from convbench.detection.registry import detector_of
from convbench.detection.result import coco_detections, renamed
from convbench.errors import RequestError
from convbench.files import make_folder, write_json
from convbench.modes import evaluation_mode
from convbench.progress import track
from convbench.schema import parse
from convbench.weights import load_file
from convbench.weights.files import read_weight_file

MOST = 100  # detections of an image that COCO's figures count


@dataclass(frozen=True)
class LoadedDetector:
    """A detector with its weights. classes: a name for each label, "" where it stands for nothing"""

    net: Detector
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """An object in a photograph: corners in its pixels (left, top, right, bottom), and a score from 0 to 1."""

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Finds:
    """What was found in a file, the most certain first; picture: the file with the boxes, None where not written"""

    file: str
    objects: tuple[Found, ...]
    picture: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def load_detector(
    weights: str | Path, network: str | None = None, arguments: Mapping[str, Any] | None = None
) -> LoadedDetector:
    """The detector whose weights lie at `weights`: a run's folder, a file of ours, or another library's.

    network, arguments: its name and what it is built with, for a file that does not say them; it is then taken to name
        COCO's 90 numbers

    Raises RequestError where the file is another network's, was built with something else, or says not enough.
    """
    path = weights_at(weights)
    file = read_weight_file(path)
    said = file.metadata
    name = said.get("network", network)
    if name is None:
        raise RequestError(f"{path} does not say its network: expected a name beside it, such as ssd300_mobilenet_v1")
    if network not in (None, name):
        raise RequestError(f"{path} holds {name}, found the name {network}")
    classes = tuple(said.get("classes", ())) or tuple(COCO_CLASSES.get(number, "") for number in range(1, 91))
    built, given = said.get("arguments"), dict(arguments or {})
    if built is not None and (other := {key: value for key, value in given.items() if built.get(key) != value}):
        raise RequestError(f"{path} says what its network is built with: expected {built or 'nothing'}, found {other}")
    net = detector_of(name, len(classes), given if built is None else built)
    about = load_file(net, file)
    if "preprocessing" not in about:
        raise RequestError(f"{path} does not say its preprocessing: expected a file that a training wrote")
    return LoadedDetector(net, classes, parse(Preprocessing, about["preprocessing"], str(path)), about)


def evaluate_detector(
    detector: LoadedDetector,
    data: str,
    *,
    split: str | None = None,
    most: int = MOST,
    out: Path | None = None,
    data_dir: Path | None = None,
) -> dict[str, Any]:
    """COCO's twelve figures and Pascal VOC's of each class, of a detector on a split of a folder; see `result_of`.

    Args:
        data, split: as `open_detection_set` reads them; classes are known by their names, and those that the detector
            does not know count as never found
        most: detections of an image that count, the most certain; COCO's figures are of 100 at most
        out: a file for what was found, in COCO's format

    Raises RequestError where none of the data's classes is one of the detector's, and for another `most` than 1 to 100.
    """
    if not 1 <= most <= MOST:
        raise RequestError(f"expected 1 to {MOST} detections of an image, as COCO counts no more, found {most}")
    dataset = open_detection_set(data, split, data_dir=data_dir)
    if not set(detector.classes) & set(dataset.classes):
        known = ", ".join(filter(None, detector.classes[:3]))
        raise RequestError(f"{data}: expected classes such as {known}, found {', '.join(dataset.classes[:3])}")
    found = [
        renamed(one, detector.classes, dataset.classes).most(most)
        for one in find_all(detector.net, dataset, detector.preprocessing, title=f"evaluating on {dataset.name}")
    ]
    if out is not None:
        write_json(out, coco_detections(dataset, found))
    about = {"data": dataset.name, "split": dataset.split, "most": most, "noted": dict(dataset.noted)}
    return {**result_of(dataset, found), **about}


def find_objects(
    detector: LoadedDetector, images: Sequence[Path], *, score: float = 0.5, out: Path | None = None
) -> list[Finds]:
    """What is in each of `images`, with a score of `score` or more.

    out: a folder for the photographs with boxes, classes and scores drawn on them, as PNG

    Raises RequestError, before anything is read or written, for a file that is missing, or where a picture would take
    the place of a photograph or of another picture; and what `read_photograph` does.
    """
    for image in images:
        require_image_file(image)
    pictures: Sequence[Path | None] = [None] * len(images) if out is None else _pictures(images, out)
    if out is not None:
        make_folder(out)
    finds, names = list[Finds](), [name for name in detector.classes if name]
    with evaluation_mode(detector.net), torch.inference_mode():
        for image, picture in track(list(zip(images, pictures, strict=True)), "looking", len(images), "images"):
            pixels = read_photograph(image)
            answers = detector.net(detector.preprocessing(pixels[None]))
            (one,) = detector.net.find(answers, [(pixels.shape[1], pixels.shape[2])])
            named = renamed(one, detector.classes, names).above(score)
            if picture is not None:
                draw(pixels, named, names).save(picture)
            rows = zip(named.labels.tolist(), named.scores.tolist(), named.boxes.tolist(), strict=True)
            objects = tuple(Found(names[label], certain, tuple(box)) for label, certain, box in rows)
            finds.append(Finds(str(image), objects, None if picture is None else str(picture)))
    return finds


def _pictures(images: Sequence[Path], out: Path) -> list[Path]:
    """The file in `out` for each photograph's picture: no two the same, and none a photograph itself."""
    pictures, photographs = dict[str, Path](), {_file(image.expanduser()) for image in images}
    for image in images:
        picture, name = out / f"{image.stem}.png", image.stem.casefold()  # which some disks do not tell from capitals
        if name in pictures:
            raise RequestError(
                f"expected photographs whose names differ, to draw each in {out}, found two {image.stem}"
            )
        if picture.exists() and _file(picture) in photographs:
            raise RequestError(
                f"expected a folder for pictures that is not the photographs', found {picture} among them"
            )
        pictures[name] = picture
    return list(pictures.values())


def _file(path: Path) -> tuple[int, int]:
    """What a file is known by, whatever its name."""
    about = path.stat()
    return about.st_dev, about.st_ino
