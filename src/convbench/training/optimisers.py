"""Optimisers by name: torch's, and those that it lacks; and what the papers do to weights beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convbench.training.recipe import Recipe
from convbench.training.rmsprop import TensorFlowRMSprop
from convbench.training.sdlm import StochasticDiagonalLM


def make_optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser that `recipe` names, of what learns; its learning rate is set anew before each step."""
    choice = recipe.optimiser
    groups = decayed_groups(net, choice.weight_decay, depthwise=choice.decay_depthwise)
    match choice.name:
        case "sdlm":
            return StochasticDiagonalLM(net.parameters(), lr=choice.lr, mu=choice.mu)
        case "adamw":
            return torch.optim.AdamW(groups, lr=choice.lr, fused=True)
        case "sgd":
            return torch.optim.SGD(groups, lr=choice.lr, momentum=choice.momentum, nesterov=choice.nesterov, fused=True)
        case "rmsprop":
            return TensorFlowRMSprop(
                groups, lr=choice.lr, alpha=choice.alpha, epsilon=choice.epsilon, momentum=choice.momentum
            )


def decayed_groups(net: nn.Module, weight_decay: float, *, depthwise: bool) -> list[dict[str, Any]]:
    """What learns, with its weight decay: none for the filters of depthwise convolutions unless `depthwise`."""
    spared = [] if depthwise else [layer.weight for layer in net.modules() if is_depthwise(layer)]
    learning = [one for one in net.parameters() if one.requires_grad and not any(one is other for other in spared)]
    groups: list[dict[str, Any]] = [{"params": learning, "weight_decay": weight_decay}]
    return [*groups, {"params": spared, "weight_decay": 0.0}] if spared else groups


def is_depthwise(layer: nn.Module) -> bool:
    """Whether each filter of a convolution reads one channel of several."""
    return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels


@torch.no_grad()
def renormalise_filters(net: nn.Module, radius: float) -> None:
    """Scale the filters of convolutions whose root mean square exceeds `radius` to it (Zeiler & Fergus 2014, 3)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            rms = layer.weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            layer.weight.mul_((radius / rms).clamp(max=1))
