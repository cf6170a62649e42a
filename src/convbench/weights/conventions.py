"""What weights were trained with beside the architecture: a network computes something else where these differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from torch import nn

from convbench.errors import RequestError, unknown
from convbench.layers import SameConv2d, SameMaxPool2d
from convbench.weights.foreign.origin import Origin

CONVENTIONS = ("bn_eps", "relu6", "same_padding", "avg_pool_counts_padding")  # fields of Origin, too


def conventions_of(net: nn.Module) -> dict[str, Any]:
    """The conventions of `net`, those that it has modules for.

    bn_eps: of its batch normalisations, where they agree
    relu6: whether rectifiers stop at 6
    same_padding: whether padding is TensorFlow's SAME
    avg_pool_counts_padding: whether padding pixels count in the means of average pooling

    >>> conventions_of(nn.Sequential(nn.BatchNorm2d(8), nn.ReLU6()))
    {'bn_eps': 1e-05, 'relu6': True}
    """
    modules = list(net.modules())
    eps = {module.eps for module in modules if isinstance(module, nn.BatchNorm2d)}
    capped = {isinstance(module, nn.ReLU6) for module in modules if isinstance(module, nn.ReLU | nn.ReLU6)}
    same = {module.same for module in modules if isinstance(module, SameConv2d | SameMaxPool2d)}
    counts = {module.count_include_pad for module in modules if _is_padded_mean(module)}
    found: dict[str, set[Any]] = dict(zip(CONVENTIONS, (eps, capped, same, counts), strict=True))
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def conventions_of_origin(origin: Origin) -> dict[str, Any]:
    """The conventions that the weights of a library were trained with, where they are known."""
    known = {name: getattr(origin, name) for name in CONVENTIONS}
    return {name: value for name, value in known.items() if value is not None}


def check_conventions(conventions: Any) -> None:
    """RequestError for what is not a table of known conventions, as a file's metadata may hold."""
    if not isinstance(conventions, Mapping):
        raise RequestError(f"conventions: expected a table such as {{'bn_eps': 1e-5}}, found {conventions!r}")
    for name, value in conventions.items():
        if name not in CONVENTIONS:
            raise unknown("convention", name, CONVENTIONS)
        if type(value) is not (float if name == "bn_eps" else bool):
            expected = "a number such as 1e-5" if name == "bn_eps" else "true or false"
            raise RequestError(f"conventions.{name}: expected {expected}, found {value!r}")


def apply_conventions(net: nn.Module, conventions: Mapping[str, Any]) -> None:
    """Change `net`, in place, to compute as `conventions` say; rectifiers are replaced by new modules."""
    check_conventions(conventions)
    for parent in list(net.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.ReLU | nn.ReLU6) and "relu6" in conventions:
                setattr(parent, name, nn.ReLU6() if conventions["relu6"] else nn.ReLU())
            elif isinstance(module, nn.BatchNorm2d) and "bn_eps" in conventions:
                module.eps = conventions["bn_eps"]
            elif isinstance(module, SameConv2d | SameMaxPool2d) and "same_padding" in conventions:
                module.same = conventions["same_padding"]
            elif _is_padded_mean(module) and "avg_pool_counts_padding" in conventions:
                module.count_include_pad = conventions["avg_pool_counts_padding"]


def _is_padded_mean(module: nn.Module) -> TypeGuard[nn.AvgPool2d]:
    return isinstance(module, nn.AvgPool2d) and module.padding != 0
