"""A trained network as a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from convbench.data.dataset import Dataset
from convbench.data.preprocessing import Preprocessing
from convbench.evaluation.scoring import score_batches, score_images
from convbench.evaluation.source import Source, prepared, prepared_shape


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and how its images are prepared."""

    net: nn.Module
    preprocessing: Preprocessing

    def scores(self, images: Tensor) -> Tensor:
        """uint8 images (n, c, h, w) to float32 scores (n, classes)."""
        return score_images(self.net, images, self.preprocessing)

    def scores_of(self, source: Source) -> Tensor:
        """A data set, in memory or in files, to float32 scores (n, classes)."""
        if isinstance(source, Dataset):
            return self.scores(source.images)
        batches = prepared(source, self.preprocessing, prepared_shape(source, self.preprocessing))
        return score_batches(self.net, batches, len(source), title=f"scoring {source.name}")
