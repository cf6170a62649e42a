"""Networks by name. Each family's file holds its variants as rows of data; this index says which file that is.

The index is written out so that listing names does not import torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from convbench.errors import RequestError, unknown

if TYPE_CHECKING:
    from torch import nn

FAMILIES = {
    "lenet": ("lenet1", "lenet4", "lenet5", "lenet5_relu"),
    "mlp": ("mlp_300", "mlp_1000", "mlp_300_100", "mlp_500_150"),
}


def names() -> tuple[str, ...]:
    """Every network's name, family by family, in the order of the papers."""
    return tuple(name for family in FAMILIES.values() for name in family)


def build(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
) -> nn.Module:
    """Build a network with fresh weights, as published where nothing else is asked for.

    Args:
        name: one of `names()`
        num_classes: outputs
        in_channels: channels of the images
        image_size: rows and columns of the images

    Raises RequestError for an unknown name, and for a size or a number of classes that the network cannot take.

    >>> sum(p.numel() for p in build("lenet5").parameters())
    60000
    """
    network, arguments = variant(name)
    asked = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    for key, value in asked.items():
        if value is not None and value < 1:
            raise RequestError(f"{name}: {key} must be 1 or more, found {value}")
    built: nn.Module = network(**arguments | {key: value for key, value in asked.items() if value is not None})
    return built


def published_input(name: str) -> tuple[int, int, int]:
    """(channels, height, width) of the images that the network `name` was published for.

    >>> published_input("lenet5")
    (1, 32, 32)
    """
    network, arguments = variant(name)
    defaults = {key: value.default for key, value in inspect.signature(network).parameters.items()} | arguments
    return defaults["in_channels"], defaults["image_size"], defaults["image_size"]


def variant(name: str) -> tuple[Callable[..., nn.Module], dict[str, Any]]:
    """The class of the network `name` and the arguments that make it that variant; RequestError for an unknown name."""
    for family, members in FAMILIES.items():
        if name in members:
            network, arguments = import_module(f"convbench.models.{family}").VARIANTS[name]
            return network, arguments
    raise unknown("network", name, names())
