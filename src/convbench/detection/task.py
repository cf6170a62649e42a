"""Detection as a training's task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from convbench.data.box_views import BoxView
from convbench.data.loading import Shown
from convbench.detection.annotations import DetectionSet
from convbench.detection.detecting import find_all
from convbench.detection.detector import Detector
from convbench.detection.result import coco_result
from convbench.errors import RequestError
from convbench.randomness import generator
from convbench.training.feed import Batch, Feed, PhotographFeed, Share, readers
from convbench.training.processes import Processes
from convbench.training.recipe import Recipe
from convbench.training.task import Computing, Judgement, Price, Task


@dataclass(frozen=True)
class Boxed(Shown):
    """Photographs with the boxes of their objects: targets are (k, 5), label and corners (shares of what is seen)."""

    photographs: DetectionSet
    view: BoxView
    seed: int

    def look(self, epoch: int, place: int) -> tuple[Tensor, Tensor]:
        boxes, labels = self.photographs.objects[place].to_learn
        height, width = self.photographs.sizes[place].tolist()
        random = generator(self.seed, "view", epoch, place)
        image, seen, kept = self.view.see(self.photographs.open(place), height, width, boxes, random)
        return image, torch.cat([labels[kept, None].float(), seen], 1)

    def join(self, targets: list[Tensor]) -> Tensor:
        """(n, most, 5); label -1 in rows that are left over."""
        return pad_sequence(targets, batch_first=True, padding_value=-1.0)


class Detection(Task[DetectionSet]):
    """Objects of images are to be found; `net` says itself what its answers cost."""

    counts_wrong = False

    def __init__(self, net: Detector) -> None:
        self.net = net

    def hold_out(self, images: DetectionSet, recipe: Recipe) -> tuple[None, DetectionSet]:
        """Images without anything to learn are passed by."""
        if recipe.held_out or recipe.images:
            raise RequestError(
                f"images, held_out: expected neither for a detector, found {recipe.images} and {recipe.held_out}; "
                "take a smaller list of images"
            )
        filled = [place for place, one in enumerate(images.objects) if bool(one.learnt.any())]
        if not filled:
            raise RequestError(f"{images.source}: expected images with objects to learn, found none")
        return None, images.subset(torch.tensor(filled))

    def feed(
        self, images: DetectionSet, recipe: Recipe, seed: int, share: Share, device: torch.device, workers: int | None
    ) -> Feed:
        """Read from files by the recipe's `boxes`."""
        view = recipe.boxes or BoxView(size=self.net.side)
        if view.size != self.net.side:
            raise RequestError(f"boxes.size: expected {self.net.side} pixels for {recipe.network}, found {view.size}")
        return PhotographFeed(Boxed(images, view, seed), recipe, seed, share, readers(device, workers))

    def weight(self, batch: Batch, processes: Processes) -> float:
        """The detector's, of all processes' images; 1 where that is 0."""
        device = next(self.net.parameters()).device
        total = torch.stack([self.net.weight(piece.targets.to(device)) for piece in batch.pieces]).sum()
        processes.sum(total)
        return max(float(total), 1.0)

    def price(self, model: nn.Module, images: Tensor, targets: Tensor) -> Price:
        """The sum of the losses."""
        return Price(model(images, targets), of=1)

    def judge(self, net: nn.Module, images: DetectionSet, recipe: Recipe, computing: Computing) -> Judgement:
        """By COCO's AP at an overlap of 0.5."""
        assert isinstance(net, Detector)
        with computing():
            found = find_all(net, images, recipe.preprocessing)
        return Judgement(ap50=coco_result(images, found).ap50)
