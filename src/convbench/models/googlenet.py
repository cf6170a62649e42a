"""GoogLeNet: modules that look at one input through windows of several sizes at once, and narrow it first.

Szegedy et al., Going deeper with convolutions, CVPR 2015, arXiv:1409.4842, table 1, figures 2 and 3, section 5.

    layer         windows                       output      parameters  printed  multiply-adds  printed
    conv1         7x7 / 2                       64x112x112       9,472     2.7K    118,013,952      34M
    pool1, norm1  3x3 / 2                       64x56x56
    conv2         1x1 reduce, 3x3               192x56x56      114,944     112K    359,661,568     360M
    norm2, pool2  3x3 / 2                       192x28x28
    inception_3a  1x1, 3x3, 5x5, pool; joined   256x28x28      163,696     159K    128,049,152     128M
    inception_3b                                480x28x28      388,736     380K    304,267,264     304M
    pool3         3x3 / 2                       480x14x14
    inception_4a  (aux1 reads its output)       512x14x14      376,176     364K     73,608,192      73M
    inception_4b                                512x14x14      449,160     437K     87,908,352      88M
    inception_4c                                512x14x14      510,104     463K     99,850,240     100M
    inception_4d  (aux2 reads its output)       528x14x14      605,376     580K    118,515,712     119M
    inception_4e                                832x14x14      868,352     840K    169,996,288     170M
    pool4         3x3 / 2                       832x7x7
    inception_5a                                832x7x7      1,043,456    1072K     51,079,168      54M
    inception_5b                                1024x7x7     1,444,080    1388K     70,697,984      71M
    fc            average, dropout, linear      1000         1,025,000    1000K      1,024,000       1M
                                                             6,998,552  6797.7K  1,582,671,872    1502M
    with both heads, in training                            13,378,280           1,591,044,096

ReLU follows each convolution. A 1x1 convolution narrows the input of the 3x3 and 5x5 windows and the output of the
pool: that is what lets width and depth grow on a constant budget of operations.

`googlenet_bn` (6,624,904 parameters without its heads; 1,498,376,192 multiply-adds) is the network that torchvision
calls GoogLeNet, TF-slim's Inception v1. It differs by batch normalisation after each convolution (epsilon 0.001, no
biases) and no LRN; 3x3 windows where it says 5x5 (a bug that both carry); a 2x2 pool4; dropout 0.2; heads that average
over 4x4 overlapping regions.

Departures
- The printed columns are not ours. Their K is 1024, and they count no biases. conv1's row fits a 7x1 and a 1x7 kernel
  (2,688 weights), not the 7x7 that the row names. The parameters of 4a and 4c to 5b contradict the widths of the same
  rows; the operations, but for 5a, agree with the widths, which are what is built.
- Sizes of 56, 28, 14 and 7 need pooling whose last window hangs over the border (ceil mode).
- Figure 3 shows LRN, the text gives no constants: they are those of Caffe's replica (5 maps, 0.0001, 0.75).
- The paper gives no initialisation. `googlenet` starts as Caffe's replica (weights uniform with variance 1 / inputs,
  biases 0.2 except of the classifiers), `googlenet_bn` as TF-slim (N(0, 0.01^2), cut at two deviations; biases 0).
- The average before fc, 7x7 in the paper, spans whatever size the image leaves; so do the heads' first linear layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from convbench.layers import (
    Concat,
    ConvBNReLU,
    GlobalAvgPool,
    SameConv2d,
    WithAuxiliary,
    init_normal,
    require_side,
)

Conv = Callable[..., nn.Module]


class Widths(NamedTuple):
    """A row of table 1: the channels of a module's convolutions."""

    n1x1: int
    n3x3_reduce: int
    n3x3: int
    n5x5_reduce: int
    n5x5: int
    pool_proj: int

    @property
    def out(self) -> int:
        return self.n1x1 + self.n3x3 + self.n5x5 + self.pool_proj


MODULES = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
POOLS = {"3b": "pool3", "4e": "pool4"}  # after these modules
HEADS = {"4a": "aux1", "4d": "aux2"}  # on these modules
CLASSIFIERS = ("fc", "fc2")


