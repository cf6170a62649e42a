"""ResNet: blocks that learn what to add to their input, so that depth no longer degrades the fit; and plain rivals.

He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016, arXiv:1512.03385.

Table 1 (ImageNet, 224 px); blocks of the stages, each stage after conv2 halving the size in its first block:

    layer   output    18, 34 layers           50, 101, 152 layers
    conv1   112x112   7x7, 64, stride 2
    pool1   56x56     3x3 max, stride 2
    conv2   56x56     (3x3, 64; 3x3, 64)      (1x1, 64; 3x3, 64; 1x1, 256)
    conv3   28x28     (3x3, 128; 3x3, 128)    (1x1, 128; 3x3, 128; 1x1, 512)
    conv4   14x14     (3x3, 256; 3x3, 256)    (1x1, 256; 3x3, 256; 1x1, 1024)
    conv5   7x7       (3x3, 512; 3x3, 512)    (1x1, 512; 3x3, 512; 1x1, 2048)
    fc      1x1       global average, 1000 classes

    network         shortcuts  parameters     multiply-adds         network      parameters    multiply-adds
    resnet18        A          11,515,688     1,794,805,760         resnet20        269,722       40,551,040
    resnet34        A          21,623,848     3,644,493,824         resnet32        464,154       68,862,592
    resnet18_v1_5   B          11,689,512     1,814,073,344         resnet44        658,586       97,174,144
    resnet34_v1_5   B          21,797,672     3,663,761,408         resnet56        853,018      125,485,696
    resnet50        B          25,557,032     3,857,973,248         resnet110     1,727,962      252,887,680
    resnet101       B          44,549,160     7,570,194,432         resnet1202   19,421,274    2,829,238,912
    resnet152       B          60,192,808    11,282,415,616

CIFAR-10 (section 4.2, 32 px, 10 classes): a 3x3 convolution, then conv2, conv3, conv4 of n blocks of two 3x3
convolutions with 16, 32, 64 maps on 32x32, 16x16, 8x8 positions: 6n+2 weighted layers, shortcuts A.

Shortcuts (section 3.3): A, the identity, on every other pixel where the size halves, with maps of zeros for those that
are new; B, a 1x1 convolution where the shape changes. The plain networks are the same layers with no shortcut.

Departures
- resnet18 and resnet34 are those of table 2, with shortcuts A, beside plain18 and plain34; deeper ones have B.
- Where option A's zeros go is not said: half before and half after, as in the CIFAR weights that most people have.
- `_v1_5` is not in the paper: fb.resnet.torch's and torchvision's form, shortcuts B at every depth and the stride of a
  bottleneck in its 3x3 rather than its first 1x1 convolution (ResNet-50: 4,089,184,256 multiply-adds; same parameters).
- The initialisation of He et al. 2015 is applied to fc as well, on which the paper is silent.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from convbench.layers import ConvBNReLU, GlobalAvgPool, ResidualBlock, init_he

BLOCKS = {  # table 1: blocks of conv2, conv3, conv4, conv5
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS = (16, 32, 64)

Shortcuts = Literal["none", "A", "B"]


class Basic(nn.Sequential):
    """Two 3x3 convolutions (figure 5, left); the block's ReLU follows the addition."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, width, 3, stride=stride)
        self.conv2 = ConvBNReLU(width, width, 3, relu=False)


class Bottleneck(nn.Sequential):
    """1x1 to `width` maps, 3x3, 1x1 to four times as many (figure 5, right); the stride in the first, as published."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, width, 1, stride=stride)
        self.conv2 = ConvBNReLU(width, width, 3)
        self.conv3 = ConvBNReLU(width, 4 * width, 1, relu=False)


class BottleneckV1_5(nn.Sequential):  # noqa: N801 (the field's name)
    """`Bottleneck` with the stride in the 3x3, which then reads every pixel of its input."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, width, 1)
        self.conv2 = ConvBNReLU(width, width, 3, stride=stride)
        self.conv3 = ConvBNReLU(width, 4 * width, 1, relu=False)


Layers = type[Basic] | type[Bottleneck] | type[BottleneckV1_5]


