"""Whether a projection depends on what the network has learnt: its weights are made random from the top down.

After Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, who found methods that hardly notice.
"""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from convbench.activations import features
from convbench.evaluation.scoring import device_of
from convbench.explain.curves import Curve, draw_curves
from convbench.explain.deconvnet import Projection, deconvnet, one_image
from convbench.explain.figure import Figure, Tile, join, projected, sheet, stretched
from convbench.explain.projection import Method, project, require_maps
from convbench.modes import evaluation_mode


@dataclass(frozen=True)
class Step:
    """layer: made random last, with all above it

    signed, magnitudes: rank correlation (Spearman's) of the projection with that of the trained network, -1 to 1,
        within the box that the unit sees; of the values, and of their magnitudes summed over the channels; 0 where
        nothing comes down any more
    """

    layer: str
    pixels: Tensor
    signed: float
    magnitudes: float


@dataclass(frozen=True)
class Sanity:
    """trained: the projection that is compared; steps: from the top down"""

    trained: Projection
    steps: tuple[Step, ...]

    @cached_property
    def figure(self) -> Figure:
        """The projection at each step, and the curve of similarity."""
        first = Tile(projected(self.trained.pixels), "trained")
        shown = [Tile(stretched(self.trained.image), "image"), first]
        shown += [Tile(projected(step.pixels), f"{step.layer}: {step.signed:.2f}") for step in self.steps]
        rows = [shown[start : start + 8] for start in range(0, len(shown), 8)]
        names = ["trained", *(step.layer for step in self.steps)]
        curves = [
            Curve("values", names, [1.0, *(step.signed for step in self.steps)]),
            Curve("magnitudes", names, [1.0, *(step.magnitudes for step in self.steps)]),
        ]
        title = (
            f"{self.trained.layer}, unit {self.trained.unit}, {self.trained.method}: weights random from the top down"
        )
        return join(sheet(rows, title), draw_curves(curves, "random down to", "rank correlation"))

    def _repr_html_(self) -> str:
        return self.figure._repr_html_()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the pixels."""
        steps = [{"layer": one.layer, "signed": one.signed, "magnitudes": one.magnitudes} for one in self.steps]
        return {**self.trained.to_dict(), "steps": steps}


def sanity(
    net: nn.Module,
    image: Tensor,
    layer: str,
    unit: int | None = None,
    *,
    method: Method = "deconvnet",
    seed: int = 0,
) -> Sanity:
    """Project one unit, then again and again with one more layer's weights made random, from `layer` downwards.

    Every parameter is drawn anew from a normal distribution of its own mean and deviation; statistics of batch
    normalisation stay. Unit and position stay those of the trained network, and so does what the signal begins with:
    an activation that changes its sign with the weights would turn the picture over, whatever is in it. Layers that
    run before `layer` and do not lead to it, as other branches do, are no steps.

    Args: as in `deconvnet`; a copy of `net` is made random. Raises what `deconvnet` raises.
    """
    trained = deconvnet(net, image, layer, unit, method=method)
    batch, changed = one_image(image).to(device_of(net)), copy.deepcopy(net)
    generator = torch.Generator().manual_seed(seed)

    def as_trained(output: Tensor) -> Tensor:
        there = torch.zeros_like(output)
        there[(0, trained.unit, *(trained.position or ()))] = trained.activation if method == "deconvnet" else 1
        return there

    steps = []
    for name, modules in reversed(_layers_below(changed, batch, layer)):
        with torch.no_grad():
            for parameter in (one for module in modules for one in module.parameters(recurse=False)):
                parameter.copy_(_like(parameter, generator))
        pixels = project(changed, batch, layer, as_trained, method)[0][0]
        now, before = trained.crop(pixels), trained.crop(trained.pixels)
        of_values = _correlation(now, before)
        of_magnitudes = _correlation(now.abs().sum(0), before.abs().sum(0))
        steps.append(Step(name, pixels, of_values, of_magnitudes))
    return Sanity(trained, tuple(steps))


def _layers_below(net: nn.Module, image: Tensor, layer: str) -> list[tuple[str, list[nn.Module]]]:
    """The layers with weights on which the output of `layer` depends, in the order in which they begin.

    Modules whose parameters are vectors alone, such as normalisations, go with the layer before them. All parameters
    of `net` require a gradient afterwards.
    """
    order: dict[str, nn.Module] = {}
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    with ExitStack() as hooks, evaluation_mode(net), torch.enable_grad():
        for name, module in net.named_modules():
            if next(module.parameters(recurse=False), None) is not None:

                def note(module: nn.Module, _: object, name: str = name) -> None:
                    order.setdefault(name, module)

                hooks.callback(module.register_forward_pre_hook(note).remove)
        pixels = image.clone().requires_grad_()  # so that there is a gradient without parameters, too
        output = require_maps(features(net, pixels.clone(), layer), layer)
        asked = [pixels, *(parameter for parameter in net.parameters() if parameter.requires_grad)]
        gradients = torch.autograd.grad(output.sum(), asked, allow_unused=True)
    leading = {id(one) for one, gradient in zip(asked, gradients, strict=True) if gradient is not None}
    layers: list[tuple[str, list[nn.Module]]] = []
    for name, module in order.items():
        if not any(id(parameter) in leading for parameter in module.parameters(recurse=False)):
            continue
        if layers and all(parameter.dim() < 2 for parameter in module.parameters(recurse=False)):
            layers[-1][1].append(module)
        else:
            layers.append((name, [module]))
    return layers


def _like(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Random numbers of the parameter's mean and deviation, made on the processor: the same on every device."""
    deviation = float(parameter.std()) if parameter.numel() > 1 else 0.0
    return float(parameter.mean()) + deviation * torch.randn(parameter.shape, generator=generator)


def _correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's; 0 where one of them is the same everywhere."""
    from scipy.stats import spearmanr  # half a second, which the other explanations need not wait for

    if bool((a == a.flatten()[0]).all()) or bool((b == b.flatten()[0]).all()):
        return 0.0
    return float(spearmanr(a.flatten().double().numpy(), b.flatten().double().numpy()).statistic)
