"""Optimisers by name: torch's, and the one that it lacks."""

from __future__ import annotations

import torch
from torch import nn

from convbench.training.recipe import Recipe
from convbench.training.sdlm import StochasticDiagonalLM


def make_optimiser(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser that `recipe` names; its learning rate is set anew before each step."""
    choice = recipe.optimiser
    match choice.name:
        case "sdlm":
            return StochasticDiagonalLM(net.parameters(), lr=choice.lr, mu=choice.mu)
        case "adamw":
            return torch.optim.AdamW(net.parameters(), lr=choice.lr, weight_decay=choice.weight_decay, fused=True)
        case "sgd":
            return torch.optim.SGD(
                net.parameters(),
                lr=choice.lr,
                momentum=choice.momentum,
                nesterov=choice.nesterov,
                weight_decay=choice.weight_decay,
                fused=True,
            )
        case "rmsprop":
            return torch.optim.RMSprop(
                net.parameters(),
                lr=choice.lr,
                alpha=choice.alpha,
                eps=choice.epsilon,
                momentum=choice.momentum,
                weight_decay=choice.weight_decay,
            )
