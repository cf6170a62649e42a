"""MobileNet: depthwise separable convolutions throughout, and two dials that trade accuracy for cost.

Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications, arXiv:1704.04861,
table 1 and section 3.

A separable layer filters each map on its own (depthwise 3x3), then mixes the maps (pointwise 1x1), each followed by
batch normalisation and ReLU: on D x D positions it takes D^2 (9 M + M N) multiply-adds where a 3x3 convolution takes
9 D^2 M N (M maps in, N out), about a ninth. Table 1 at 224 px, 28 layers with the depthwise ones counted:

    layer                      output
    conv1          3x3/2, 32   112x112x32
    separable1             64  112x112x64
    separable2, 3         128  56x56x128     the first of each pair strides
    separable4, 5         256  28x28x256
    separable6 to 11      512  14x14x512
    separable12, 13      1024  7x7x1024
    gap, fc              1000  1x1x1000

Multiply-adds by the width multiplier (of every layer's maps) and the resolution (`image_size`):

    network            width  parameters          224          192          160          128 px
    mobilenet_v1       1.0     4,231,976  568,740,352  418,121,728  290,675,200  186,400,768
    mobilenet_v1_075   0.75    2,585,560  325,400,448  239,273,472  166,396,800  106,770,432
    mobilenet_v1_050   0.50    1,331,592  149,497,088  109,970,432   76,524,800   49,160,192
    mobilenet_v1_025   0.25      470,072   41,030,272   30,212,608   21,059,200   13,570,048

Departures
- Table 1 prints stride 2 for the last depthwise convolution, whose input and output are both 7x7: it is 1.
- What the text leaves open is taken from the authors' release (TF-slim): SAME padding, the epsilon of batch
  normalisation (0.001), at least 8 maps a layer, and the initialisation: weights from a normal distribution of
  deviation 0.09, cut at twice that; biases 0.
- The release clips activations at 6 and drops out before the classifier; the paper has neither, nor has this network.
"""

from __future__ import annotations

from torch import nn

from convbench.layers import ConvBNReLU, GlobalAvgPool, init_normal

SEPARABLE = (  # table 1: (maps, stride) of the separable layers 1 to 13
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1)),
    *((1024, 2), (1024, 1)),
)
MIN_WIDTH = 8


class SeparableConv(nn.Sequential):
    """Figure 3, right: depthwise 3x3, batch normalisation, ReLU; pointwise 1x1, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvBNReLU(in_channels, in_channels, 3, stride=stride, groups=in_channels, same=True, eps=1e-3)
        self.pointwise = ConvBNReLU(in_channels, out_channels, 1, eps=1e-3)


class MobileNetV1(nn.Sequential):
    """The body of table 1 at any width.

    Args:
        width_multiplier: alpha of section 3.3, scales the maps of every layer; the classes are as many as ever
        num_classes, in_channels: of the data
        image_size: rows and columns of the images; section 3.4's resolution multiplier is image_size / 224

    Images are (n, in_channels, image_size, image_size). Every size works: halves are rounded up.
    """

    stages = ("separable1", "separable3", "separable5", "separable11", "separable13")

    def __init__(
        self,
        *,
        width_multiplier: float = 1.0,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()

        def scaled(maps: int) -> int:
            return max(int(maps * width_multiplier), MIN_WIDTH)

        channels = scaled(32)
        self.conv1 = ConvBNReLU(in_channels, channels, 3, stride=2, same=True, eps=1e-3)
        for number, (maps, stride) in enumerate(SEPARABLE, start=1):
            self.add_module(f"separable{number}", SeparableConv(channels, scaled(maps), stride))
            channels = scaled(maps)
        self.gap = GlobalAvgPool()
        self.fc = nn.Linear(channels, num_classes)
        init_normal(self, 0.09, truncate=True)


VARIANTS = {
    "mobilenet_v1": (MobileNetV1, {"width_multiplier": 1.0}),
    "mobilenet_v1_075": (MobileNetV1, {"width_multiplier": 0.75}),
    "mobilenet_v1_050": (MobileNetV1, {"width_multiplier": 0.5}),
    "mobilenet_v1_025": (MobileNetV1, {"width_multiplier": 0.25}),
}
