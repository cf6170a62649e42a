"""Photographs with boxes: COCO's JSON and Pascal VOC's XML.

What annotations hold that no detector can use is treated by one policy, and counted in `noted`:

    no area            a box whose last column or row, as written, is not beyond its first, or is no number, is left out
    cut at the border  of a box that reaches out of the image the part inside stays; with nothing inside it is left out
    crowd              a region of many objects is not learnt, and in evaluation neither asked for nor held against one
    difficult          VOC's flag: the same in VOC's evaluation; learnt
    without boxes      an image with nothing to find stays, for evaluation; training passes it by
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from convbench.data.folder import SUFFIXES
from convbench.data.manifest import fingerprint
from convbench.errors import ConvbenchError, RequestError

NO_AREA, CUT, OUTSIDE, CROWD, DIFFICULT, EMPTY = (
    *("no area", "cut at the border", "outside of the image"),
    *("crowd", "difficult", "images without boxes"),
)


@dataclass(frozen=True)
class Objects:
    """What is to be found in one image.

    boxes: (k, 4) float32 corners, in pixels of the image: left, top, right, bottom
    labels: (k,) int64, indices into the set's classes
    areas: (k,) float32, of the objects, by which COCO parts small from large; of the boxes where nothing else is known
    ignored: (k,) bool, of crowds and difficult objects
    learnt: (k,) bool, of all but crowds
    """

    boxes: Tensor
    labels: Tensor
    areas: Tensor
    ignored: Tensor
    learnt: Tensor

    @property
    def to_learn(self) -> tuple[Tensor, Tensor]:
        """(boxes, labels) of those that are learnt."""
        return self.boxes[self.learnt], self.labels[self.learnt]


@dataclass(frozen=True)
class DetectionSet:
    """Photographs in files with the objects in them.

    sizes: (n, 2) int64, (height, width) as the annotations say
    identifiers: of the images, which files of results name
    categories: of the classes, COCO's numbers, which have gaps; of VOC 1, 2, ...
    noted: how often each rule of the policy was applied
    """

    name: str
    split: str
    root: Path
    files: tuple[str, ...]
    sizes: Tensor
    identifiers: tuple[int, ...]
    objects: tuple[Objects, ...]
    classes: tuple[str, ...]
    categories: tuple[int, ...]
    noted: Mapping[str, int]
    source: str

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any photograph, and with any box."""
        rows = (torch.cat([one.boxes, one.labels[:, None].float()], 1).numpy().tobytes() for one in self.objects)
        digests = (hashlib.sha256(row).hexdigest() for row in rows)
        entries = (f"{file}\0{digest}" for file, digest in zip(self.files, digests, strict=True))
        return fingerprint(self.root, self.files, entries)

    def open(self, i: int) -> bytes:
        """The content of photograph `i` as it is stored; ConvbenchError where it cannot be read."""
        path = self.root / self.files[i]
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConvbenchError(f"{path}: expected a readable file, found {error.strerror}") from error

    def subset(self, indices: Tensor) -> DetectionSet:
        """The photographs at `indices`, in that order; what was noted is of the whole set."""
        places = indices.tolist()
        return replace(
            self,
            files=tuple(self.files[i] for i in places),
            sizes=self.sizes[indices],
            identifiers=tuple(self.identifiers[i] for i in places),
            objects=tuple(self.objects[i] for i in places),
        )


