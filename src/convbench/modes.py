"""A module's mode, borrowed and given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from torch import nn


@contextmanager
def borrowed_mode(net: nn.Module, *, training: bool) -> Iterator[None]:
    """`net.train(training)` for the block; then every submodule gets back the mode that it had."""
    modes = {module: module.training for module in net.modules()}
    net.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def evaluation_mode(net: nn.Module) -> AbstractContextManager[None]:
    """`net.eval()` for the block; afterwards every submodule has the mode that it had."""
    return borrowed_mode(net, training=False)
