"""Inception v3: large windows factorised, sizes halved by convolution and pooling side by side.

Szegedy, Vanhoucke, Ioffe, Shlens & Wojna, Rethinking the Inception architecture for computer vision, CVPR 2016,
arXiv:1512.00567, sections 3 to 6, figures 5 to 8 and 10.

    layer            figure, width        output      parameters  multiply-adds
    conv1a           3x3 / 2, no padding  32x149x149         928     19,181,664
    conv2a           3x3, no padding      32x147x147       9,280    199,148,544
    conv2b           3x3                  64x147x147      18,560    398,297,088
    pool3a           3x3 / 2              64x73x73
    conv3b           1x1                  80x73x73         5,280     27,284,480
    conv4a           3x3, no padding      192x71x71      138,624    696,867,840
    pool5a           3x3 / 2              192x35x35
    mixed_5b         5, 32                256x35x35      255,904    312,345,600
    mixed_5c         5, 64                288x35x35      277,472    338,688,000
    mixed_5d         5, 64                288x35x35      285,152    348,096,000
    mixed_6a         10                   768x17x17    1,153,280    401,937,408
    mixed_6b         6, 128               768x17x17    1,297,408    374,063,104
    mixed_6c, 6d     6, 160               768x17x17    1,691,008    487,702,528  each
    mixed_6e         6, 192               768x17x17    2,141,952    617,914,368
    mixed_7a         10                   1280x8x8     1,698,304    291,004,416
    mixed_7b         7                    2048x8x8     5,044,608    322,437,120
    mixed_7c         7                    2048x8x8     6,076,800    388,497,408
    fc               average, dropout     1000         2,049,000      2,048,000
                                                      23,834,568  5,713,216,096
    with the head, in training                        27,161,264  5,718,899,296

Batch normalisation and ReLU follow each convolution. The modules bear the names of the release.

Departures
- Built is the network that the authors released and every library has. Table 1 of the paper draws another: a stem of
  3x3 convolutions up to 288 maps, three modules at 35x35, five at 17x17, two at 8x8; and figure 5 replaces the 5x5
  that the release keeps in mixed_5b to 5d. The paper prints 4.8 billion multiply-adds (table 3), the release has 5.71.
- The paper does not say how the head is weighted (0.4 here, as in TF-slim), what fc drops out (0.2, the release;
  torchvision has 0.5), nor how weights start: the release's truncated normals, of deviation 0.1 (0.01 in fc and in the
  head's 5x5, 0.001 in its fc; torchvision has 0.1 in fc too).
- Means of 3x3 windows are over the pixels of the image alone, as in the release (TensorFlow); torchvision's and timm's
  count the padding as zeros. Weights say which they were trained with.
- The release's batch normalisations have no gamma (17,216 parameters fewer), which ReLU and the next convolution make
  redundant; here they have one, as torchvision's.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from convbench.layers import Concat, ConvBNReLU, GlobalAvgPool, Size2d, WithAuxiliary, init_normal, require_side

conv = partial(ConvBNReLU, eps=1e-3)


def chain(in_channels: int, *steps: tuple[int, Size2d]) -> nn.Sequential:
    """Convolutions of (channels, window), one after the other, that keep the size."""
    layers = nn.Sequential()
    for out_channels, kernel_size in steps:
        layers.append(conv(in_channels, out_channels, kernel_size))
        in_channels = out_channels
    return layers


def halving(in_channels: int, out_channels: int) -> ConvBNReLU:
    """A convolution at stride 2, without padding."""
    return conv(in_channels, out_channels, 3, stride=2, padding=0)


def pooled(in_channels: int, out_channels: int) -> nn.Sequential:
    """The branch that averages its neighbourhood first."""
    average = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return nn.Sequential(average, conv(in_channels, out_channels, 1))


def split(in_channels: int, out_channels: int) -> Concat:
    """Figure 7's ends: 1x3 and 3x1 side by side."""
    return Concat(a=conv(in_channels, out_channels, (1, 3)), b=conv(in_channels, out_channels, (3, 1)))


def figure5(in_channels: int, pool_proj: int) -> Concat:
    """35x35: GoogLeNet's module with its 5x5 doubled to two 3x3."""
    return Concat(
        branch1x1=conv(in_channels, 64, 1),
        branch5x5=chain(in_channels, (48, 1), (64, 5)),
        branch3x3dbl=chain(in_channels, (64, 1), (96, 3), (96, 3)),
        branch_pool=pooled(in_channels, pool_proj),
    )


