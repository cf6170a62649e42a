"""A trained network as a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from convbench.data.preprocessing import Preprocessing
from convbench.evaluation.scoring import score_images


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and how its images are prepared."""

    net: nn.Module
    preprocessing: Preprocessing

    def scores(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 scores (n, classes)."""
        return score_images(self.net, images, self.preprocessing)
