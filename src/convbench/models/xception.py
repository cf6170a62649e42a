"""Xception: an Inception network whose modules are depthwise separable convolutions.

Chollet, Xception: Deep Learning with Depthwise Separable Convolutions, CVPR 2017, arXiv:1610.02357, figure 5.

    entry flow   block1       3x3/2 32, 3x3 64, both without padding           147x147x64
                 block2       2 x separable 128, max pooling/2                 74x74x128
                 block3       2 x separable 256, max pooling/2                 37x37x256
                 block4       2 x separable 728, max pooling/2                 19x19x728
    middle flow  block5-12    3 x separable 728, each block                    19x19x728
    exit flow    block13      separable 728 and 1024, max pooling/2            10x10x1024
                 block14      separable 1536 and 2048                          10x10x2048
                 pool, fc     global average, dropout 0.5, logistic regression
                              22,855,952 parameters (as table 3 prints), 8,357,403,496 multiply-adds

36 convolutional layers in 14 modules; all but the first and the last have a shortcut, the identity or a 1x1/2
convolution. A separable convolution is 3x3 over each channel, then 1x1 over all, with nothing in between: section 4.7
measures that an activation there makes it worse. (The "extreme Inception" of figure 4, which motivates it, goes the
other way round.) Batch normalisation follows every convolution and separable convolution. ReLU stands before the
separable convolutions of a block (not at the entry of block2, which reads rectified maps), and after those of block14.

Departures
- Paddings are TensorFlow's SAME, as the author's implementation (Keras) has them. The figure does not give them; its
  sizes follow from SAME in the blocks and from none in block1.
- The paper gives no initialisation: here Glorot's uniform one, Keras' default. Batch normalisation's epsilon is Keras'
  default too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convbench.layers import ConvBNReLU, GlobalAvgPool, SameMaxPool2d, require_side

EPS = 1e-3  # of batch normalisation
ENTRY_FLOW = {"block2": (128, 128), "block3": (256, 256), "block4": (728, 728)}
MIDDLE_FLOW = {f"block{number}": (728, 728, 728) for number in range(5, 13)}
EXIT_FLOW = {"block13": (728, 1024)}
LAST = (1536, 2048)  # block14


class SeparableConvBN(nn.Sequential):
    """3x3 over each channel (`depthwise`), 1x1 over all (`pointwise`), batch normalisation (`bn`)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=EPS)


class Block(nn.Module):
    """Separable convolutions beside a shortcut: `relu1`, `sepconv1`, `relu2`, ..., and `pool` where maps are halved.

    Args:
        widths: channels of the separable convolutions
        halve: end in max pooling 3x3/2, and make the shortcut a 1x1/2 convolution (otherwise the identity)
        relu_first: begin with ReLU
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], *, halve: bool, relu_first: bool = True) -> None:
        super().__init__()
        self.residual = nn.Sequential()
        channels = in_channels
        for number, width in enumerate(widths, start=1):
            if number > 1 or relu_first:
                self.residual.add_module(f"relu{number}", nn.ReLU())
            self.residual.add_module(f"sepconv{number}", SeparableConvBN(channels, width))
            channels = width
        self.shortcut: nn.Module = nn.Identity()
        if halve:
            self.residual.add_module("pool", SameMaxPool2d(3, 2))
            self.shortcut = ConvBNReLU(in_channels, channels, 1, stride=2, eps=EPS, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.residual(x) + self.shortcut(x)
        return total


class Xception(nn.Sequential):
    """The network of figure 5: `block1` to `block14`, `pool`, `dropout`, `fc`.

    Args:
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Raises RequestError for images smaller than 7x7, of which the unpadded block1 leaves nothing.
    """

    stages = ("block1", "block2", "block3", "block12", "block14")

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, image_size: int = 299) -> None:
        super().__init__()
        self.block1 = nn.Sequential()
        self.block1.conv1 = ConvBNReLU(in_channels, 32, 3, stride=2, padding=0, eps=EPS)
        self.block1.conv2 = ConvBNReLU(32, 64, 3, padding=0, eps=EPS)
        require_side([self.block1], image_size, "Xception")
        channels = 64
        for name, widths in {**ENTRY_FLOW, **MIDDLE_FLOW, **EXIT_FLOW}.items():
            block = Block(channels, widths, halve=name not in MIDDLE_FLOW, relu_first=name != "block2")
            self.add_module(name, block)
            channels = widths[-1]
        self.block14 = nn.Sequential()
        for number, width in enumerate(LAST, start=1):
            self.block14.add_module(f"sepconv{number}", SeparableConvBN(channels, width))
            self.block14.add_module(f"relu{number}", nn.ReLU())
            channels = width
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(channels, num_classes)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Weights uniform in +-sqrt(6 / (inputs + outputs)) (Glorot & Bengio 2010), biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        self.fc.bias.zero_()


VARIANTS: dict[str, tuple[type[Xception], dict[str, int]]] = {"xception": (Xception, {})}
