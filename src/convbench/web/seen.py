"""What a network sees in a photograph, while a person waits: answers, maps, projections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from convbench import explain
from convbench.bench.evaluate import Loaded
from convbench.bench.explain import fitted
from convbench.bench.predict import Answer, answer_image
from convbench.data.photographs import read_photograph
from convbench.explain import Activations, Layer, Projection
from convbench.explain.figure import as_bytes, stretched
from convbench.explain.projection import Method
from convbench.web.photographs import Photograph, png_of
from convbench.web.recent import Recent
from convbench.web.trained import Trained

Order = Literal["number", "strength"]
TILE = 96  # pixels of a map among others
VIEWS, LAYERS, MAPS = 24, 8, 4  # kept: photographs as networks read them, networks' layers, layers' maps


@dataclass(frozen=True)
class View:
    """A photograph as a network reads it, (channels, h, w).

    shown: in [0, 1]
    image: on the network's scale
    """

    shown: Tensor
    image: Tensor


@dataclass(frozen=True)
class UnitMap:
    """What one unit answers to a photograph.

    name: of the class, where the unit is a class's score
    picture: from black, its least, to white, its greatest; None of a layer without maps
    """

    unit: int
    greatest: float
    name: str | None
    picture: bytes | None


class Seen:
    """Looks with networks that one thread at a time may use, as a pass calls the hooks of another."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained
        self._views, self._layers = Recent[View](VIEWS), Recent[tuple[Layer, ...]](LAYERS)
        self._maps = Recent[Activations](MAPS)

    def layers(self, network: str) -> tuple[Layer, ...]:
        """Those that can be looked into; MissingError for an unknown network."""
        loaded = self.trained.load(network)
        return self._layers.get(self.trained.version(network), lambda: explain.layers(loaded.net, loaded.input_shape))

    def view(self, photograph: Photograph, network: str) -> tuple[Loaded, View]:
        """The network, and the photograph as it reads it."""
        loaded = self.trained.load(network)
        key = photograph.id, self.trained.version(network)
        return loaded, self._views.get(key, lambda: view(loaded, photograph))

    def answers(self, photograph: Photograph, network: str, top: int) -> tuple[View, tuple[Answer, ...]]:
        """The most probable classes."""
        loaded, seen = self.view(photograph, network)
        return seen, answer_image(loaded, seen.image, top)

    def activations(self, photograph: Photograph, network: str, layer: str) -> Activations:
        """All maps of a layer; what `explain.activations` raises."""
        loaded, seen = self.view(photograph, network)
        key = photograph.id, self.trained.version(network), layer
        return self._maps.get(key, lambda: explain.activations(loaded.net, seen.image, layer))

    def unit_maps(
        self, photograph: Photograph, network: str, layer: str, order: Order, first: int, count: int
    ) -> tuple[Activations, list[UnitMap]]:
        """`count` of a layer's units from the `first` on, by their number or the strongest first."""
        found = self.activations(photograph, network, layer)
        maps, greatest = found.maps, found.maps.flatten(1).amax(1)
        numbers = torch.arange(len(maps)) if order == "number" else greatest.argsort(descending=True, stable=True)
        has_maps, classes = maps.shape[1:] != (1, 1), self._classes(network, layer, len(maps))
        return found, [
            UnitMap(
                unit,
                float(greatest[unit]),
                classes[unit] if classes else None,
                png_of(as_bytes(_small(stretched(maps[unit])[None]))) if has_maps else None,
            )
            for unit in numbers[first : first + count].tolist()
        ]

    def projection(
        self,
        photograph: Photograph,
        network: str,
        layer: str,
        unit: int | None,
        position: tuple[int, int] | None,
        method: Method,
    ) -> tuple[Projection, Tensor]:
        """Of one unit, and its map; what `explain.deconvnet` raises."""
        loaded, seen = self.view(photograph, network)
        found = explain.deconvnet(loaded.net, seen.image, layer, unit, position, method=method)
        _ = found.box  # here, as it runs the network
        return found, self.activations(photograph, network, layer).maps[found.unit]

    def _classes(self, network: str, layer: str, units: int) -> tuple[str, ...]:
        """Their names, where the layer is the last and its units are classes."""
        classes, last = self.trained.load(network).classes, self.layers(network)[-1]
        return classes if (last.name, last.units) == (layer, units) and len(classes) == units else ()


def view(loaded: Loaded, photograph: Photograph) -> View:
    """The photograph as the network reads it; RequestError where it is too long and narrow."""
    pixels = photograph.pixels
    if loaded.input_shape[0] == 1:
        pixels = read_photograph(Image.fromarray(pixels.permute(1, 2, 0).numpy()), 1)
    todo = fitted(loaded)
    shown = todo.geometry(pixels[None])
    return View(shown[0], todo.scale(shown)[0])


def _small(picture: Tensor) -> Tensor:
    longer = max(picture.shape[1:])
    if longer <= TILE:
        return picture
    size = [max(1, round(side * TILE / longer)) for side in picture.shape[1:]]
    return F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
