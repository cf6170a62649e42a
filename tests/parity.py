"""What tests against other libraries share: weights worth comparing, a relative error, one step of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


@torch.no_grad()
def randomise(net: nn.Module) -> nn.Module:
    """Weights and running statistics that tell tensors and channels apart and keep activations near 1."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                module.bias.normal_(0, 0.1)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return net


def relative_error(found: Tensor, expected: Tensor) -> float:
    """max |found - expected| / max |expected|."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def train_one_step(net: nn.Module, loss: Callable[[nn.Module], Tensor]) -> float:
    """One step of SGD without dropout, in double precision; the loss before it."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    net.double().train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    value = loss(net)
    value.backward()
    optimizer.step()
    return value.item()
