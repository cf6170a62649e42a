"""Training of the last layer alone, on the features of a network that has learnt already."""

from __future__ import annotations

from torch import nn


def head_of(net: nn.Module) -> nn.Module:
    """The last layer that has weights: what answers."""
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]


def freeze_all_but_head(net: nn.Module) -> None:
    """Only the last layer's parameters learn; in place."""
    net.requires_grad_(False)
    head_of(net).requires_grad_(True)
