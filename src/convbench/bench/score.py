"""Scores of a network on a data set, by the engine that is asked for or the fastest faithful one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from convbench.data import Preprocessing, open_dataset
from convbench.data.datasets import is_photographs, open_photographs, splits_of
from convbench.errors import RequestError
from convbench.evaluation.cropped import Cropped
from convbench.evaluation.source import Source, prepared, preprocessing_for
from convbench.progress import progress
from convbench.timing.choice import AUTO, choose
from convbench.timing.engines import ENGINES
from convbench.timing.int8 import CALIBRATION, check_int8

EAGER = "eager"


def open_source(data: str, split: str, data_dir: Path | None) -> Source:
    """The split of a data set by name or folder: photographs stay in their files, all others come into memory."""
    if is_photographs(data):
        return open_photographs(data, split, data_dir=data_dir)
    return open_dataset(data, split, data_dir=data_dir)


def score_source(
    name: str, net: nn.Module, cropped: Cropped, calibration: Tensor | None, engine: str, precision: str
) -> tuple[Tensor, str]:
    """The scores of `net` on all images of `cropped`, and the engine's name; see `evaluate_weights`.

    Raises RequestError for an engine that is not there, or cannot take the sizes of dense crops; ConvbenchError where
    an engine answers otherwise than eager, or int8 loses more than a point.
    """
    if cropped.crops.is_dense:
        if engine not in (AUTO, EAGER):
            what = f"crops {cropped.crops.name}, whose sizes differ"
            raise RequestError(f"{what}: expected engine {EAGER}, found {engine}")
        return cropped.scores(net, title=f"{name}, {EAGER}"), EAGER
    first, views = cropped.first_batch(), cropped.crops.views * len(cropped.source)
    with progress(f"{name}: choosing an engine", len(ENGINES), "engines") as bar:
        chosen = choose(
            *(net, first),
            engine=engine,
            precision=precision,
            calibration=calibration,
            batches=views / len(first),
            say=bar.note,
        )
    scores = cropped.scores(chosen, title=f"{name}, {chosen.engine}")
    if ENGINES[chosen.engine].precision == "int8":
        reference = cropped.scores(net, title=f"{name}, {EAGER}")
        check_int8(reference, scores, cropped.source.labels, what=f"{name} in int8")
    return scores, chosen.engine


def calibration_images(
    data: str, evaluated: Source, preprocessing: Preprocessing, input_shape: tuple[int, int, int], data_dir: Path | None
) -> Tensor:
    """A hundred images, from the first to the last, of the training split; of the evaluated one where it has none."""
    source = open_source(data, "train", data_dir) if "train" in splits_of(data) else evaluated
    picked = source.subset(torch.linspace(0, len(source) - 1, min(CALIBRATION, len(source))).long())
    return torch.cat(list(prepared(picked, preprocessing_for(picked, preprocessing, input_shape[1]), input_shape)))
