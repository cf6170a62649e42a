"""The cost of a network by name, or of any module."""

from __future__ import annotations

from torch import nn

from convbench.counting import Cost, trace
from convbench.errors import RequestError
from convbench.models import build, published_input


def cost(
    net: nn.Module | str, input_shape: tuple[int, int, int] | None = None, *, num_classes: int | None = None
) -> Cost:
    """Count one image's forward pass: layer by layer, and in total.

    Args:
        net: a network's name, or any nn.Module
        input_shape: (channels, height, width); by default the published one of a network given by name
        num_classes: outputs of a network given by name; by default the published number

    Raises RequestError for an unknown name or a shape that the network cannot read.

    >>> cost("lenet5").connections
    340908
    """
    if isinstance(net, nn.Module):
        if input_shape is None:
            raise RequestError("cost of a module needs input_shape=(channels, height, width), such as (1, 28, 28)")
        return trace(net, input_shape)
    if input_shape is None:
        input_shape = published_input(net)
    channels, height, width = input_shape
    if height != width:
        raise RequestError(f"{net} is built for square images, found {height}x{width}: give one side")
    built = build(net, num_classes=num_classes, in_channels=channels, image_size=height)
    return trace(built, input_shape, net)
