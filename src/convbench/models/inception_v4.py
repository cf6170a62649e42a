"""Inception-v4 and the Inception-ResNets: Inception modules made uniform, and with residual connections.

Szegedy, Ioffe, Vanhoucke & Alemi, Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
arXiv:1602.07261 (AAAI 2017), figures 3-19 and table 1.

                  Inception-v4              Inception-ResNet-v1      Inception-ResNet-v2, as released (as drawn)
    stem          35x35x384                 35x35x256                35x35x320   (35x35x384)
    A             x 4                       x 5                      x 10        (x 5)
    reduction A   17x17x1024                17x17x896                17x17x1088  (17x17x1152)
    B             x 7                       x 10                     x 20        (x 10)
    reduction B   8x8x1536                  8x8x1792                 8x8x2080    (8x8x2144)
    C             x 3                       x 5                      x 10        (x 5)
                                                                     8x8x1536
    then          average over 8x8, dropout (keep 0.8), a linear layer for softmax
    parameters    42,679,816                22,756,328               55,843,464      (32,433,928)
    multiply-adds 12,253,974,624            6,206,361,696            13,155,794,016  (9,257,953,632)

Inception-v4 has no residual connections; the Inception-ResNets add x + scale * branches(x) in every A, B and C.

Departures
- `inception_resnet_v2` is the network that the authors released (TF-slim; Keras and timm follow it): another stem,
  twice the blocks, one more convolution, the last sum neither scaled nor rectified. It costs about as much as
  Inception-v4, which is what the paper says; the drawn network, `inception_resnet_v2_figures`, costs three quarters.
- The figures print 1154 and 2048 filters for the sums in B and C of Inception-ResNet-v2. A sum needs as many as its
  input has: 1152 and 2144.
- Where a branch has 1xn and nx1 convolutions, their order is the released one; the figures draw some the other way.
- The paper scales residuals by 0.1 to 0.3. All three networks here take the release's 0.17, 0.10 and 0.20.
- The release also trains auxiliary heads on the 17x17 maps. The paper has none, nor have the networks here.
- The paper gives no initialisation. Here all weights are He's, as in the release's Inception-v4 (there truncated); the
  release draws those of Inception-ResNet-v2 as Glorot. Batch normalisation's epsilon, 0.001, is the release's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from convbench.layers import Concat, ConvBNReLU, GlobalAvgPool, init_he, require_image_size


@dataclass(frozen=True)
class Residual:
    """An Inception-ResNet block: its branches, what their sum with the input is scaled by, and whether ReLU follows."""

    branches: tuple[str, ...]
    scale: float
    relu: bool = True


# A string is a chain of layers in the figures' notation: "3x3/2 384 V" is a convolution of stride 2 with 384 filters, V
# for valid (no padding); "max/2 V" and "avg" pool 3x3 windows; "1x3 256 | 3x1 256" are two convolutions side by side.
# A tuple holds branches side by side, in the order in which the release concatenates them. Lists and dictionaries hold
# one thing after the other.
Layout = str | tuple[str, ...] | Residual | Sequence["Layout"] | Mapping[str, "Layout"]

STEM_V4: Mapping[str, Layout] = {  # figure 3, with the release's names
    "conv_1a": "3x3/2 32 V",  # 149x149x32
    "conv_2a": "3x3 32 V",  # 147x147x32
    "conv_2b": "3x3 64",  # 147x147x64
    "mixed_3a": ("max/2 V", "3x3/2 96 V"),  # 73x73x160
    "mixed_4a": ("1x1 64, 3x3 96 V", "1x1 64, 1x7 64, 7x1 64, 3x3 96 V"),  # 71x71x192
    "mixed_5a": ("3x3/2 192 V", "max/2 V"),  # 35x35x384
}
STEM_V3: Mapping[str, Layout] = {  # what the stem of Inception-ResNet-v1 and the released v2's have in common
    "conv_1a": "3x3/2 32 V",  # 149x149x32
    "conv_2a": "3x3 32 V",  # 147x147x32
    "conv_2b": "3x3 64",  # 147x147x64
    "maxpool_3a": "max/2 V",  # 73x73x64
    "conv_3b": "1x1 80",  # 73x73x80
    "conv_4a": "3x3 192 V",  # 71x71x192
}
STEM_RESNET_V1: Mapping[str, Layout] = {**STEM_V3, "conv_4b": "3x3/2 256 V"}  # figure 14; 35x35x256
STEM_RELEASED: Mapping[str, Layout] = {
    **STEM_V3,
    "maxpool_5a": "max/2 V",  # 35x35x192
    "mixed_5b": ("1x1 96", "1x1 48, 5x5 64", "1x1 64, 3x3 96, 3x3 96", "avg, 1x1 64"),  # 35x35x320
}

INCEPTION_A = ("1x1 96", "1x1 64, 3x3 96", "1x1 64, 3x3 96, 3x3 96", "avg, 1x1 96")  # figure 4
INCEPTION_B = (  # figure 5
    "1x1 384",
    "1x1 192, 1x7 224, 7x1 256",
    "1x1 192, 7x1 192, 1x7 224, 7x1 224, 1x7 256",
    "avg, 1x1 128",
)
INCEPTION_C = (  # figure 6
    "1x1 256",
    "1x1 384, 1x3 256 | 3x1 256",
    "1x1 384, 3x1 448, 1x3 512, 1x3 256 | 3x1 256",
    "avg, 1x1 256",
)
RESNET_V1_A = ("1x1 32", "1x1 32, 3x3 32", "1x1 32, 3x3 32, 3x3 32")  # figure 10
RESNET_V1_B = ("1x1 128", "1x1 128, 1x7 128, 7x1 128")  # figure 11
RESNET_V1_C = ("1x1 192", "1x1 192, 1x3 192, 3x1 192")  # figure 13
RESNET_V2_A = ("1x1 32", "1x1 32, 3x3 32", "1x1 32, 3x3 48, 3x3 64")  # figure 16
RESNET_V2_B = ("1x1 192", "1x1 128, 1x7 160, 7x1 192")  # figure 17
RESNET_V2_C = ("1x1 192", "1x1 192, 1x3 224, 3x1 256")  # figure 19

REDUCTION_A_V4 = ("3x3/2 384 V", "1x1 192, 3x3 224, 3x3/2 256 V", "max/2 V")  # figure 7 and table 1
REDUCTION_A_RESNET_V1 = ("3x3/2 384 V", "1x1 192, 3x3 192, 3x3/2 256 V", "max/2 V")
REDUCTION_A_RESNET_V2 = ("3x3/2 384 V", "1x1 256, 3x3 256, 3x3/2 384 V", "max/2 V")
REDUCTION_B_V4 = ("1x1 192, 3x3/2 192 V", "1x1 256, 1x7 256, 7x1 320, 3x3/2 320 V", "max/2 V")  # figure 8
REDUCTION_B_RESNET_V1 = (  # figure 12
    *("1x1 256, 3x3/2 384 V", "1x1 256, 3x3/2 256 V", "1x1 256, 3x3 256, 3x3/2 256 V", "max/2 V"),
)
REDUCTION_B_RESNET_V2 = (  # figure 18
    *("1x1 256, 3x3/2 384 V", "1x1 256, 3x3/2 288 V", "1x1 256, 3x3 288, 3x3/2 320 V", "max/2 V"),
)

NETWORKS: Mapping[str, Mapping[str, Layout]] = {
    "inception_v4": {
        "stem": STEM_V4,
        "inception_a": [INCEPTION_A] * 4,
        "reduction_a": REDUCTION_A_V4,
        "inception_b": [INCEPTION_B] * 7,
        "reduction_b": REDUCTION_B_V4,
        "inception_c": [INCEPTION_C] * 3,
    },
    "inception_resnet_v1": {
        "stem": STEM_RESNET_V1,
        "inception_a": [Residual(RESNET_V1_A, 0.17)] * 5,
        "reduction_a": REDUCTION_A_RESNET_V1,
        "inception_b": [Residual(RESNET_V1_B, 0.10)] * 10,
        "reduction_b": REDUCTION_B_RESNET_V1,
        "inception_c": [Residual(RESNET_V1_C, 0.20)] * 5,
    },
    "inception_resnet_v2": {
        "stem": STEM_RELEASED,
        "inception_a": [Residual(RESNET_V2_A, 0.17)] * 10,
        "reduction_a": REDUCTION_A_RESNET_V2,
        "inception_b": [Residual(RESNET_V2_B, 0.10)] * 20,
        "reduction_b": REDUCTION_B_RESNET_V2,
        "inception_c": [*[Residual(RESNET_V2_C, 0.20)] * 9, Residual(RESNET_V2_C, 1.0, relu=False)],
        "conv_7b": "1x1 1536",
    },
    "inception_resnet_v2_figures": {
        "stem": STEM_V4,
        "inception_a": [Residual(RESNET_V2_A, 0.17)] * 5,
        "reduction_a": REDUCTION_A_RESNET_V2,
        "inception_b": [Residual(RESNET_V2_B, 0.10)] * 10,
        "reduction_b": REDUCTION_B_RESNET_V2,
        "inception_c": [Residual(RESNET_V2_C, 0.20)] * 5,
    },
}


class ResidualBlock(nn.Module):
    """relu(x + scale * linear(mixed(x))): `mixed` holds the branches, `linear` is a 1x1 convolution with a bias, no BN.

    Without the scale, networks with more than about 1000 filters died early in training (section 3.3).
    """

    def __init__(self, in_channels: int, layout: Residual) -> None:
        super().__init__()
        self.scale = layout.scale
        self.mixed, channels = build(in_channels, layout.branches)
        self.linear = nn.Conv2d(channels, in_channels, 1)
        self.relu = nn.ReLU() if layout.relu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        activations: Tensor = self.relu(x + self.scale * self.linear(self.mixed(x)))
        return activations


def build(channels: int, layout: Layout) -> tuple[nn.Module, int]:
    """The module that `layout` describes for an input of `channels`, and the channels of its output."""
    match layout:
        case Residual():
            return ResidualBlock(channels, layout), channels
        case str() if ", " in layout:
            return build(channels, layout.split(", "))
        case str() if " | " in layout:
            return build(channels, tuple(layout.split(" | ")))
        case str():
            return build_layer(channels, layout)
        case tuple():
            branches, widths = zip(*(build(channels, branch) for branch in layout), strict=True)
            return Concat(**{f"branch{i}": branch for i, branch in enumerate(branches)}), sum(widths)
    chain = nn.Sequential()
    for name, part in layout.items() if isinstance(layout, Mapping) else enumerate(layout):
        module, channels = build(channels, part)
        chain.add_module(str(name), module)
    return chain, channels


def build_layer(channels: int, text: str) -> tuple[nn.Module, int]:
    """One layer in the figures' notation, and the channels of its output.

    >>> build_layer(64, "3x3/2 96 V")[0].conv
    Conv2d(64, 96, kernel_size=(3, 3), stride=(2, 2), bias=False)
    """
    if text == "max/2 V":
        return nn.MaxPool2d(3, 2), channels
    if text == "avg":  # of the pixels within the image, as TensorFlow averages
        return nn.AvgPool2d(3, 1, 1, count_include_pad=False), channels
    window, width, *valid = text.split()
    kernel, _, stride = window.partition("/")
    rows, columns = map(int, kernel.split("x"))
    padding = 0 if valid else None
    conv = ConvBNReLU(channels, int(width), (rows, columns), stride=int(stride or 1), padding=padding, eps=1e-3)
    return conv, int(width)


class InceptionV4(nn.Sequential):
    """Any of the four networks: the layers of `layout` by their names, then `pool`, `dropout`, `fc`.

    `inception_a`, `inception_b` and `inception_c` hold the blocks A, B and C, those of Inception-ResNets too.

    Args:
        layout: the stem, the blocks A, B and C and the reductions between them
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Raises RequestError for images smaller than 75x75, of which reduction B would get less than 3x3 pixels.
    """

    def __init__(
        self,
        *,
        layout: Mapping[str, Layout],
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 299,
    ) -> None:
        require_image_size("Inception-v4 or Inception-ResNet", image_size, 75)
        body, channels = build(in_channels, layout)
        super().__init__(OrderedDict(body.named_children()))
        fourth = "stem.mixed_4a" if hasattr(body.stem, "mixed_4a") else "stem.conv_4a"
        self.stages = ("stem.conv_2b", fourth, "inception_a", "inception_b", list(layout)[-1])
        self.pool = GlobalAvgPool()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(channels, num_classes)
        init_he(self)


VARIANTS = {name: (InceptionV4, {"layout": layout}) for name, layout in NETWORKS.items()}
