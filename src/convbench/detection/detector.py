"""What training, evaluation and engines ask of a network that finds objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from convbench.detection.finding import Finding
from convbench.detection.result import Detections

Answers = Tensor | tuple[Tensor, ...]


class Detector(nn.Module, ABC):
    """A network that finds objects of `num_classes` classes in images of `side` x `side` pixels, by `finding`.

    Targets of a training are (n, most, 5), float32: label and corners (shares of the image) of each object; label -1 in
    the rows that are left over.
    """

    side: int
    num_classes: int
    finding: Finding

    @abstractmethod
    def forward(self, images: Tensor, targets: Tensor | None = None) -> Answers:
        """The answers to images (n, 3, side, side); with targets, the sum of their losses, a number, to be divided by
        `weight`."""

    @abstractmethod
    def weight(self, targets: Tensor) -> Tensor:
        """By what the sum of the losses is divided, a number: of all the images of a batch together."""

    @abstractmethod
    def find(self, answers: Answers, sizes: Sequence[tuple[int, int]]) -> list[Detections]:
        """What the answers say of each image, in pixels of the images as they were: (height, width) each."""