class PaddedIdentity(nn.Module):
    """Shortcut A where the shape changes: every stride-th pixel, `extra` maps of zeros; no parameters."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        before = self.extra // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra - before))


def block(layers: Layers, in_channels: int, width: int, stride: int, shortcuts: Shortcuts) -> nn.Module:
    """The layers of one block with the shortcut around them, or plain with the ReLU after them."""
    out_channels = width * layers.expansion
    residual = layers(in_channels, width, stride)
    if shortcuts == "none":
        return nn.Sequential(OrderedDict(residual=residual, relu=nn.ReLU()))
    shortcut: nn.Module
    if in_channels == out_channels and stride == 1:
        shortcut = nn.Identity()
    elif shortcuts == "A":
        shortcut = PaddedIdentity(out_channels - in_channels, stride)
    else:
        shortcut = ConvBNReLU(in_channels, out_channels, 1, stride=stride, relu=False)
    return ResidualBlock(residual, shortcut)


def stage(
    layers: Layers, in_channels: int, width: int, blocks: int, *, stride: int, shortcuts: Shortcuts
) -> nn.Sequential:
    """`blocks` blocks of one width, the stride in the first."""
    out_channels = width * layers.expansion
    first = block(layers, in_channels, width, stride, shortcuts)
    return nn.Sequential(first, *(block(layers, out_channels, width, 1, shortcuts) for _ in range(blocks - 1)))


class ResNet(nn.Sequential):
    """The ImageNet networks of table 1.

    Args:
        depth: 18, 34, 50, 101 or 152 weighted layers
        layers: what a block is made of: Basic (18, 34), Bottleneck or BottleneckV1_5
        shortcuts: "none" (plain), "A" or "B"
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Every size works: odd ones are rounded up where they are halved.
    """

    stages = ("conv1", "conv2", "conv3", "conv4", "conv5")

    def __init__(
        self,
        *,
        depth: int,
        layers: Layers,
        shortcuts: Shortcuts,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, 64, 7, stride=2)
        self.pool1 = nn.MaxPool2d(3, 2, padding=1)
        channels = 64
        for number, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True), start=2):
            stride = 1 if number == 2 else 2  # pool1 has halved the input of conv2
            self.add_module(f"conv{number}", stage(layers, channels, width, blocks, stride=stride, shortcuts=shortcuts))
            channels = width * layers.expansion
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)


class CifarResNet(nn.Sequential):
    """The CIFAR-10 networks of section 4.2, of depth 6n+2; arguments and sizes as for `ResNet`."""

    stages = ("conv1", "conv2", "conv3", "conv4")

    def __init__(
        self,
        *,
        depth: int,
        shortcuts: Shortcuts,
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
    ) -> None:
        super().__init__()
        n, rest = divmod(depth - 2, 6)
        assert rest == 0, "depth = 6n + 2"
        self.conv1 = ConvBNReLU(in_channels, 16, 3)
        channels = 16
        for number, width in enumerate(CIFAR_WIDTHS, start=2):
            stride = 1 if number == 2 else 2
            self.add_module(f"conv{number}", stage(Basic, channels, width, n, stride=stride, shortcuts=shortcuts))
            channels = width
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)


VARIANTS = {
    "resnet18": (ResNet, {"depth": 18, "layers": Basic, "shortcuts": "A"}),
    "resnet34": (ResNet, {"depth": 34, "layers": Basic, "shortcuts": "A"}),
    "resnet50": (ResNet, {"depth": 50, "layers": Bottleneck, "shortcuts": "B"}),
    "resnet101": (ResNet, {"depth": 101, "layers": Bottleneck, "shortcuts": "B"}),
    "resnet152": (ResNet, {"depth": 152, "layers": Bottleneck, "shortcuts": "B"}),
    "plain18": (ResNet, {"depth": 18, "layers": Basic, "shortcuts": "none"}),
    "plain34": (ResNet, {"depth": 34, "layers": Basic, "shortcuts": "none"}),
    "resnet18_v1_5": (ResNet, {"depth": 18, "layers": Basic, "shortcuts": "B"}),
    "resnet34_v1_5": (ResNet, {"depth": 34, "layers": Basic, "shortcuts": "B"}),
    "resnet50_v1_5": (ResNet, {"depth": 50, "layers": BottleneckV1_5, "shortcuts": "B"}),
    "resnet101_v1_5": (ResNet, {"depth": 101, "layers": BottleneckV1_5, "shortcuts": "B"}),
    "resnet152_v1_5": (ResNet, {"depth": 152, "layers": BottleneckV1_5, "shortcuts": "B"}),
    "resnet20": (CifarResNet, {"depth": 20, "shortcuts": "A"}),
    "resnet32": (CifarResNet, {"depth": 32, "shortcuts": "A"}),
    "resnet44": (CifarResNet, {"depth": 44, "shortcuts": "A"}),
    "resnet56": (CifarResNet, {"depth": 56, "shortcuts": "A"}),
    "resnet110": (CifarResNet, {"depth": 110, "shortcuts": "A"}),
    "resnet1202": (CifarResNet, {"depth": 1202, "shortcuts": "A"}),
    "plain20": (CifarResNet, {"depth": 20, "shortcuts": "none"}),
    "plain32": (CifarResNet, {"depth": 32, "shortcuts": "none"}),
    "plain44": (CifarResNet, {"depth": 44, "shortcuts": "none"}),
    "plain56": (CifarResNet, {"depth": 56, "shortcuts": "none"}),
}
