"""BN-Inception, or Inception v2: GoogLeNet with batch normalisation, and two 3x3 where it had one 5x5.

Ioffe & Szegedy, Batch normalization: accelerating deep network training by reducing internal covariate shift, ICML
2015, arXiv:1502.03167, section 4.2 and figure 5.

    layer         modules' widths: 1x1; 3x3; double 3x3; pool      output     parameters  multiply-adds
    conv1         7x7 / 2                                          64x112x112      9,536    118,013,952
    pool1         3x3 / 2                                          64x56x56
    conv2         1x1 reduce 64, 3x3                               192x56x56     115,200    359,661,568
    pool2         3x3 / 2                                          192x28x28
    inception_3a  64; 64-64; 64-96-96; average-32                  256x28x28     219,072    170,999,808
    inception_3b  64; 64-96; 64-96-96; average-64                  320x28x28     260,160    203,112,448
    inception_3c  128-160 / 2; 64-96-96 / 2; max / 2               576x14x14     385,088    143,904,768
    inception_4a  224; 64-96; 96-128-128; average-128              576x14x14     609,984    119,218,176
    inception_4b  192; 96-128; 96-128-128; average-128             576x14x14     665,344    130,056,192
    inception_4c  160; 128-160; 128-160-160; average-128           608x14x14     914,432    178,827,264
    inception_4d  96; 128-192; 160-192-192; average-128            608x14x14   1,142,912    223,584,256
    inception_4e  128-192 / 2; 192-256-256 / 2; max / 2            1056x7x7    1,449,984    164,577,280
    inception_5a  352; 192-320; 160-224-224; average-128           1024x7x7    2,208,896    108,079,104
    inception_5b  352; 192-320; 192-224-224; max-128               1024x7x7    2,279,616    111,541,248
    fc            average, linear                                  1000        1,025,000      1,024,000
                                                                              11,285,224  2,032,600,064

Batch normalisation and ReLU follow each convolution. LRN and dropout are gone; figure 5 lists no auxiliary head.

`inception_v2_slim` (11,188,288; 1,934,857,216) is the network as its authors released it in TF-slim: pool projections
of 96 in 4c and 4d, a separable conv1 of multiplier 8, dropout 0.2. Other things too are called Inception v2: the paper
on Inception v3 gives that name to a network of its own.

Departures
- Figure 5 prints 576, 576 and 1024 maps for 4c, 4d and 4e, which its widths contradict: they make 608, 608 and 1056.
  `inception_v2` keeps the widths, `inception_v2_slim` the sums. It also prints 3c and 4e at the size of their input.
- The 13.6 million parameters of the text are out of reach of either.
- The appendix says that conv1 is separable, figure 5 that it is a 7x7 convolution: one is in each variant. TF-slim's
  pretrained conv1 has a bias where ours has batch normalisation (64 parameters more).
- What the text leaves open is taken from TF-slim: SAME padding, means over the pixels of the image alone, epsilon
  0.001. The initialisation is He's, which TF-slim takes for most layers.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from convbench.layers import Concat, ConvBNReLU, GlobalAvgPool, SameConv2d, SameMaxPool2d, init_he

conv = partial(ConvBNReLU, eps=1e-3, same=True)


class Widths(NamedTuple):
    """A row of figure 5: the channels of a module's convolutions; 0 where it has none."""

    n1x1: int
    n3x3_reduce: int
    n3x3: int
    double3x3_reduce: int
    double3x3: int
    pool: Literal["avg", "max"]
    pool_proj: int  # 0: the pool passes its input through, and the module halves the size

    def out(self, in_channels: int) -> int:
        return self.n1x1 + self.n3x3 + self.double3x3 + (self.pool_proj or in_channels)


MODULES = {
    "3a": Widths(64, 64, 64, 64, 96, "avg", 32),
    "3b": Widths(64, 64, 96, 64, 96, "avg", 64),
    "3c": Widths(0, 128, 160, 64, 96, "max", 0),
    "4a": Widths(224, 64, 96, 96, 128, "avg", 128),
    "4b": Widths(192, 96, 128, 96, 128, "avg", 128),
    "4c": Widths(160, 128, 160, 128, 160, "avg", 128),
    "4d": Widths(96, 128, 192, 160, 192, "avg", 128),
    "4e": Widths(0, 128, 192, 192, 256, "max", 0),
    "5a": Widths(352, 192, 320, 160, 224, "avg", 128),
    "5b": Widths(352, 192, 320, 192, 224, "max", 128),
}
SLIM = MODULES | {name: MODULES[name]._replace(pool_proj=96) for name in ("4c", "4d")}


def inception(in_channels: int, widths: Widths) -> Concat:
    """One module; without a projection after its pool it steps by 2."""
    stride = 1 if widths.pool_proj else 2
    branches: dict[str, nn.Module] = {}
    if widths.n1x1:
        branches["branch1x1"] = conv(in_channels, widths.n1x1, 1)
    branches["branch3x3"] = nn.Sequential(
        conv(in_channels, widths.n3x3_reduce, 1),
        conv(widths.n3x3_reduce, widths.n3x3, 3, stride=stride),
    )
    branches["branch3x3dbl"] = nn.Sequential(
        conv(in_channels, widths.double3x3_reduce, 1),
        conv(widths.double3x3_reduce, widths.double3x3, 3),
        conv(widths.double3x3, widths.double3x3, 3, stride=stride),
    )
    if not widths.pool_proj:
        return Concat(**branches, branch_pool=SameMaxPool2d(3, stride=2))
    pool = {
        "avg": nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        "max": nn.MaxPool2d(3, stride=1, padding=1),
    }[widths.pool]
    return Concat(**branches, branch_pool=nn.Sequential(pool, conv(in_channels, widths.pool_proj, 1)))


class BNInception(nn.Sequential):
    """Ten Inception modules, two of which halve the size, on a plain stem; averaged over the image.

    Args:
        slim: TF-slim's network instead of figure 5's, with all that it changes (see Departures)
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size), and any
            size works
    """

    stages = ("conv1", "conv2", "inception_3b", "inception_4d", "inception_5b")

    def __init__(
        self,
        *,
        slim: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        if slim:
            self.conv1_depthwise = SameConv2d(
                in_channels, 8 * in_channels, 7, stride=2, padding=3, groups=in_channels, bias=False
            )
            self.conv1 = conv(8 * in_channels, 64, 1)
        else:
            self.conv1 = conv(in_channels, 64, 7, stride=2)
        self.pool1 = SameMaxPool2d(3, stride=2)
        self.conv2_reduce = conv(64, 64, 1)
        self.conv2 = conv(64, 192, 3)
        self.pool2 = SameMaxPool2d(3, stride=2)
        channels = 192
        for name, widths in (SLIM if slim else MODULES).items():
            self.add_module(f"inception_{name}", inception(channels, widths))
            channels = widths.out(channels)
        self.avgpool = GlobalAvgPool()
        if slim:
            self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)


VARIANTS = {
    "inception_v2": (BNInception, {}),
    "inception_v2_slim": (BNInception, {"slim": True}),
}
