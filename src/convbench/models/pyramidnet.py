"""PyramidNet: a residual network that grows a little wider at every block, not only where the size halves.

Han, Kim & Kim, Deep pyramidal residual networks, CVPR 2017, arXiv:1610.02915. For CIFAR-10, 32 px:

    layer   output   110 layers                        164 layers, bottlenecks
    conv1   32x32    3x3, 16, batch normalisation      the same
    conv2   32x32    18 x (3x3, w; 3x3, w)             18 x (1x1, w; 3x3, w; 1x1, 4 w)
    conv3   16x16    18 x (3x3, w; 3x3, w)             18 x (1x1, w; 3x3, w; 1x1, 4 w)
    conv4   8x8      18 x (3x3, w; 3x3, w)             18 x (1x1, w; 3x3, w; 1x1, 4 w)
    fc      1x1      batch normalisation, ReLU, global average, 10 classes

    network              widths w        parameters    multiply-adds
    pyramidnet110_a48    17, 18 ... 64    1,772,706      403,813,504
    pyramidnet110_a84    18, 19 ... 100   3,904,446      772,168,168
    pyramidnet110_a270   21, 26 ... 286  28,485,477    4,717,983,724
    pyramidnet164_a270   21, 26 ... 286  27,216,021    4,569,837,040

The width of block k of N is 16 + alpha k / N, rounded: alpha maps are added in all, in equal steps. A block has no
ReLU before its first convolution nor after the addition, and a batch normalisation after its last convolution. Its
shortcut has no parameters: the identity, averaged over 2x2 pixels where the size halves, with maps of zeros after it.

Departures
- The printed recursion floors each width before the next step is added to it, so that with alpha < N no layer would
  ever grow. As in the authors' code the sum is kept exactly, and rounded (halves up) for each layer alone.
- The initialisation is the authors' code's: convolutions as in He et al. 2015 with the fan of the output; fc uniform
  within 1 / sqrt(inputs), its bias 0.
- Published parameters (1.7, 3.8, 28.3, 27.0 millions) leave batch normalisation out, or cut instead of rounding.
- A 2x2 window that an odd size cuts off averages the pixels that it has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.layers import ConvBNReLU, GlobalAvgPool, init_he

FIRST_WIDTH = 16
STAGES = 3  # conv2, conv3, conv4


def widths(alpha: int, blocks: int) -> tuple[int, ...]:
    """The width of each block.

    >>> widths(48, 54)[:5], widths(48, 54)[-3:]
    ((17, 18, 19, 20, 20), (62, 63, 64))
    """
    return tuple(math.floor(FIRST_WIDTH + alpha * k / blocks + 0.5) for k in range(1, blocks + 1))


class Basic(nn.Sequential):
    """Batch normalisation and two 3x3 convolutions (figure 6d)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv1 = ConvBNReLU(in_channels, width, 3, stride=stride)
        self.conv2 = ConvBNReLU(width, width, 3, relu=False)


class Bottleneck(nn.Sequential):
    """Batch normalisation, 1x1, 3x3 and 1x1 convolutions, the last to four times the width."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.conv1 = ConvBNReLU(in_channels, width, 1)
        self.conv2 = ConvBNReLU(width, width, 3, stride=stride)
        self.conv3 = ConvBNReLU(width, 4 * width, 1, relu=False)


class ZeroMaps(nn.Module):
    """`extra` maps of zeros after those of the input."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))


class ResidualBlock(nn.Module):
    """F(x) + shortcut(x), with nothing after the addition."""

    def __init__(self, residual: nn.Module, extra: int, stride: int) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = nn.Sequential()
        if stride == 2:
            self.shortcut.append(nn.AvgPool2d(2, ceil_mode=True))
        if extra:
            self.shortcut.append(ZeroMaps(extra))

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.residual(x) + self.shortcut(x)
        return total


class PyramidNet(nn.Sequential):
    """The additive pyramidal networks for CIFAR.

    Args:
        depth: weighted layers; a block has two of them, or three with bottlenecks
        alpha: maps that the last block has more than the stem
        bottleneck: whether blocks are bottlenecks
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Every size works: odd ones are rounded up where they are halved.
    """

    stages = ("conv1", "conv2", "conv3", "conv4")

    def __init__(
        self,
        *,
        depth: int,
        alpha: int,
        bottleneck: bool,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        layers = Bottleneck if bottleneck else Basic
        blocks = (depth - 2) // (3 if bottleneck else 2)
        self.conv1 = ConvBNReLU(in_channels, FIRST_WIDTH, 3, relu=False)
        channels, width = FIRST_WIDTH, iter(widths(alpha, blocks))
        for number in range(2, 2 + STAGES):
            stage = nn.Sequential()
            for index in range(blocks // STAGES):
                stride = 2 if index == 0 and number > 2 else 1
                residual = layers(channels, w := next(width), stride)
                stage.append(ResidualBlock(residual, w * layers.expansion - channels, stride))
                channels = w * layers.expansion
            self.add_module(f"conv{number}", stage)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        init_he(self, fan="fan_out")
        bound = self.fc.in_features**-0.5
        self.fc.weight.uniform_(-bound, bound)


VARIANTS = {
    "pyramidnet110_a48": (PyramidNet, {"depth": 110, "alpha": 48, "bottleneck": False}),
    "pyramidnet110_a84": (PyramidNet, {"depth": 110, "alpha": 84, "bottleneck": False}),
    "pyramidnet110_a270": (PyramidNet, {"depth": 110, "alpha": 270, "bottleneck": False}),
    "pyramidnet164_a270": (PyramidNet, {"depth": 164, "alpha": 270, "bottleneck": True}),
}
