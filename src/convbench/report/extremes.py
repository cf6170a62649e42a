"""The classes that a run finds easiest and hardest, with some of their images where the run left them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convbench.report.records import Run, measured
from convbench.report.results import ClassError, ShownClass
from convbench.report.seeds import title_of
from convbench.report.sheets import cut_sheet

MOST_CLASSES = 20  # fewer than these are all in the strips of errors; more are told by their ends
FEW = 6  # classes at each end


@dataclass(frozen=True)
class Image:
    """One image of a class, as a data URI, and the class that it was taken for; `right` where that is its own."""

    uri: str
    predicted: str
    right: bool


@dataclass(frozen=True)
class ClassRow:
    """One class: how many of its n images were right, and some of them."""

    name: str
    right: int
    n: int
    accuracy: str
    images: tuple[Image, ...]


@dataclass(frozen=True)
class ExtremeClasses:
    """The ends of one run's classes, the most extreme first; `pictured` where images are shown."""

    title: str
    easiest: tuple[ClassRow, ...]
    hardest: tuple[ClassRow, ...]
    pictured: bool


def extreme_classes(run: Run) -> ExtremeClasses | None:
    """Of a finished run; None where it left no images and has so few classes that the strips show them all."""
    record, classes = run.record, measured(run).per_class
    assert record is not None
    if record.extremes is not None and run.classes is not None:
        easiest, hardest = record.extremes.easiest, record.extremes.hardest
        uris = iter(cut_sheet(run.classes, sum(len(one.predicted) for one in (*easiest, *hardest))))
        pictured = True
    else:
        known = [index for index, one in enumerate(classes) if one.n]
        if len(known) <= MOST_CLASSES:
            return None
        ordered = sorted(known, key=lambda index: (classes[index].error or 0.0, -classes[index].n))
        easiest, hardest = (
            tuple(ShownClass(index, ()) for index in end) for end in (ordered[:FEW], ordered[: -FEW - 1 : -1])
        )
        uris, pictured = iter(()), False
    easy, hard = (tuple(_row(classes, one, uris) for one in end) for end in (easiest, hardest))
    return ExtremeClasses(title_of(run), easy, hard, pictured)


def _row(classes: Sequence[ClassError], shown: ShownClass, uris: Iterator[str]) -> ClassRow:
    """The class of `shown`, with as many of the images that follow as it has there."""
    one = classes[shown.label]
    images = tuple(Image(next(uris), classes[answer].name, right=answer == shown.label) for answer in shown.predicted)
    return ClassRow(one.name, one.n - one.errors, one.n, f"{100 - (one.error or 0.0):.1f}", images)
