"""ResNeXt: residual blocks whose bottleneck is split into many narrow paths; their number is the cardinality.

Xie, Girshick, Dollar, Tu & He, Aggregated residual transformations for deep neural networks, CVPR 2017,
arXiv:1611.05431. Figure 3 draws the block in three equivalent forms:

    a   C paths (1x1 to d maps, 3x3, 1x1 to the block's output), which are added
    b   the last 1x1 convolutions as one over the C concatenated paths
    c   the first 1x1 convolutions as one to C d maps, the 3x3 as one of C groups: this is what is computed here

    layer   output    ResNeXt-50, 32x4d (table 1; C = 32, d = 4)         blocks   in ResNeXt-101
    conv1   112x112   7x7, 64, stride 2
    pool1   56x56     3x3 max, stride 2
    conv2   56x56     (1x1, 128; 3x3, 128, C = 32; 1x1, 256)             3        3
    conv3   28x28     (1x1, 256; 3x3, 256, C = 32; 1x1, 512)             4        4
    conv4   14x14     (1x1, 512; 3x3, 512, C = 32; 1x1, 1024)            6        23
    conv5   7x7       (1x1, 1024; 3x3, 1024, C = 32; 1x1, 2048)          3        3
    fc      1x1       global average, 1000 classes

CIFAR (section 5.3): a 3x3 convolution of 64 maps, conv2, conv3, conv4 of three blocks on 32x32, 16x16, 8x8 positions.

    network             C x d    parameters    multiply-adds
    resnext50_32x4d     32 x 4   25,028,904    4,230,479,872
    resnext101_32x4d    32 x 4   44,177,704    7,969,996,800
    resnext101_64x4d    64 x 4   83,455,272   15,460,270,080
    resnext29_8x64d      8 x 64  34,426,698    5,387,266,048   10 classes
    resnext29_16x64d    16 x 64  68,155,210   10,688,866,304   10 classes

Each stage after conv2 halves the size in the 3x3 of its first block and doubles d. Shortcuts are option B of ResNet: a
1x1 convolution where the shape changes.

Departures: the initialisation of He et al. 2015, the paper's for convolutions, is applied to fc as well.
"""

from __future__ import annotations

from torch import nn

from convbench.layers import ConvBNReLU, GlobalAvgPool, ResidualBlock, init_he

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # table 1: blocks of conv2, conv3, conv4, conv5
CIFAR_BLOCKS = (3, 3, 3)  # 29 weighted layers


class Transformations(nn.Sequential):
    """The sum over i of T_i(x), equation 2: `cardinality` paths in the form c of figure 3."""

    def __init__(self, in_channels: int, width: int, out_channels: int, cardinality: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, width, 1)
        self.conv2 = ConvBNReLU(width, width, 3, stride=stride, groups=cardinality)
        self.conv3 = ConvBNReLU(width, out_channels, 1, relu=False)


def block(in_channels: int, width: int, out_channels: int, cardinality: int, stride: int) -> ResidualBlock:
    """relu(x + sum of T_i(x)), equation 3; the shortcut is a 1x1 convolution where the shape changes."""
    shortcut: nn.Module = nn.Identity()
    if in_channels != out_channels or stride != 1:
        shortcut = ConvBNReLU(in_channels, out_channels, 1, stride=stride, relu=False)
    return ResidualBlock(Transformations(in_channels, width, out_channels, cardinality, stride), shortcut)


def add_stages(net: nn.Sequential, blocks: tuple[int, ...], cardinality: int, bottleneck_width: int) -> int:
    """conv2, conv3, ... on 64 maps; the number of maps of the last."""
    channels = 64
    for i, depth in enumerate(blocks):
        width, out_channels = cardinality * bottleneck_width * 2**i, 256 * 2**i
        first = block(channels, width, out_channels, cardinality, 1 if i == 0 else 2)
        others = (block(out_channels, width, out_channels, cardinality, 1) for _ in range(depth - 1))
        net.add_module(f"conv{i + 2}", nn.Sequential(first, *others))
        channels = out_channels
    return channels


class ResNeXt(nn.Sequential):
    """The ImageNet networks of table 1.

    Args:
        depth: 50 or 101 weighted layers
        cardinality: paths of a block, C
        bottleneck_width: maps of a path in conv2, d; each stage doubles it
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Every size works: odd ones are rounded up where they are halved.
    """

    stages = ("conv1", "conv2", "conv3", "conv4", "conv5")

    def __init__(
        self,
        *,
        depth: int,
        cardinality: int,
        bottleneck_width: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, 64, 7, stride=2)
        self.pool1 = nn.MaxPool2d(3, 2, padding=1)
        channels = add_stages(self, BLOCKS[depth], cardinality, bottleneck_width)
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)


class CifarResNeXt(nn.Sequential):
    """The 29-layer CIFAR networks of section 5.3; arguments and sizes as for `ResNeXt`."""

    stages = ("conv1", "conv2", "conv3", "conv4")

    def __init__(
        self,
        *,
        cardinality: int,
        bottleneck_width: int,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, 64, 3)
        channels = add_stages(self, CIFAR_BLOCKS, cardinality, bottleneck_width)
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)


VARIANTS = {
    "resnext50_32x4d": (ResNeXt, {"depth": 50, "cardinality": 32, "bottleneck_width": 4}),
    "resnext101_32x4d": (ResNeXt, {"depth": 101, "cardinality": 32, "bottleneck_width": 4}),
    "resnext101_64x4d": (ResNeXt, {"depth": 101, "cardinality": 64, "bottleneck_width": 4}),
    "resnext29_8x64d": (CifarResNeXt, {"cardinality": 8, "bottleneck_width": 64}),
    "resnext29_16x64d": (CifarResNeXt, {"cardinality": 16, "bottleneck_width": 64}),
}
