"""A classification network's layers as the trunk of a detector: the same modules, and what some of them make."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from convbench.errors import unknown


class Trunk(nn.Sequential):
    """The children of `net` up to the last of `taps`, under their own names, so that its weights fit.

    It gives the tapped children's outputs, in the order of `taps`, which is that of the network.
    """

    def __init__(self, net: nn.Sequential, taps: Sequence[str]) -> None:
        super().__init__()
        children = dict(net.named_children())
        for tap in taps:
            if tap not in children:
                raise unknown("layer of the trunk", tap, list(children))
        self.taps = tuple(taps)
        for name, child in children.items():
            self.add_module(name, child)
            if name == taps[-1]:
                break

    def forward(self, images: Tensor) -> list[Tensor]:
        found, x = list[Tensor](), images
        for name, child in self.named_children():
            x = child(x)
            if name in self.taps:
                found.append(x)
        return found
