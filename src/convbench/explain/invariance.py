"""How far features and answer move when the image is moved, enlarged or turned (after Zeiler & Fergus 2014, figure 5).

The amounts, and the direction in which the image is moved, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from convbench.activations import watch
from convbench.errors import RequestError, unknown
from convbench.evaluation.scoring import at_a_time, device_of
from convbench.explain.curves import Curve, draw_curves
from convbench.explain.deconvnet import one_image
from convbench.explain.figure import Figure, Tile, join, sheet, stretched
from convbench.explain.projection import readable, require_maps, require_scores
from convbench.modes import evaluation_mode

CHANGES = {
    "translation": tuple(float(pixels) for pixels in range(-60, 61, 10)),  # of an image that is 224 wide
    "scale": (1.0, 1.2, 1.4, 1.6, 1.8),
    "rotation": tuple(float(angle) for angle in range(0, 360, 15)),
}
UNITS = {"translation": "pixels to the right", "scale": "times", "rotation": "degrees"}


@dataclass(frozen=True)
class Invariance:
    """amounts: of the change; images: the image changed so; (n, channels, h, w)

    distances: for each layer, of the features to those of the unchanged image (Euclidean), in lengths of the latter
    probability: of `target`, 0 to 1
    classes: their names; empty where they are not known
    """

    change: str
    amounts: tuple[float, ...]
    images: Tensor
    distances: Mapping[str, tuple[float, ...]]
    target: int
    probability: tuple[float, ...]
    classes: tuple[str, ...] = ()

    @cached_property
    def figure(self) -> Figure:
        """The changed images, the distances, and the probability."""
        shown = stretched(self.images)
        tiles = [Tile(one, f"{amount:g}") for one, amount in zip(shown, self.amounts, strict=True)]
        images = sheet(
            [tiles[start : start + 8] for start in range(0, len(tiles), 8)], f"{self.change}, {UNITS[self.change]}"
        )
        curves = [Curve(layer, self.amounts, values) for layer, values in self.distances.items()]
        name = self.classes[self.target] if self.classes else f"class {self.target}"
        answers = [Curve(name, self.amounts, self.probability)]
        axis = f"{self.change}, {UNITS[self.change]}"
        drawn = join(draw_curves(curves, axis, "distance of features"), draw_curves(answers, axis, "probability"))
        return join(images, drawn)

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the images."""
        keys = ("change", "amounts", "target", "probability")
        return {**{key: getattr(self, key) for key in keys}, "distances": dict(self.distances)}


def invariance(
    net: nn.Module,
    image: Tensor,
    layers: Sequence[str],
    change: str = "translation",
    amounts: Sequence[float] | None = None,
    *,
    target: int | None = None,
    classes: Sequence[str] = (),
) -> Invariance:
    """Change an image more and more, and see how far the features of `layers` and the answer move.

    Args:
        net: any module whose output is (n, classes) scores; left as it is
        image: (channels, h, w) or a batch of one, prepared as the network reads it
        change: "translation" (amounts in pixels to the right), "scale" (1 is unchanged) or "rotation" (in degrees)
        amounts: by default up to 60/224 of the image's width to either side, up to 1.8 times, or a full turn
        target: the class whose probability is followed; by default the most probable in the unchanged image
        classes: names for the picture

    What comes into the image from outside has the image's mean colour.
    Raises RequestError for an unknown change or layer, no layers or amounts, an image that `net` cannot read, a layer
    without maps or values, and a network whose output is no scores.
    """
    if change not in CHANGES:
        raise unknown("change", change, list(CHANGES))
    batch = one_image(image).detach()
    amounts = _default_amounts(change, batch.shape[3]) if amounts is None else tuple(amounts)
    if not layers:
        raise RequestError("layers: expected the name of at least one, found none")
    if not amounts or not all(map(math.isfinite, amounts)):
        raise RequestError(f"amounts: expected at least one, and finite numbers, found {list(amounts)}")
    if change == "scale" and min(amounts) <= 0:
        raise RequestError(f"scale: expected amounts above 0, found {min(amounts)}")
    changed = torch.cat([batch, *(_changed(batch, change, amount) for amount in amounts)])
    wanted = list(dict.fromkeys((*layers, "")))
    seen: dict[str, list[Tensor]] = {layer: [] for layer in wanted}
    with evaluation_mode(net), torch.no_grad():
        for some in changed.split(at_a_time(batch[0, 0].numel())):
            here = some.to(device_of(net))
            with readable(net, batch):
                found = watch(net, here, wanted, _seen)
            for layer, values in found.items():
                seen[layer].append(values)
    features = {layer: torch.cat(values) for layer, values in seen.items()}
    scores = features[""]
    target = int(scores[0].argmax()) if target is None else target
    if not 0 <= target < scores.shape[1]:
        raise RequestError(f"target: expected a class from 0 to {scores.shape[1] - 1}, found {target}")
    return Invariance(
        change=change,
        amounts=amounts,
        images=changed[1:],
        distances={layer: _distances(features[layer]) for layer in layers},
        target=target,
        probability=tuple(scores[1:].softmax(1)[:, target].tolist()),
        classes=tuple(classes),
    )


def _default_amounts(change: str, width: int) -> tuple[float, ...]:
    if change != "translation":
        return CHANGES[change]
    return tuple(dict.fromkeys(float(round(pixels * width / 224)) for pixels in CHANGES[change]))


def _seen(output: Any, layer: str) -> Tensor:
    """A copy, as what follows a layer may overwrite its output."""
    checked = require_maps(output, layer) if layer else require_scores(output)
    return checked.flatten(1).cpu().clone()


def _changed(image: Tensor, change: str, amount: float) -> Tensor:
    how: dict[str, Callable[[float], dict[str, object]]] = {
        "translation": lambda pixels: {"translate": [pixels, 0.0], "scale": 1.0, "angle": 0.0},
        "scale": lambda factor: {"translate": [0.0, 0.0], "scale": factor, "angle": 0.0},
        "rotation": lambda angle: {"translate": [0.0, 0.0], "scale": 1.0, "angle": angle},
    }
    fill = image.mean((0, 2, 3)).tolist()
    moved: Tensor = v2.affine(
        image, shear=[0.0, 0.0], interpolation=InterpolationMode.BILINEAR, fill=fill, **how[change](amount)
    )
    return moved


def _distances(features: Tensor) -> tuple[float, ...]:
    length = features[0].norm().clamp(min=torch.finfo(features.dtype).tiny)
    return tuple(((features[1:] - features[0]).norm(dim=1) / length).tolist())