def figure10_to_17(in_channels: int) -> Concat:
    """35x35 to 17x17: convolutions and pooling both at stride 2, so that no bottleneck comes before the other."""
    return Concat(
        branch3x3=halving(in_channels, 384),
        branch3x3dbl=chain(in_channels, (64, 1), (96, 3)).append(halving(96, 96)),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def figure6(in_channels: int, width: int) -> Concat:
    """17x17: 7x7 as 1x7 and 7x1."""
    return Concat(
        branch1x1=conv(in_channels, 192, 1),
        branch7x7=chain(in_channels, (width, 1), (width, (1, 7)), (192, (7, 1))),
        branch7x7dbl=chain(in_channels, (width, 1), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7))),
        branch_pool=pooled(in_channels, 192),
    )


def figure10_to_8(in_channels: int) -> Concat:
    """17x17 to 8x8."""
    return Concat(
        branch3x3=chain(in_channels, (192, 1)).append(halving(192, 320)),
        branch7x7x3=chain(in_channels, (192, 1), (192, (1, 7)), (192, (7, 1))).append(halving(192, 192)),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def figure7(in_channels: int) -> Concat:
    """8x8: wider rather than deeper, for high-dimensional features."""
    return Concat(
        branch1x1=conv(in_channels, 320, 1),
        branch3x3=chain(in_channels, (384, 1)).append(split(384, 384)),
        branch3x3dbl=chain(in_channels, (448, 1), (384, 3)).append(split(384, 384)),
        branch_pool=pooled(in_channels, 192),
    )


class AuxiliaryHead(nn.Sequential):
    """Figure 8, batch-normalised (section 4). The 5x5 shrinks to what pooling leaves of a small image."""

    def __init__(self, in_channels: int, num_classes: int, pool: nn.Module, side: int) -> None:
        super().__init__()
        self.pool = pool
        self.reduce = conv(in_channels, 128, 1)
        self.conv = conv(128, 768, min(side, 5), padding=0)
        self.avgpool = GlobalAvgPool()
        self.fc = nn.Linear(768, num_classes)


class InceptionV3(nn.Module):
    """The released network; in training one head more on the last 17x17.

    Args:
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Returns logits, (n, num_classes); in training mode WithAuxiliary.
    Raises RequestError for a size that leaves the auxiliary head nothing to average.
    """

    stages = ("conv2b", "conv4a", "mixed_5d", "mixed_6e", "mixed_7c")
    auxiliary = ("aux",)

    def __init__(self, *, num_classes: int = 1000, in_channels: int = 3, image_size: int = 299) -> None:
        super().__init__()
        self.conv1a = conv(in_channels, 32, 3, stride=2, padding=0)
        self.conv2a = conv(32, 32, 3, padding=0)
        self.conv2b = conv(32, 64, 3)
        self.pool3a = nn.MaxPool2d(3, stride=2)
        self.conv3b = conv(64, 80, 1)
        self.conv4a = conv(80, 192, 3, padding=0)
        self.pool5a = nn.MaxPool2d(3, stride=2)
        stem = tuple(self.children())

        self.mixed_5b = figure5(192, pool_proj=32)
        self.mixed_5c = figure5(256, pool_proj=64)
        self.mixed_5d = figure5(288, pool_proj=64)
        self.mixed_6a = figure10_to_17(288)
        self.mixed_6b = figure6(768, width=128)
        self.mixed_6c = figure6(768, width=160)
        self.mixed_6d = figure6(768, width=160)
        self.mixed_6e = figure6(768, width=192)
        pool = nn.AvgPool2d(5, stride=3)
        side = require_side((*stem, nn.MaxPool2d(3, stride=2), pool), image_size, "Inception v3")
        self.aux = AuxiliaryHead(768, num_classes, pool, side)
        self.mixed_7a = figure10_to_8(768)
        self.mixed_7b = figure7(1280)
        self.mixed_7c = figure7(2048)
        self.avgpool = GlobalAvgPool()
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(2048, num_classes)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        aux_logits = []
        for name, layer in self.named_children():
            if name not in self.auxiliary:
                x = layer(x)
            elif self.training:
                aux_logits.append(layer(x))
        return WithAuxiliary(x, tuple(aux_logits), aux_weight=0.4) if self.training else x

    def reset_parameters(self) -> None:
        """The release's: truncated normal, deviation 0.1, except where maps have been averaged."""
        init_normal(self, 0.1, truncate=True)
        init_normal(self.aux.conv, 0.01, truncate=True)
        init_normal(self.aux.fc, 0.001, truncate=True)
        init_normal(self.fc, 0.01, truncate=True)


VARIANTS: dict[str, tuple[type[nn.Module], dict[str, int]]] = {"inception_v3": (InceptionV3, {})}
