"""Networks by name. Each family's file holds its variants as rows of data; this index says which file that is.

The index is written out so that listing names does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from convbench.errors import unknown

if TYPE_CHECKING:
    from torch import nn

FAMILIES = {
    "lenet": ("lenet1", "lenet4", "lenet5", "lenet5_relu"),
    "mlp": ("mlp_300", "mlp_1000", "mlp_300_100", "mlp_500_150"),
}


def names() -> tuple[str, ...]:
    """Every network's name, family by family, in the order of the papers."""
    return tuple(name for family in FAMILIES.values() for name in family)


def build(name: str, *, num_classes: int = 10, in_channels: int = 1, image_size: int | None = None) -> nn.Module:
    """Build a network as published, with fresh weights.

    Args:
        name: one of `names()`
        num_classes: outputs
        in_channels: channels of the images
        image_size: rows and columns of the images; None takes the published size

    Raises RequestError for an unknown name, and for a size or a number of classes that the network cannot take.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    60000
    """
    for family, members in FAMILIES.items():
        if name in members:
            network, arguments = import_module(f"convbench.models.{family}").VARIANTS[name]
            size = {} if image_size is None else {"image_size": image_size}
            built: nn.Module = network(**arguments | size, num_classes=num_classes, in_channels=in_channels)
            return built
    raise unknown("network", name, names())