def read_coco(annotations: Path, photographs: Path, split: str) -> DetectionSet:
    """COCO's `instances_*.json` with the photographs that it names in a folder.

    Raises RequestError where there is no such file, or its images and categories cannot be told apart, by ids that are
    whole numbers and, categories, by names; ConvbenchError where it is no COCO JSON.
    """
    try:
        content = json.loads(annotations.read_text())
        categories, images = _by_id(content["categories"], "a category"), _by_id(content["images"], "an image")
        _require_names(categories, images)
        numbers = {one["id"]: place for place, one in enumerate(categories)}
        found: dict[int, list[dict[str, Any]]] = {one["id"]: [] for one in images}
        for one in content["annotations"]:
            for key, known in (("image_id", found), ("category_id", numbers)):
                if one[key] not in known:
                    raise RequestError(f"an annotation's {key}: expected one of the file's, found {one[key]!r}")
            found[one["image_id"]].append(one)
        noted, objects = Counter[str](), []
        for image in images:
            rows = [
                _Row(
                    (x, y, x + width, y + height),
                    label=numbers[one["category_id"]],
                    area=one.get("area"),
                    ignored=CROWD if one.get("iscrowd") else "",
                )
                for one in found[image["id"]]
                for x, y, width, height in [one["bbox"]]
            ]
            objects.append(_objects(rows, image["height"], image["width"], noted))
        return DetectionSet(
            name=annotations.stem,
            split=split,
            root=photographs,
            files=tuple(one["file_name"] for one in images),
            sizes=torch.tensor([(one["height"], one["width"]) for one in images], dtype=torch.int64).reshape(-1, 2),
            identifiers=tuple(one["id"] for one in images),
            objects=tuple(objects),
            classes=tuple(one["name"] for one in categories),
            categories=tuple(numbers),
            noted=dict(noted),
            source=f"COCO JSON {annotations}",
        )
    except OSError as error:
        raise RequestError(f"{annotations}: expected COCO's annotations, found {error.strerror}") from error
    except RequestError as error:
        raise RequestError(f"{annotations}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConvbenchError(
            f"{annotations}: expected COCO's annotations, found {type(error).__name__}: {error}"
        ) from error


