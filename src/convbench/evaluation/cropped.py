"""Scores by the crops of the papers: the views of each image are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from convbench.data.dataset import Dataset
from convbench.data.preprocessing import Preprocessing
from convbench.errors import RequestError
from convbench.evaluation.crops import Crops, Views
from convbench.evaluation.dense import FullyConvolutional
from convbench.evaluation.scoring import Score, at_a_time, device_of, score_batches
from convbench.evaluation.source import Source, image_of, images_of, prepared, preprocessing_for
from convbench.modes import evaluation_mode
from convbench.progress import progress

AHEAD = 32  # photographs that are decoded at a time


class Cropped:
    """The images of `source` as `crops` look at them.

    Args:
        preprocessing: of the network, for whole photographs; its `shorter` is the S of the papers
        input_shape: (channels, side, side) that the network reads

    Raises RequestError where the preprocessing does more than to resize and cut, the images leave the windows no room,
    or come out in another size than the network's.
    """

    def __init__(
        self, source: Source, crops: Crops, preprocessing: Preprocessing, input_shape: tuple[int, int, int]
    ) -> None:
        self.source, self.crops, self.input_shape = source, crops, input_shape
        self.preprocessing = preprocessing_for(source, preprocessing, input_shape[1])
        self.shorter, self.kept = self.preprocessing.shorter or 0, 1.0
        if isinstance(source, Dataset):
            stored = min(source.images.shape[2:])
            self.shorter = preprocessing.shorter or source.shorter or stored
            self.kept = stored / (source.shorter or stored)
        if crops.parts:
            self._check(preprocessing)

    @property
    def caution(self) -> str:
        """What keeps the crops from being the papers'; empty where nothing does."""
        if not self.crops.parts or self.kept == 1:
            return ""
        return f"{self.source.name} holds the central {self.kept:.0%} of each photograph's side: all views lie in it"

    def first_batch(self) -> Tensor:
        """Images as the network gets them at first, prepared; no later batch is larger, but for dense views."""
        if not self.crops.parts:
            return next(prepared(self.source, self.preprocessing, self.input_shape))
        first = image_of(self.source, 0, self.input_shape[0])
        return next(batch for part in self.crops.parts for batch in self._batches(part, first))

    def scores(self, net: Score, *, title: str = "") -> Tensor:
        """(n, classes): logits of the centre, float32; of other crops the mean of the views' probabilities, float64.

        Args:
            net: a network, or what an engine has made of one; where `crops.is_dense`, a network
            title: of the progress bar; none is shown without

        Raises ConvbenchError for a photograph that cannot be read.
        """
        if not self.crops.parts:
            batches = prepared(self.source, self.preprocessing, self.input_shape)
            return score_batches(net, batches, len(self.source), title=title)
        nets = [self._for(part, net) for part in self.crops.parts]
        mode = evaluation_mode(net) if isinstance(net, nn.Module) else nullcontext()
        shown = progress(title, len(self.source), "images") if title else nullcontext()
        scores = []
        with mode, torch.inference_mode(), shown as bar:
            for images in images_of(self.source, self.input_shape[0], AHEAD):
                for image in images:
                    means = [self._mean(*pair, image) for pair in zip(self.crops.parts, nets, strict=True)]
                    scores.append(torch.stack(means).mean(dim=0))
                    if bar is not None:
                        bar.advance()
        return torch.stack(scores)

    def probabilities(self, scores: Tensor) -> Tensor:
        """What `scores` gave, as probabilities in double precision."""
        return scores if self.crops.parts else scores.double().softmax(dim=1)

    def _for(self, part: Views, net: Score) -> Score:
        if part.windows != "all":
            return net
        if not isinstance(net, nn.Module):
            raise RequestError(f"crops {self.crops.name}: expected a network for images of any size, found an engine's")
        return FullyConvolutional(net, self.input_shape).eval()

    def _mean(self, part: Views, net: Score, image: Tensor) -> Tensor:
        device = device_of(net)
        views = [net(batch.to(device)).double().softmax(dim=1) for batch in self._batches(part, image)]
        return torch.cat(views).mean(dim=0).cpu()

    def _batches(self, part: Views, image: Tensor) -> Iterator[Tensor]:
        """The views of an image, prepared, those of one size together."""
        side = self.input_shape[1]
        for views in part.of(image, part.scales.lengths(self.shorter, side, self.kept), side):
            yield from self.preprocessing.scale(views).split(at_a_time(views[0, 0].numel()))

    def _check(self, preprocessing: Preprocessing) -> None:
        name, side = self.crops.name, self.input_shape[1]
        more = [key for key in ("deslant", "size", "pad") if getattr(preprocessing, key)]
        if more or preprocessing.crop not in (None, side):
            found = ", ".join(more) or f"crop {preprocessing.crop} for a network of {side} pixels"
            raise RequestError(
                f"crops {name}: expected a preprocessing that resizes and cuts alone, found {found}; nearest is centre"
            )
        for part in self.crops.parts:
            largest = max(part.scales.lengths(self.shorter, side, self.kept))
            if part.windows != "all" and largest <= side:
                raise RequestError(
                    f"crops {name}: expected images larger than the {side} pixels that the network reads, found "
                    f"{largest}; nearest are dense and centre"
                )
