"""The cost of a network by name, of any callable that makes one, or of any module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from convbench.bench.networks import Network, open_network
from convbench.counting import Convention, Cost, open_convention, trace
from convbench.detection.registry import names as detectors
from convbench.errors import RequestError


def cost(
    net: nn.Module | Network | str,
    input_shape: tuple[int, ...] | None = None,
    *,
    num_classes: int | None = None,
    convention: Convention | str = "macs",
    inputs: tuple[Any, ...] | None = None,
) -> Cost:
    """Count one image's forward pass, and where the convention says so its backward pass: by layer, and in total.

    Args:
        net: a network's or a detector's name, "module:callable" such as "torchvision.models:resnet50", or any
            nn.Module, which is left as it is
        input_shape: (channels, height, width); by default as published, and (3, 224, 224) of a callable
        num_classes: outputs of a network given by name; by default the published number
        convention: of `counted` and the shares: a name of `CONVENTIONS`, or any Convention
        inputs: what a module takes that does not read one tensor of images, with a batch of one

    Raises RequestError for an unknown name or convention, or a shape that the network cannot read.

    >>> cost("lenet5").connections
    340908
    """
    if isinstance(convention, str):
        convention = open_convention(convention)
    if isinstance(net, str) and net in detectors():
        return replace(_cost_of_detector(net, input_shape, num_classes, convention), convention=convention)
    if isinstance(net, str):
        net = _open(net, input_shape, num_classes)
    if isinstance(net, Network):
        name, module, input_shape = net.name, net.net, net.input_shape
    elif input_shape is None:
        raise RequestError("cost of a module needs input_shape=(channels, height, width), such as (1, 28, 28)")
    else:
        name, module = type(net).__name__, net
    counted = trace(module, input_shape, name, backward=convention.part != "forward", inputs=inputs)
    return replace(counted, convention=convention)


def open_on_meta(
    spec: str, *, image_size: int | None = None, in_channels: int | None = None, num_classes: int | None = None
) -> Network:
    """`open_network` on `meta` tensors, without memory or initial weights, where the network can be built so."""
    arguments = {"image_size": image_size, "in_channels": in_channels, "num_classes": num_classes}
    try:
        with torch.device("meta"):
            return open_network(spec, **arguments)
    except (NotImplementedError, RuntimeError):  # its own building needs values, such as those of a linspace
        return open_network(spec, **arguments)


def _open(spec: str, input_shape: tuple[int, ...] | None, num_classes: int | None) -> Network:
    if input_shape is None:
        return open_on_meta(spec, num_classes=num_classes)
    channels, height, width = input_shape
    if height != width:
        raise RequestError(f"{spec} is built for square images, found {height}x{width}: give one side")
    return open_on_meta(spec, image_size=height, in_channels=channels, num_classes=num_classes)


def _cost_of_detector(
    name: str, input_shape: tuple[int, ...] | None, num_classes: int | None, convention: Convention
) -> Cost:
    """Part after part, of Faster R-CNN with all its proposals: no one pass on `meta` knows which these are."""
    from convbench.detection.parts import detector_cost  # torchvision takes a second to import
    from convbench.detection.parts import open_on_meta as open_detector

    if convention.part != "forward":
        raise RequestError(f"{name} is a detector, whose forward pass alone is counted, found {convention.part}")
    side = None if input_shape is None else input_shape[-1]
    if input_shape not in (None, (3, side, side)):
        raise RequestError(f"{name} reads square images of 3 channels, found {input_shape}")
    net = open_detector(name, num_classes=num_classes)
    if side not in (None, net.side):
        net = open_detector(name, num_classes=num_classes, side=side)
    return detector_cost(net, name)
