"""What a network computes on the way: the outputs of named layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

from torch import Tensor, nn

from convbench.errors import unknown

Seen = TypeVar("Seen")


def features(net: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The output of the module named `layer`, computed no farther than that; `net` keeps its mode and hooks.

    Args:
        images: (n, channels, height, width), prepared as the network reads them
        layer: a name in `net.named_modules()`; `net.stages` names the last layer of each stage of convbench's networks

    A layer that runs several times answers with its first output. Gradients flow where they are enabled.
    Raises RequestError for an unknown layer, and for one that does not run (an auxiliary head in evaluation mode).
    """
    found: Tensor = watch(net, images, [layer], lambda output, _: output)[layer]
    return found


def watch(net: nn.Module, images: Tensor, layers: Iterable[str], see: Callable[[Any, str], Seen]) -> dict[str, Seen]:
    """What `see` makes of each layer's output and name, the moment it is there, in one run that ends with the last.

    What follows a layer may overwrite its output in place: `see` is before that. Otherwise as `features`.
    """
    wanted = list(dict.fromkeys(layers))
    modules = dict(net.named_modules())
    for layer in wanted:
        if layer not in modules:
            raise unknown("layer", layer, [name for name in modules if name])
    seen: dict[str, Seen] = {}

    def look(layer: str, _: nn.Module, __: Any, output: Any) -> None:
        if layer not in seen:
            seen[layer] = see(output, layer)
        if len(seen) == len(wanted):
            raise _Reached

    with ExitStack() as hooks:
        for layer in wanted:
            hooks.callback(modules[layer].register_forward_hook(partial(look, layer)).remove)
        try:
            net(images)
        except _Reached:
            return seen
    running = [name for name in getattr(net, "stages", ()) or modules if name]
    raise unknown("layer that runs in this mode", next(one for one in wanted if one not in seen), running)


def output_shapes(net: nn.Module, images: Tensor) -> dict[str, tuple[int, ...]]:
    """The shape of each module's first output, in the order in which they end; of tensors alone, and without the net's
    own. What does not run in this mode is not there."""
    shapes: dict[str, tuple[int, ...]] = {}

    def look(layer: str, _: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            shapes.setdefault(layer, tuple(output.shape))

    with ExitStack() as hooks:
        for layer, module in net.named_modules():
            if layer:
                hooks.callback(module.register_forward_hook(partial(look, layer)).remove)
        net(images)
    return shapes


class _Reached(Exception):  # noqa: N818 (a signal, not an error)
    """All wanted layers have run; the rest of the network need not."""
