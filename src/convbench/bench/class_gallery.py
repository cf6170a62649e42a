"""The easiest and the hardest classes of a run on photographs: some of their images, for its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convbench.bench.contact_sheet import contact_sheet
from convbench.evaluation import per_class
from convbench.evaluation.gallery import shown
from convbench.evaluation.source import Source, image_of
from convbench.files import write_whole

FILE = "classes.png"  # in the run's folder
IMAGES = 6  # of a class
SIDE = 72  # pixels of an image


def write_class_gallery(test: Source, scores: Tensor, folder: Path) -> dict[str, Any] | None:
    """Write classes.png, a contact sheet of images of the easiest and the hardest classes, and say what is on it.

    Returns `easiest` and `hardest`, each a list of classes in the order of the sheet: the `label`, and `predicted`, the
    answer to each of its images there. None, and no picture, of images that are not photographs: a grey one of a digit
    tells nothing that the worst images do not.

    Args:
        scores: (n, classes) of the images of `test`
    """
    if not len(test) or len(image_of(test, 0)) != 3:
        return None
    answers, classes = scores.argmax(dim=1), per_class(scores, test.labels, test.classes)
    places: list[int] = []
    extremes: dict[str, Any] = {}
    for name in ("easiest", "hardest"):
        extremes[name] = []
        for one in getattr(classes, name):
            images = shown(test.labels, answers, one.index, IMAGES)
            extremes[name].append({"label": one.index, "predicted": answers[images].tolist()})
            places += images
    write_whole(folder / FILE, contact_sheet(test.subset(torch.tensor(places, dtype=torch.int64)), SIDE))
    return extremes
