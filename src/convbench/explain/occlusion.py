"""What a network answers when a part of the image is covered (Zeiler & Fergus 2014, section 4.2 and figure 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convbench.activations import watch
from convbench.errors import RequestError
from convbench.evaluation.scoring import at_a_time
from convbench.explain.deconvnet import Projection, deconvnet, one_image
from convbench.explain.figure import PALETTE, Figure, Tile, coloured, in_colours, projected, sheet, stretched
from convbench.explain.projection import readable, require_scores
from convbench.modes import evaluation_mode
from convbench.progress import progress
from convbench.timing.choice import AUTO, Choice, choose

Place = tuple[int, int]  # of the square's upper left corner: row, column


@dataclass(frozen=True)
class Occlusion:
    """A map for each question; (rows, columns), one value for each place of the square.

    probability: of `target`, 0 to 1
    activation: of the unit that is watched, summed over its map; None without a layer
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

    def shown(self) -> list[int]:
        """The answers that get a colour of their own, the most frequent first."""
        frequent = self.answers.flatten().bincount().argsort(descending=True, stable=True)
        return [int(index) for index in frequent[: len(PALETTE)] if bool((self.answers == index).any())]

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
        shown = self.shown()
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


class Occluder:
    """Slides a grey square over image after image and sees what the network answers at each place.

    What the engine needs is prepared at the first image and kept for those of the same size: of one image alone that
    is most of the time. Weights that are changed later are not seen by engines that have made something else of them.
    """

    def __init__(
        self,
        net: nn.Module,
        layer: str | None = None,
        unit: int | None = None,
        *,
        square: int | None = None,
        steps: int = 14,
        grey: Sequence[float] | None = None,
        classes: Sequence[str] = (),
        engine: str = AUTO,
        precision: str = "fp32",
        images: float = math.inf,
    ) -> None:
        """Of a network.

        Args:
            net: any module whose output is (n, classes) scores; left as it is
            layer: of which a unit is watched, too; by default none
            unit: which; by default the one with the strongest activation in the clean image
            square: pixels of a side; by default a fifth of the image's shorter side (the paper does not say)
            steps: places along each side, from edge to edge
            grey: of each channel, on the network's scale; by default the image's mean
            classes: names for the picture
            engine, precision: as in `choose`: all places go through it in batches
            images: that are to come; where there is little to do, "auto" is eager

        Raises RequestError for fewer than two places.
        """
        if steps < 2:
            raise RequestError(f"steps: expected at least 2 places along a side, found {steps}")
        self.net, self.layer, self.unit, self.square, self.steps, self.grey = net, layer, unit, square, steps, grey
        self.classes, self.engine, self.precision, self.images = tuple(classes), engine, precision, images
        self.sessions: dict[torch.Size, Choice] = {}  # by the shape of an image
        self.units = 0  # of the layer, once there is a session

    def __call__(self, image: Tensor, target: int | None = None) -> Occlusion:
        """Of an image, (channels, h, w) or a batch of one, prepared as the network reads it.

        target: the class whose probability is asked for; by default the most probable in the clean image

        Raises RequestError for a layer, unit, class, square or grey that does not fit, an image that the network cannot
        read, and a network whose output is no scores; and what `choose` raises.
        """
        batch = one_image(image)
        square, colour = self._square(batch), self._colour(batch)
        projection = None if self.layer is None else deconvnet(self.net, batch, self.layer, self.unit)
        scores, sums = self._answers(batch, self._places(batch, square), square, colour)
        if target is not None and not 0 <= target < scores.shape[1]:
            raise RequestError(f"target: expected a class from 0 to {scores.shape[1] - 1}, found {target}")
        target = int(scores[0].argmax()) if target is None else target
        probability = scores.softmax(1)[:, target]
        activation = sums[:, projection.unit] if projection else None
        sides = self.steps, self.steps
        return Occlusion(
            probability=probability[1:].reshape(sides),
            activation=None if activation is None else activation[1:].reshape(sides),
            answers=scores[1:].argmax(1).reshape(sides),
            image=batch[0].detach(),
            target=target,
            clean=float(probability[0]),
            clean_activation=None if activation is None else float(activation[0]),
            layer=self.layer,
            projection=projection,
            square=square,
            classes=self.classes,
        )

    def _square(self, batch: Tensor) -> int:
        shorter = min(batch.shape[2:])
        square = max(1, shorter // 5) if self.square is None else self.square
        if not 1 <= square <= shorter:
            raise RequestError(f"square: expected 1 to {shorter} pixels, found {square}")
        return square

    def _colour(self, batch: Tensor) -> Tensor:
        colour = batch.mean((0, 2, 3)) if self.grey is None else torch.tensor(tuple(self.grey), dtype=batch.dtype)
        if len(colour) != batch.shape[1]:
            raise RequestError(f"grey: expected a number for each of {batch.shape[1]} channels, found {len(colour)}")
        return colour

    def _places(self, batch: Tensor, square: int) -> list[Place]:
        down, across = ((side - square) / (self.steps - 1) for side in batch.shape[2:])
        return [
            (round(row * down), round(column * across)) for row in range(self.steps) for column in range(self.steps)
        ]

    def _answers(self, image: Tensor, places: Sequence[Place], square: int, colour: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and all units' sums, of the clean image and of each place; in batches of about one size, as an engine
        computes what is missing in one, too."""
        views = [None, *places]
        batches = -(-len(views) // max(1, at_a_time(image[0, 0].numel()) // 3))
        size = -(-len(views) // batches)
        batch, before, found = image.repeat(size, 1, 1, 1), dict[int, Place](), list[Tensor]()
        with progress("covering", len(views), "views") as bar:
            for start in range(0, len(views), size):
                some = views[start : start + size]
                for row, place in enumerate(some):
                    # Small copies alone: after large ones torch's threads go on waiting for more, beside the engine's.
                    if row in before:
                        _at(batch[row], before[row], square).copy_(_at(image[0], before[row], square))
                    if place is not None:
                        _at(batch[row], place, square).copy_(colour[:, None, None])
                        before[row] = place
                found.append(self._session(batch, batches)(batch[: len(some)]))
                bar.advance(len(some))
        answers = torch.cat(found)
        classes = answers.shape[1] - self.units
        return answers[:, :classes], answers[:, classes:]

    def _session(self, batch: Tensor, batches: int) -> Choice:
        shape = batch.shape[1:]
        if shape not in self.sessions:
            asked = _Answers(self.net, self.layer)
            widths = asked.widths(batch[:1])
            self.units = sum(widths[1:])
            self.sessions[shape] = choose(
                *(asked, batch),
                engine=self.engine,
                precision=self.precision,
                batches=batches * self.images,
                widths=widths,
            )
        return self.sessions[shape]


class _Answers(nn.Module):
    """The scores and, beside them, every unit of a layer summed over its map: (n, classes + units)."""

    def __init__(self, net: nn.Module, layer: str | None) -> None:
        super().__init__()
        self.net, self.layers = net, [] if layer is None else [layer]

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat(self.parts(images), 1)

    def parts(self, images: Tensor) -> list[Tensor]:
        seen = watch(self.net, images, ["", *self.layers], _seen)
        return [seen[name] for name in ("", *self.layers)]

    def widths(self, images: Tensor) -> list[int]:
        """How many classes there are, and how many units."""
        with evaluation_mode(self.net), torch.inference_mode(), readable(self.net, images):
            return [part.shape[1] for part in self.parts(images)]


def _seen(output: Any, layer: str) -> Tensor:
    """Scores, of the network, or a layer's units, each summed over its map."""
    if not layer:
        return require_scores(output)
    summed: Tensor = output.flatten(2).sum(2) if output.dim() == 4 else output
    return summed


def occlusion(
    net: nn.Module,
    image: Tensor,
    layer: str | None = None,
    unit: int | None = None,
    *,
    target: int | None = None,
    square: int | None = None,
    steps: int = 14,
    grey: Sequence[float] | None = None,
    classes: Sequence[str] = (),
    engine: str = AUTO,
    precision: str = "fp32",
) -> Occlusion:
    """Slide a grey square over one image and see what the network answers at each place: as `Occluder`, for once."""
    occluder = Occluder(
        *(net, layer, unit),
        square=square,
        steps=steps,
        grey=grey,
        classes=classes,
        engine=engine,
        precision=precision,
        images=1,
    )
    return occluder(image, target)


def _at(image: Tensor, place: Place, square: int) -> Tensor:
    """The part of an image that a square covers."""
    top, left = place
    return image[:, top : top + square, left : left + square]