def _by_id(rows: Iterable[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    """Images or categories in the order of their ids; RequestError unless these are whole numbers, each there once."""
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        if type(row["id"]) is not int:
            raise RequestError(f"the id of {what}: expected a whole number, found {row['id']!r}")
        if row["id"] in found:
            raise RequestError(f"the id of {what}: expected each once, found {row['id']} twice")
        found[row["id"]] = row
    return [found[number] for number in sorted(found)]


def _require_names(categories: Sequence[dict[str, Any]], images: Sequence[dict[str, Any]]) -> None:
    """RequestError unless all have names, and those of categories, by which detectors know them, are there once."""
    named = Counter(row["name"] for row in categories)
    for key, rows in (("name", categories), ("file_name", images)):
        if wrong := [row[key] for row in rows if not isinstance(row[key], str)]:
            raise RequestError(f"a {key}: expected text, found {wrong[0]!r}")
    if twice := [name for name, count in named.items() if count > 1]:
        raise RequestError(f"the name of a category: expected each once, found {twice[0]!r} twice")


def read_voc(
    folder: Path, split: str, classes: Sequence[str] | None = None, names: Sequence[str] | None = None
) -> DetectionSet:
    """Pascal VOC's layout: Annotations/NAME.xml, JPEGImages, and ImageSets/Main/SPLIT.txt (or ImageSets/SPLIT.txt); the
    XML files may also lie where `voc_annotations` finds them.

    classes: names in their order; by default those that occur, alphabetically
    names: of the photographs, in place of the list's; photographs may also lie in images/ or in the folder itself

    Corners of VOC count pixels from 1 and include the last: a box from 1 to 2 covers the first two pixels.

    Raises RequestError where the layout is another; ConvbenchError where an annotation is damaged.
    """
    names = _voc_names(folder, split) if names is None else names
    root = next((place for place in (folder / "JPEGImages", folder / "images") if place.is_dir()), folder)
    photographs = {file.stem: file.name for file in root.iterdir() if file.suffix.lower() in SUFFIXES}
    annotations, noted, read = voc_annotations(folder) or folder / "Annotations", Counter[str](), []
    for name in names:
        file = annotations / f"{name}.xml"
        try:
            read.append((photographs.get(name, f"{name}.jpg"), *_read_voc_file(file)))
        except OSError as error:
            raise RequestError(f"{file}: expected a VOC annotation, found {error.strerror}") from error
        except (ElementTree.ParseError, ValueError, AttributeError, TypeError) as error:
            raise ConvbenchError(f"{file}: expected a VOC annotation, found {type(error).__name__}: {error}") from error
    known = tuple(classes) if classes else tuple(sorted({label for _, _, _, rows in read for label, *_ in rows}))
    places = {label: place for place, label in enumerate(known)}
    objects = []
    for photograph, height, width, rows in read:
        if strange := [label for label, *_ in rows if label not in places]:
            raise RequestError(f"{photograph}: expected classes among {', '.join(known)}, found {strange[0]}")
        made = [
            _Row(box, label=places[label], area=None, ignored=DIFFICULT if difficult else "")
            for label, box, difficult in rows
        ]
        objects.append(_objects(made, height, width, noted))
    return DetectionSet(
        name=folder.name,
        split=split,
        root=root,
        files=tuple(file for file, *_ in read),
        sizes=torch.tensor([(height, width) for _, height, width, _ in read], dtype=torch.int64).reshape(-1, 2),
        identifiers=tuple(range(1, len(read) + 1)),
        objects=tuple(objects),
        classes=known,
        categories=tuple(range(1, len(known) + 1)),
        noted=dict(noted),
        source=f"Pascal VOC {folder}",
    )


@dataclass(frozen=True)
class _Row:
    """A box as it was annotated. ignored: by which rule, "" where it is asked for"""

    box: tuple[float, float, float, float]
    label: int
    area: float | None
    ignored: str


def _objects(rows: Iterable[_Row], height: int, width: int, noted: Counter[str]) -> Objects:
    """By the policy; `noted` counts what it did."""
    kept: list[tuple[_Row, tuple[float, float, float, float]]] = []
    for row in rows:
        left, top, right, bottom = row.box
        if not (left < right and top < bottom):  # nor where one of them is NaN
            noted[NO_AREA] += 1
            continue
        inside = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
        if inside[2] <= inside[0] or inside[3] <= inside[1]:
            noted[OUTSIDE] += 1
            continue
        if inside != row.box:
            noted[CUT] += 1
        if row.ignored:
            noted[row.ignored] += 1
        kept.append((row, inside))
    if not kept:
        noted[EMPTY] += 1
    boxes = torch.tensor([box for _, box in kept], dtype=torch.float32).reshape(-1, 4)
    areas = [
        (box[2] - box[0]) * (box[3] - box[1]) if row.area is None or math.isnan(row.area) else row.area
        for row, box in kept
    ]
    return Objects(
        boxes,
        torch.tensor([row.label for row, _ in kept], dtype=torch.int64),
        torch.tensor(areas, dtype=torch.float32),
        torch.tensor([bool(row.ignored) for row, _ in kept], dtype=torch.bool),
        torch.tensor([row.ignored != CROWD for row, _ in kept], dtype=torch.bool),
    )


def voc_annotations(folder: Path) -> Path | None:
    """Where the XML files of a folder in Pascal VOC's layout lie; None where there is none."""
    places = (folder / "Annotations", folder / "annotations", folder)
    return next((place for place in places if next(place.glob("*.xml"), None)), None)


def voc_lists(folder: Path) -> dict[str, Path]:
    """The lists of photographs in Pascal VOC's layout, by name: ImageSets/Main/NAME.txt, or ImageSets/NAME.txt."""
    sets = folder / "ImageSets"
    return {file.stem: file for place in (sets, sets / "Main") for file in sorted(place.glob("*.txt"))}


def _voc_names(folder: Path, split: str) -> list[str]:
    lists = voc_lists(folder)
    if split not in lists:
        found = f"lists {', '.join(lists)}" if lists else "none"
        raise RequestError(f"{folder}: expected a list ImageSets/Main/{split}.txt, found {found}")
    return [line.split()[0] for line in lists[split].read_text().splitlines() if line.strip()]


def _read_voc_file(file: Path) -> tuple[int, int, list[tuple[str, tuple[float, float, float, float], bool]]]:
    """(height, width, [(class, corners, difficult)])."""
    root = ElementTree.fromstring(file.read_bytes())
    rows = []
    for one in root.iter("object"):
        left, top, right, bottom = (float(_text(one, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
        difficult = (one.findtext("difficult") or "0").strip() == "1"
        is_point = right <= left or bottom <= top  # as written: no object is a line of pixels
        box = (left, top, left, top) if is_point else (left - 1, top - 1, right, bottom)
        rows.append((_text(one, "name").strip(), box, difficult))
    return int(_text(root, "size/height")), int(_text(root, "size/width")), rows


def _text(node: ElementTree.Element, path: str) -> str:
    found = node.findtext(path)
    if found is None:
        raise ValueError(f"no <{path}>")
    return found