class ConvReLU(nn.Sequential):
    """Convolution with bias, half the kernel as padding, and ReLU: `conv`, `relu`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
        self.relu = nn.ReLU()


def inception(in_channels: int, widths: Widths, conv: Conv, large: int) -> Concat:
    """Figure 2(b): four views of one input. `large` is the window of the branch that the paper gives 5x5."""
    return Concat(
        branch1x1=conv(in_channels, widths.n1x1, 1),
        branch3x3=nn.Sequential(
            conv(in_channels, widths.n3x3_reduce, 1),
            conv(widths.n3x3_reduce, widths.n3x3, 3),
        ),
        branch5x5=nn.Sequential(
            conv(in_channels, widths.n5x5_reduce, 1),
            conv(widths.n5x5_reduce, widths.n5x5, large),
        ),
        branch_pool=nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1),
            conv(in_channels, widths.pool_proj, 1),
        ),
    )


class AuxiliaryHead(nn.Sequential):
    """A classifier half-way, which gives the layers below it a gradient of their own; `pool` leaves side x side."""

    def __init__(self, in_channels: int, num_classes: int, conv: Conv, pool: nn.Module, side: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv = conv(in_channels, 128, 1)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(128 * side**2, 1024)
        self.relu1 = nn.ReLU()
        self.drop = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)


class GoogLeNet(nn.Module):
    """Nine Inception modules on a plain stem, averaged over the image; in training two heads more, on 4a and 4d.

    Args:
        batch_norm: torchvision's network instead of the paper's, with all that it changes (see Departures)
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Returns logits, (n, num_classes); in training mode WithAuxiliary.
    Raises RequestError for a size that leaves an auxiliary head nothing to average.
    """

    stages = ("conv1", "conv2", "inception_3b", "inception_4e", "inception_5b")
    auxiliary = tuple(HEADS.values())

    def __init__(
        self,
        *,
        batch_norm: bool = False,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        conv: Conv = partial(ConvBNReLU, eps=1e-3) if batch_norm else ConvReLU
        first: Conv = partial(conv, same=True) if batch_norm else conv

        self.conv1 = first(in_channels, 64, 7, stride=2)
        for module in self.modules():
            if isinstance(module, SameConv2d):
                module.same = False  # torchvision pads symmetrically; TF-slim's weights expect the other
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        if not batch_norm:
            self.norm1 = local_response_norm()
        self.conv2_reduce = conv(64, 64, 1)
        self.conv2 = conv(64, 192, 3)
        if not batch_norm:
            self.norm2 = local_response_norm()
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)

        channels = 192
        for name, widths in MODULES.items():
            self.add_module(f"inception_{name}", inception(channels, widths, conv, large=3 if batch_norm else 5))
            channels = widths.out
            if name in HEADS:
                below = [layer for child, layer in self.named_children() if child not in self.auxiliary]
                pool = nn.AdaptiveAvgPool2d(4) if batch_norm else nn.AvgPool2d(5, stride=3)
                side = require_side((*below, pool), image_size, "GoogLeNet")
                head = AuxiliaryHead(channels, num_classes, conv, pool, 4 if batch_norm else side)
                self.add_module(HEADS[name], head)
            if name in POOLS:
                window = 2 if batch_norm and name == "4e" else 3
                self.add_module(POOLS[name], nn.MaxPool2d(window, stride=2, ceil_mode=True))

        self.avgpool = GlobalAvgPool()
        self.drop = nn.Dropout(0.2 if batch_norm else 0.4)
        self.fc = nn.Linear(channels, num_classes)
        self.reset_parameters(batch_norm)

    def forward(self, x: Tensor) -> Tensor | WithAuxiliary:
        aux_logits = []
        for name, layer in self.named_children():
            if name not in self.auxiliary:
                x = layer(x)
            elif self.training:
                aux_logits.append(layer(x))
        return WithAuxiliary(x, tuple(aux_logits), aux_weight=0.3) if self.training else x

    def reset_parameters(self, batch_norm: bool) -> None:
        """As the first replicas did: the paper says nothing."""
        if batch_norm:  # TF-slim and torchvision
            init_normal(self, 0.01, truncate=True)
            return
        for name, module in self.named_modules():  # Caffe
            if isinstance(module, nn.Conv2d | nn.Linear):
                assert module.bias is not None
                nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
                nn.init.constant_(module.bias, 0.0 if name.endswith(CLASSIFIERS) else 0.2)


def local_response_norm() -> nn.Module:
    """The paper gives no constants; these are the replica's."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)


VARIANTS = {
    "googlenet": (GoogLeNet, {}),
    "googlenet_bn": (GoogLeNet, {"batch_norm": True}),
}
