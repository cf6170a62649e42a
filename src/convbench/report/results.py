"""The parts of a record that say what was run, on what, and what came out; typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import FiniteFloat

Kind = Literal["network", "rival", "ensemble", "detector"]


@dataclass(frozen=True)
class Subject:
    """What was trained or measured: its name in the library and the arguments it was built with."""

    kind: Kind
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Split:
    """One split of a data set, with `n` images."""

    name: str
    split: str
    n: int
    fingerprint: str


@dataclass(frozen=True)
class Data:
    """What it was trained and tested on."""

    train: Split
    test: Split
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ClassError:
    """Errors within one true class; `error` in percent, None where it has no test image."""

    name: str
    n: int
    errors: int
    error: FiniteFloat | None


@dataclass(frozen=True)
class Mistake:
    """A misclassified test image; `margin` is the score of the true class minus that of the predicted one."""

    index: int
    label: int
    predicted: int
    margin: FiniteFloat


@dataclass(frozen=True)
class Rejection:
    """Percent of the images to reject so that `target_error` percent remain wrong; None: it cannot be reached."""

    target_error: FiniteFloat
    rejected: FiniteFloat | None


@dataclass(frozen=True)
class Result:
    """The evaluation; errors in percent, `interval` the 95 % Wilson interval, `confusion[true][predicted]`."""

    top1_error: FiniteFloat
    top5_error: FiniteFloat | None
    n: int
    errors: int
    interval: tuple[FiniteFloat, FiniteFloat]
    per_class: tuple[ClassError, ...]
    confusion: tuple[tuple[int, ...], ...]
    worst: tuple[Mistake, ...]
    rejection: Rejection | None


@dataclass(frozen=True)
class LayerCost:
    """A layer, or a module of several `layers`: its output, parameters, multiply-adds, and values to be stored."""

    name: str
    output_shape: tuple[int, ...]
    layers: int
    params: int
    macs: int
    values: int


@dataclass(frozen=True)
class ShownClass:
    """A class whose images stand on the run's sheet of classes, and what each of them was taken for."""

    label: int
    predicted: tuple[int, ...]


@dataclass(frozen=True)
class Extremes:
    """The classes on the run's sheet, the most extreme first, those of `easiest` before those of `hardest`."""

    easiest: tuple[ShownClass, ...]
    hardest: tuple[ShownClass, ...]


@dataclass(frozen=True)
class Cost:
    """Parameters and multiply-adds of one image; None: unknown. layers: that they are the sums of, where recorded"""

    params: int | None
    macs: int | None
    layers: tuple[LayerCost, ...] = ()


@dataclass(frozen=True)
class Published:
    """The paper's figure, in percent, with its protocol; `mark`: how that differs from the suite's other networks.

    ap: of a detector, average precision, the mean over overlaps
    url: where `source` can be opened
    """

    error: FiniteFloat | None
    protocol: str | None
    source: str | None
    rejection: FiniteFloat | None
    note: str | None
    top5_error: FiniteFloat | None = None
    mark: str | None = None
    ap: FiniteFloat | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith("https://"):
            raise ValueError("expected a `url` that begins with https://")


@dataclass(frozen=True)
class Seconds:
    """Wall-clock time of the run's two parts."""

    train: FiniteFloat | None
    evaluate: FiniteFloat | None


@dataclass(frozen=True)
class Machine:
    """Where it ran."""

    cpu: str
    cores: int
    memory_gib: FiniteFloat
    os: str


@dataclass(frozen=True)
class ChallengeEntry:
    """An entry of the ImageNet challenge: its top-5 error in percent on the year's test images, and whence."""

    year: int
    name: str
    kind: Literal["hand-made features", "networks", "person"]
    won: bool
    top5_error: FiniteFloat
    protocol: str
    source: str
    url: str | None
    confidence: str


@dataclass(frozen=True)
class Decision:
    """A statement on two of a suite's runs and what their seeds say to it.

    metric: "top1_error", percent, or "epochs"; better, worse: its values of the runs' seeds
    difference: of the means, worse less better; low, high: its 95 % interval, None where it has no end
    """

    says: str
    metric: str
    better: tuple[FiniteFloat, ...]
    worse: tuple[FiniteFloat, ...]
    difference: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    verdict: Literal["holds", "fails", "undecided"]
