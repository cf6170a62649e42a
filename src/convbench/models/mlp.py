"""The fully connected networks that LeNet-5 was compared with.

LeCun, Bottou, Bengio & Haffner, Proc. IEEE 86(11), 1998, section III.C, items 5 and 6 (figure 9).

    name          784 inputs, 10 outputs   parameters
    mlp_300       300                         238,510
    mlp_1000      1000                        795,010
    mlp_300_100   300, 100                    266,610
    mlp_500_150   500, 150                    469,160

The text calls the last one 28x28-1000-150-10, the figures 28x28-500-150-10; the multiply-adds of figure 11 (469
thousand) say that the figures are right.

Departures: the paper does not state these nets' units; taken are LeNet-5's scaled tanh and initialisation (lenet.py).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from convbench.models.lenet import ScaledTanh


class MLP(nn.Sequential):
    """Full layers of the given widths, every one squashed.

    Args:
        widths: units of the hidden layers
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)
    """

    def __init__(
        self, *, widths: tuple[int, ...], num_classes: int = 10, in_channels: int = 1, image_size: int = 28
    ) -> None:
        super().__init__()
        self.stages = tuple(f"f{number}_squash" for number in range(1, len(widths) + 1))
        self.flatten = nn.Flatten()
        inputs = in_channels * image_size**2
        for number, width in enumerate((*widths, num_classes), start=1):
            layer = nn.Linear(inputs, width)
            with torch.no_grad():
                bound = 2.4 / math.sqrt(inputs)
                layer.weight.uniform_(-bound, bound)
                layer.bias.uniform_(-bound, bound)
            self.add_module(f"f{number}", layer)
            self.add_module(f"f{number}_squash", ScaledTanh())
            inputs = width


VARIANTS = {
    "mlp_300": (MLP, {"widths": (300,)}),
    "mlp_1000": (MLP, {"widths": (1000,)}),
    "mlp_300_100": (MLP, {"widths": (300, 100)}),
    "mlp_500_150": (MLP, {"widths": (500, 150)}),
}
