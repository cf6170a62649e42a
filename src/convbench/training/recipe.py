"""A recipe: how a network is trained, frozen and validated, read from TOML."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from convbench.data.box_views import BoxView
from convbench.data.distort import Distortion
from convbench.data.preprocessing import Preprocessing
from convbench.data.views import View
from convbench.errors import RequestError
from convbench.schema import parse, read_toml
from convbench.training.precision import Precision

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Optimiser:
    """The rule that turns gradients into steps.

    name: "sgd", "adamw", "rmsprop" (as the papers' TensorFlow has it), or "sdlm", LeCun's stochastic diagonal
        Levenberg-Marquardt
    lr: the learning rate; with the schedule "steps" the schedule says it, and this stays 0
    momentum, nesterov: of sgd; rmsprop has the first
    weight_decay: of all but sdlm
    decay_depthwise: whether it also pulls at the filters of depthwise convolutions (MobileNet's has little or none)
    alpha, epsilon: of rmsprop, the decay of its mean of squares and what is added to it under the root
    mu, curvature_samples: of sdlm (step = lr / (mu + curvature), curvature estimated on so many images an epoch)
    """

    name: Literal["sgd", "adamw", "rmsprop", "sdlm"]
    lr: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    decay_depthwise: bool = True
    alpha: float = Field(default=0.9, gt=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    mu: float = Field(default=0.02, gt=0)
    curvature_samples: int = Field(default=500, ge=1)

    def __post_init__(self) -> None:
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise RequestError("optimiser.momentum: expected a number above 0 with nesterov, such as 0.9, found 0")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Schedule:
    """How the learning rate runs over the training. What is a share of the training stretches with its epochs.

    name: "constant"; "one_cycle" (up linearly over the share `warmup` of all steps, then linearly down to 0); "cuts"
        (times `factor` at each of the shares `cuts`); "exponential" (times `factor` every `every` epochs); "plateau"
        (times `factor` when for `patience` epochs the error on the images held out has not fallen, `most` times at
        most); or "steps" (`steps` lists [epochs, learning rate] in turn)
    gentle: [epochs, factor]: so long the rate is that many times the schedule's, before it begins as it should
    """

    name: Literal["constant", "one_cycle", "cuts", "exponential", "plateau", "steps"] = "constant"
    warmup: float = Field(default=0.3, gt=0, lt=1)
    factor: float = Field(default=0.1, gt=0, lt=1)
    cuts: tuple[float, ...] = ()
    every: float = Field(default=2, gt=0)
    patience: int = Field(default=5, ge=1)
    most: int = Field(default=3, ge=1)
    steps: tuple[tuple[int, float], ...] = ()
    gentle: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.name == "cuts" and not (self.cuts and all(0 < a < b < 1 for a, b in pairwise((*self.cuts, 1 - 1e-9)))):
            raise RequestError(f"schedule.cuts: expected shares between 0 and 1 that rise, found {self.cuts}")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """All that a training depends on but the seed.

    description: one sentence, with the source of the figures
    network: the network's name; num_classes, in_channels and image_size follow from data and preprocessing
    arguments: others that the network is built with, such as {"width_multiplier" = 0.5}
    data: the data set's name or folder
    stored: photographs are kept in memory with so many pixels on the shorter side, cut to the central square
    images: so many of the training images, chosen by chance, are learnt from; default all
    held_out: so many of the training images are not learnt from; the error on them steers the schedule "plateau"
    loss: "cross_entropy" (with label_smoothing), "mse" (half the squared distance to targets of +-1),
        "mle" (the right class's penalty alone), "map" (with competition between classes; j is map_j) or "detection"
        (the detector's own, as its paper has it)
    boxes: how the images of a detector's training are seen; default as SSD's paper says
    channels_last: keep activations as (n, h, w, c) in memory, which convolutions on processors like
    precision: of products: "auto" (bf16 where it is native), "fp32", "bf16" or "fp16"
    compile: by torch.compile: "auto" (on GPUs), "on" or "off"
    pieces: in which a batch goes through the network, where it is too large for the memory; batch normalisation sees
        one at a time
    clip_norm: the longest that the vector of all gradients may be
    average: the decay, a step, of a running mean of the parameters and of batch normalisation's statistics, which is
        evaluated and kept
    filter_radius: the largest root mean square of a convolution's filter, renormalised after each step
    initial_weights: a file of weights, or a training's state.pt, to begin from; layers that are not in it, or of
        another shape, begin anew
    initial_layers: only those whose names begin so; default all
    head_only: the last layer alone learns
    """

    description: str
    network: str
    data: str
    loss: Literal["cross_entropy", "mse", "mle", "map", "detection"]
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimiser: Optimiser
    schedule: Schedule = field(default_factory=Schedule)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    arguments: dict[str, Any] = field(default_factory=dict)
    stored: int | None = Field(default=None, ge=1)
    images: int | None = Field(default=None, ge=1)
    held_out: int = Field(default=0, ge=0)
    distortion: Distortion | None = None
    view: View | None = None
    boxes: BoxView | None = None
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    map_j: float = Field(default=1.0, gt=0)
    channels_last: bool = False
    precision: Precision = "fp32"
    compile: Literal["auto", "on", "off"] = "off"
    pieces: int = Field(default=1, ge=1)
    clip_norm: float | None = Field(default=None, gt=0)
    average: float | None = Field(default=None, gt=0, lt=1)
    filter_radius: float | None = Field(default=None, gt=0)
    initial_weights: str | None = None
    initial_layers: tuple[str, ...] = ()
    head_only: bool = False

    def __post_init__(self) -> None:
        if self.schedule.name == "steps" and sum(epochs for epochs, _ in self.schedule.steps) != self.epochs:
            raise RequestError(f"schedule.steps must add up to epochs={self.epochs}, found {self.schedule.steps}")
        if self.schedule.name != "steps" and self.optimiser.lr == 0:
            raise RequestError(f"optimiser.lr must be above 0 with the schedule {self.schedule.name!r}, found 0")
        if self.schedule.name == "plateau" and not self.held_out:
            raise RequestError(
                "held_out: expected the images that the schedule 'plateau' goes by, such as 1000, found 0"
            )
        if self.view is not None and self.view.crop in ("shorter", "area"):
            resized, cut = self.preprocessing.size, self.preprocessing.crop
            tested = None if resized is cut is None else (resized or cut or 0) + 2 * self.preprocessing.pad
            if tested != self.view.size:
                raise RequestError(
                    f"view.size: expected the side of what is tested, {tested or 'the whole'} by preprocessing.crop, "
                    f"size and pad, found {self.view.size}; nearest is preprocessing.crop {self.view.size}"
                )

    @property
    def for_photographs(self) -> Preprocessing:
        """The preprocessing that whole photographs need, for which the stored squares stand in training."""
        if self.stored is None or self.preprocessing.shorter is not None:
            return self.preprocessing
        return replace(self.preprocessing, shorter=self.stored)

    def lr(self, progress: float, errors: Sequence[float] = ()) -> float:
        """The learning rate after `progress` epochs (fractions count).

        errors: on the images held out, after each whole epoch so far
        """
        schedule, share = self.schedule, progress / self.epochs
        gentle_epochs, gentle_factor = schedule.gentle
        gentle = gentle_factor if progress < gentle_epochs else 1
        lr = self.optimiser.lr * gentle
        match schedule.name:
            case "steps":
                ends = itertools.accumulate(epochs for epochs, _ in schedule.steps)
                rates = (rate for end, (_, rate) in zip(ends, schedule.steps, strict=True) if progress < end)
                return gentle * next(rates)
            case "one_cycle":
                return lr * min(share / schedule.warmup, (1 - share) / (1 - schedule.warmup))
            case "cuts":
                return lr * schedule.factor ** sum(share >= cut for cut in schedule.cuts)
            case "exponential":
                return lr * schedule.factor ** int(progress // schedule.every)
            case "plateau":
                return lr * schedule.factor ** min(stalls(errors, schedule.patience), schedule.most)
            case "constant":
                return lr

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the record of a run and `parse_recipe` want them."""
        return asdict(self)


def parse_recipe(content: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values; RequestError names the first wrong key or value."""
    return parse(Recipe, content, where)


def open_recipe(name_or_path: str | Path, settings: Mapping[str, Any] | None = None) -> Recipe:
    """A packaged recipe by name or any TOML file by path, with `settings` such as {"optimiser.lr": 0.4} put in.

    Raises RequestError for an unknown recipe, key or value.
    """
    name, content = read_toml(name_or_path, "recipes")
    for dotted, value in (settings or {}).items():
        *parents, key = dotted.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise RequestError(f"{dotted}: {parent} is a value, not a table")
        place[key] = value
    return parse_recipe(content, name)


def parse_setting(text: str) -> Any:
    """The TOML value that `text` spells, else the text itself: 3, 0.4, true, [1, 2], mnist."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_settings(texts: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Settings from texts such as "epochs=5"; RequestError for one that is none.

    option: by which they were given

    >>> parse_settings(["epochs=5", "optimiser.lr=0.1"])
    {'epochs': 5, 'optimiser.lr': 0.1}
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RequestError(f"{option} expects key=value, such as epochs=5, found {text!r}")
        found[key] = parse_setting(value)
    return found


def stalls(errors: Sequence[float], patience: int) -> int:
    """How often the errors have not fallen below their least for `patience` epochs, counted anew after each time.

    >>> stalls([50, 40, 41, 42, 39, 39, 39], patience=2)
    2
    """
    count, best, since = 0, math.inf, 0
    for error in errors:
        best, since = (error, 0) if error < best else (best, since + 1)
        if since == patience:
            count, since = count + 1, 0
    return count


def steps_per_epoch(recipe: Recipe, n: int) -> int:
    """Updates an epoch over `n` images; the last batch may be short."""
    return math.ceil(n / recipe.batch_size)
