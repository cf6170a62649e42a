"""What a network computes on the way: the output of any named layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convbench.errors import unknown


def features(net: nn.Module, images: Tensor, layer: str) -> Tensor:
    """The output of the module named `layer`, computed no farther than that; `net` keeps its mode and hooks.

    Args:
        images: (n, channels, height, width), prepared as the network reads them
        layer: a name in `net.named_modules()`; `net.stages` names the last layer of each stage of convbench's networks

    A layer that runs several times answers with its first output. Gradients flow where they are enabled.
    Raises RequestError for an unknown layer, and for one that does not run (an auxiliary head in evaluation mode).
    """
    modules = dict(net.named_modules())
    if layer not in modules:
        raise unknown("layer", layer, [name for name in modules if name])
    found: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> None:
        found.append(output)
        raise _Reached

    hook = modules[layer].register_forward_hook(keep)
    try:
        net(images)
    except _Reached:
        return found[0]
    finally:
        hook.remove()
    running = [name for name in getattr(net, "stages", ()) or modules if name]
    raise unknown("layer that runs in this mode", layer, running)


class _Reached(Exception):  # noqa: N818 (a signal, not an error)
    """The layer has run; the rest of the network need not."""
