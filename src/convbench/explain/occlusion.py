"""What a network answers when a part of the image is covered (Zeiler & Fergus 2014, section 4.2 and figure 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from convbench.activations import watch
from convbench.errors import RequestError
from convbench.evaluation.scoring import at_a_time
from convbench.explain.deconvnet import Projection, deconvnet, one_image
from convbench.explain.figure import PALETTE, Figure, Tile, coloured, in_colours, projected, sheet, stretched
from convbench.progress import progress
from convbench.timing.choice import AUTO, choose


@dataclass(frozen=True)
class Occlusion:
    """A map for each question; (rows, columns), one value for each place of the square.

    probability: of `target`, 0 to 1
    activation: of the unit that is strongest in the clean image, summed over its map; None without a layer
    answers: the most probable class
    clean: the target's probability in the clean image
    clean_activation: of the unit there, summed
    projection: of the unit's strongest activation in the clean image
    classes: their names; empty where they are not known
    """

    probability: Tensor
    activation: Tensor | None
    answers: Tensor
    image: Tensor
    target: int
    clean: float
    clean_activation: float | None
    layer: str | None
    projection: Projection | None
    square: int
    classes: tuple[str, ...] = ()

    def name(self, index: int) -> str:
        """Of a class."""
        return self.classes[index] if self.classes else f"class {index}"

    @cached_property
    def figure(self) -> Figure:
        """The paper's row: the image with the square, the unit's map, its projection, the probability, the answers."""
        image = stretched(self.image)
        covered = image.clone()
        covered[:, : self.square, : self.square] = 0.5
        row = [Tile(covered, f"square of {self.square} pixels")]
        if self.activation is not None and self.projection is not None:
            row.append(Tile(coloured(self.activation), f"{self.layer}, unit {self.projection.unit}, summed"))
            row.append(Tile(projected(self.projection.pixels), "its projection", self.projection.box))
        low, high = float(self.probability.min()), float(self.probability.max())
        row.append(Tile(coloured(self.probability), f"{self.name(self.target)}: {low:.0%} to {high:.0%}"))
        frequent = self.answers.flatten().bincount().argsort(descending=True, stable=True)
        shown = [int(index) for index in frequent[: len(PALETTE)] if bool((self.answers == index).any())]
        row.append(Tile(in_colours(self.answers, shown), "most probable class"))
        legend = [Tile(in_colours(torch.full((1, 6), index), shown), self.name(index), least=16) for index in shown]
        title = f"{self.name(self.target)}, {self.clean:.0%} when nothing is covered"
        return sheet([row, legend], title, least=224)

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "target": self.target,
            "class": self.name(self.target),
            "square": self.square,
            "clean": {"probability": self.clean, "activation": self.clean_activation},
            "layer": self.layer,
            "unit": self.projection.unit if self.projection else None,
            "probability": self.probability.tolist(),
            "activation": None if self.activation is None else self.activation.tolist(),
            "answers": self.answers.tolist(),
        }


class _Answers(nn.Module):
    """The scores, and beside them one unit's activation summed over its map: (n, classes), or (n, classes + 1)."""

    def __init__(self, net: nn.Module, layer: str | None, unit: int | None) -> None:
        super().__init__()
        self.net, self.layer, self.unit = net, layer, unit

    def forward(self, images: Tensor) -> Tensor:
        if self.layer is None:
            scores: Tensor = self.net(images)
            return scores
        seen = watch(self.net, images, [self.layer, ""], _summed)
        return torch.cat([seen[""], seen[self.layer][:, self.unit, None]], 1)


def _summed(output: Tensor) -> Tensor:
    return output.flatten(2).sum(2) if output.dim() == 4 else output


def occlusion(
    net: nn.Module,
    image: Tensor,
    layer: str | None = None,
    *,
    target: int | None = None,
    square: int | None = None,
    steps: int = 14,
    grey: Sequence[float] | None = None,
    classes: Sequence[str] = (),
    engine: str = AUTO,
    precision: str = "fp32",
) -> Occlusion:
    """Slide a grey square over an image and see what the network answers at each place.

    Args:
        net: any module whose output is (n, classes) scores; left as it is
        image: (channels, h, w) or a batch of one, prepared as the network reads it
        layer: whose strongest unit is watched, too; by default none
        target: the class whose probability is asked for; by default the most probable in the clean image
        square: pixels of a side; by default a fifth of the image's shorter side (the paper does not say)
        steps: places along each side, from edge to edge
        grey: of each channel, on the network's scale; by default the image's mean
        classes: names for the picture
        engine, precision: as in `choose`: all places go through it in batches

    Raises RequestError for a layer, class or square that does not fit, and what `choose` raises.
    """
    batch = one_image(image)
    channels, height, width = batch.shape[1:]
    square = max(1, min(height, width) // 5) if square is None else square
    if not 1 <= square <= min(height, width):
        raise RequestError(f"square: expected 1 to {min(height, width)} pixels, found {square}")
    if steps < 2:
        raise RequestError(f"steps: expected at least 2 places along a side, found {steps}")
    colour = batch.mean((0, 2, 3)) if grey is None else torch.tensor(tuple(grey), dtype=batch.dtype)
    if len(colour) != channels:
        raise RequestError(f"grey: expected a number for each of {channels} channels, found {len(colour)}")
    places = [
        (round(row * (height - square) / (steps - 1)), round(column * (width - square) / (steps - 1)))
        for row in range(steps)
        for column in range(steps)
    ]
    projection = None if layer is None else deconvnet(net, batch, layer)
    asked = _Answers(net, layer, projection.unit if projection else None)
    covered = [partial(_covered, place=place, square=square, colour=colour) for place in places]
    found = _run(asked, batch, [torch.clone, *covered], engine, precision)
    scores, sums = (found, None) if layer is None else (found[:, :-1], found[:, -1])
    if target is not None and not 0 <= target < scores.shape[1]:
        raise RequestError(f"target: expected a class from 0 to {scores.shape[1] - 1}, found {target}")
    target = int(scores[0].argmax()) if target is None else target
    probability = scores.softmax(1)[:, target]
    return Occlusion(
        probability=probability[1:].reshape(steps, steps),
        activation=None if sums is None else sums[1:].reshape(steps, steps),
        answers=scores[1:].argmax(1).reshape(steps, steps),
        image=batch[0].detach(),
        target=target,
        clean=float(probability[0]),
        clean_activation=None if sums is None else float(sums[0]),
        layer=layer,
        projection=projection,
        square=square,
        classes=tuple(classes),
    )


def _covered(image: Tensor, place: tuple[int, int], square: int, colour: Tensor) -> Tensor:
    top, left = place
    covered = image.clone()
    covered[:, :, top : top + square, left : left + square] = colour[:, None, None]
    return covered


def _run(
    asked: nn.Module, image: Tensor, views: Sequence[Callable[[Tensor], Tensor]], engine: str, precision: str
) -> Tensor:
    """All views of an image through the fastest engine; no more than a batch of them is made at a time."""
    size = min(len(views), at_a_time(image[0, 0].numel()))
    answers, session = list[Tensor](), None
    with progress("covering", len(views), "places") as bar:
        for start in range(0, len(views), size):
            batch = torch.cat([view(image) for view in views[start : start + size]])
            if session is None:
                session = choose(asked, batch, engine=engine, precision=precision, batches=-(-len(views) // size))
            answers.append(session(batch))
            bar.advance(len(batch))
    return torch.cat(answers)
