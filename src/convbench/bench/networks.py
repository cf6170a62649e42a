"""A network as the user names it: by its name here, or any function or class that makes an nn.Module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from convbench.errors import RequestError, unknown
from convbench.models import build, published_input

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Network:
    """A network and what it reads: input_shape is (channels, height, width)."""

    name: str
    net: nn.Module
    input_shape: Shape


def open_network(
    spec: str,
    *,
    image_size: int | None = None,
    in_channels: int | None = None,
    num_classes: int | None = None,
) -> Network:
    """The network that `spec` names: `vgg16`, or `torchvision.models:vgg16`, a callable of any module.

    Args:
        image_size: rows and columns; by default as published, and 224 for a callable
        in_channels: by default as published, and 3 for a callable
        num_classes: outputs of a network given by name; by default as published

    A callable is called without arguments, in the working directory's modules, too; what it returns must be an
    nn.Module. Its random numbers are whatever the caller's generator gives.

    Raises RequestError for an unknown name, module or callable, and where num_classes is given to a callable.
    """
    if ":" in spec:
        if num_classes is not None:
            raise RequestError(f"{spec} decides itself how many outputs it has: expected no number of classes")
        side = image_size or 224
        return Network(spec, _call(spec), (in_channels or 3, side, side))
    channels, side, _ = published_input(spec)
    shape = (in_channels or channels, image_size or side, image_size or side)
    net = build(spec, num_classes=num_classes, in_channels=shape[0], image_size=shape[1])
    return Network(spec, net, shape)


def _call(spec: str) -> nn.Module:
    module_name, _, attribute = spec.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise RequestError(f"{spec}: expected a module that can be imported, found {error}") from error
    makers = [name for name, value in vars(module).items() if isinstance(value, Callable)]  # type: ignore[arg-type]
    if attribute not in makers:
        raise unknown(f"callable of {module_name}", attribute, makers)
    net = getattr(module, attribute)()
    if not isinstance(net, nn.Module):
        raise RequestError(f"{spec}: expected a callable that returns an nn.Module, found {type(net).__name__}")
    return net
