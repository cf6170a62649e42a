"""LeNet-1, LeNet-4, LeNet-5: the first convolutional networks for handwritten digits.

LeCun, Bottou, Bengio & Haffner, Gradient-based learning applied to document recognition, Proc. IEEE 86(11), 1998,
sections II and III; LeNet-1 from LeCun et al., NIPS 1989.

    layer   LeNet-5 (32x32 in)                       output     parameters  connections
    C1      5x5 convolution, 6 maps                  6x28x28           156      122,304
    S2      2x2 subsampling                          6x14x14            12        5,880
    C3      5x5 convolution by table I, 60 links     16x10x10        1,516      151,600
    S4      2x2 subsampling                          16x5x5             32        2,000
    C5      5x5 convolution over all maps            120            48,120       48,120
    F6      fully connected                          84             10,164       10,164
    output  distances to ten fixed 7x12 codes        10                  0          840
                                                                    60,000      340,908

Input: pixels scaled to -0.1 (background) and 1.175 (ink), so that their mean is about 0 and their variance about 1.

Departures
- The output is the *negated* squared distance, so that, as everywhere in convbench, the largest score answers.
- LeNet-1's table of 20 links is recalled, not read; its published totals (2,578 parameters, 98,442 connections) close
  exactly. Its and LeNet-4's output units are taken as squashed ones; the papers do not say more.
- LeNet-4 cannot be rebuilt from its text: "about 17,000" parameters, yet 400 values into a layer of 120 units take
  48,120 alone. Kept is what the text names (4, 8, 16, 16 maps, 120 units); C3 takes three inputs a map, which gives
  262,306 connections beside the published 260,000. It has 50,698 parameters.
- `lenet5_relu` is not in the paper: it is the network that tutorials call LeNet-5 (all-to-all C3, ReLU, max pooling,
  a linear output for softmax), 61,706 parameters.
- Of the paper's codes for all ASCII characters only the ten digits' are here, so `num_classes` is at most 10.
- Appendix A initialises uniformly in +-2.4 / inputs, to keep the deviation of the weighted sums in one range. With
  hundreds of nearly independent inputs that starves the upper layers (measured: the first steps then saturate F6
  for good); the square root of the number of inputs does what the appendix wants.
- Larger or smaller images keep every layer; C5 spans whatever S4 leaves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.errors import RequestError
from convbench.layers import require_image_size
from convbench.models.digit_codes import DIGIT_CODES

Table = tuple[tuple[int, ...], ...]  # for each map of C3, the maps of S2 that it reads

LENET5_TABLE: Table = (  # table I
    *((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
    (0, 1, 2, 3, 4, 5),
)
LENET1_TABLE: Table = (
    *((0,), (0, 1), (0, 1), (1,), (0, 1), (0, 1)),
    *((2,), (2, 3), (2, 3), (3,), (2, 3), (2, 3)),
)
LENET4_TABLE: Table = (
    *(tuple(sorted((i, (i + 1) % 8, (i + 2) % 8))) for i in range(8)),
    *(tuple(sorted((i, (i + 3) % 8, (i + 5) % 8))) for i in range(8)),
)


class ScaledTanh(nn.Module):
    """f(a) = 1.7159 tanh(2a/3): f(1) = 1, f(-1) = -1, the curvature largest there (appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each 2x2 window, times a trainable coefficient, plus a trainable bias; one of each per map.

    With `fanout` 2 each input map feeds two output maps (LeNet-4).
    """

    def __init__(self, in_channels: int, *, fanout: int = 1) -> None:
        super().__init__()
        self.fanout = fanout
        self.weight = nn.Parameter(torch.empty(in_channels * fanout, 1, 1))
        self.bias = nn.Parameter(torch.empty(in_channels * fanout, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        sums = 4 * F.avg_pool2d(x, 2)  # exact, and exporters do not know avg_pool2d's divisor_override
        if self.fanout > 1:
            sums = sums.repeat_interleave(self.fanout, dim=1)
        return sums * self.weight + self.bias

    def count_links(self, output: Tensor) -> tuple[int, int]:
        """(multiply-adds, connections): four inputs and a bias a unit; sums are not multiply-adds."""
        return 0, 5 * output[0].numel()


class TableConv2d(nn.Module):
    """A convolution in which each output map reads only the input maps that a table names.

    Only the linked kernels are parameters: `weight` has shape (links, kernel_size, kernel_size).
    """

    link: Tensor  # (2, links): the output map and the input map of each kernel

    def __init__(self, in_channels: int, table: Table, kernel_size: int) -> None:
        super().__init__()
        self.in_channels, self.table = in_channels, table
        links = [(out, source) for out, sources in enumerate(table) for source in sources]
        self.register_buffer("link", torch.tensor(links).T.contiguous(), persistent=False)
        self.weight = nn.Parameter(torch.empty(len(links), kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.empty(len(table)))

    def forward(self, x: Tensor) -> Tensor:
        dense = self.weight.new_zeros(len(self.table), self.in_channels, *self.weight.shape[1:])
        dense.index_put_((self.link[0], self.link[1]), self.weight)  # exporters do not know index_put
        return F.conv2d(x, dense, self.bias)

    def count_links(self, output: Tensor) -> tuple[int, int]:
        """(multiply-adds, connections) of the links alone: the paper's net has no zeros of a dense kernel."""
        positions = output[0, 0].numel()
        return positions * self.weight.numel(), positions * (self.weight.numel() + len(self.table))


class EuclideanRBF(nn.Module):
    """Negated squared distances to fixed codes, one a class (equation 7)."""

    codes: Tensor  # (classes, units)

    def __init__(self, codes: Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes)

    def forward(self, x: Tensor) -> Tensor:
        return -(x.unsqueeze(1) - self.codes).square().sum(dim=2)

    def count_links(self, output: Tensor) -> tuple[int, int]:
        """(multiply-adds, connections): one of each for every element of every code."""
        return self.codes.numel(), self.codes.numel()


class LeNet(nn.Sequential):
    """The 1989-1998 family: two convolutions by table, two subsamplings, full layers; every layer squashed.

    Args:
        maps: the maps of C1 and S2 (S2 may have a multiple of C1's)
        table: which S2 maps each C3 map reads
        hidden: the units of the full layers between S4 and the output
        codes: end in distances to the digits' codes (LeNet-5), otherwise in one squashed unit a class
        num_classes, in_channels, image_size: of the data; images are (n, in_channels, image_size, image_size)

    Raises RequestError for a size that leaves S4 empty, and for more classes than there are codes.
    """

    stages = ("c1_squash", "s2_squash", "c3_squash", "s4_squash")

    def __init__(
        self,
        *,
        maps: tuple[int, int],
        table: Table,
        hidden: tuple[int, ...],
        codes: bool,
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int,
    ) -> None:
        super().__init__()
        if codes and not 2 <= num_classes <= len(DIGIT_CODES):
            raise RequestError(
                f"lenet5 has codes for {len(DIGIT_CODES)} classes, found num_classes={num_classes}: take lenet5_relu"
            )
        self.c1 = nn.Conv2d(in_channels, maps[0], 5)
        self.c1_squash = ScaledTanh()
        self.s2 = Subsampling(maps[0], fanout=maps[1] // maps[0])
        self.s2_squash = ScaledTanh()
        self.c3 = TableConv2d(maps[1], table, 5)
        self.c3_squash = ScaledTanh()
        self.s4 = Subsampling(len(table))
        self.s4_squash = ScaledTanh()
        width, side = len(table), side_after_s4(image_size)
        if hidden:
            self.c5 = nn.Conv2d(width, hidden[0], side)
            self.c5_squash = ScaledTanh()
            width, side = hidden[0], 1
        self.flatten = nn.Flatten()
        if len(hidden) > 1:
            self.f6 = nn.Linear(width, hidden[1])
            self.f6_squash = ScaledTanh()
            width = hidden[1]
        self.output: nn.Module
        if codes:
            self.output = EuclideanRBF(digit_codes()[:num_classes])
        else:
            self.output = nn.Linear(width * side**2, num_classes)
            self.output_squash = ScaledTanh()
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Uniform in +-2.4 / sqrt(inputs of the unit); of subsamplings, whose four inputs agree, in +-2.4 / 4."""
        for module in self:
            if isinstance(module, TableConv2d):
                area = module.weight[0].numel()
                inputs = torch.tensor([len(sources) * area for sources in module.table])
                bound = 2.4 / inputs.sqrt()
                module.weight.uniform_(-1, 1).mul_(bound[module.link[0], None, None])
                module.bias.uniform_(-1, 1).mul_(bound)
            elif isinstance(module, nn.Conv2d | nn.Linear | Subsampling):
                inputs_each = 4 if isinstance(module, Subsampling) else math.sqrt(module.weight[0].numel())
                assert module.bias is not None
                module.weight.uniform_(-2.4 / inputs_each, 2.4 / inputs_each)
                module.bias.uniform_(-2.4 / inputs_each, 2.4 / inputs_each)


class LeNet5ReLU(nn.Sequential):
    """The LeNet-5 of tutorials: all-to-all C3, ReLU, max pooling, a linear output; torch's own initialisation."""

    stages = ("c1_relu", "s2", "c3_relu", "s4")

    def __init__(self, *, num_classes: int = 10, in_channels: int = 1, image_size: int = 32) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(in_channels, 6, 5)
        self.c1_relu = nn.ReLU()
        self.s2 = nn.MaxPool2d(2)
        self.c3 = nn.Conv2d(6, 16, 5)
        self.c3_relu = nn.ReLU()
        self.s4 = nn.MaxPool2d(2)
        self.c5 = nn.Conv2d(16, 120, side_after_s4(image_size))
        self.c5_relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.f6 = nn.Linear(120, 84)
        self.f6_relu = nn.ReLU()
        self.output = nn.Linear(84, num_classes)


def side_after_s4(image_size: int) -> int:
    """Rows (and columns) of S4: two 5x5 convolutions without padding, each followed by 2x2 subsampling."""
    require_image_size("LeNet", image_size, 16)
    return ((image_size - 4) // 2 - 4) // 2


def digit_codes() -> Tensor:
    """The ten 7x12 bitmaps of figure 3 as +1 (ink) and -1, shape (10, 84)."""
    rows = [[1.0 if cell == "#" else -1.0 for cell in "".join(bitmap.split())] for bitmap in DIGIT_CODES]
    codes = torch.tensor(rows)
    assert codes.shape == (10, math.prod((7, 12)))
    return codes


VARIANTS = {
    "lenet1": (
        LeNet,
        {"maps": (4, 4), "table": LENET1_TABLE, "hidden": (), "codes": False, "image_size": 28},
    ),
    "lenet4": (
        LeNet,
        {"maps": (4, 8), "table": LENET4_TABLE, "hidden": (120,), "codes": False, "image_size": 32},
    ),
    "lenet5": (
        LeNet,
        {"maps": (6, 6), "table": LENET5_TABLE, "hidden": (120, 84), "codes": True, "image_size": 32},
    ),
    "lenet5_relu": (LeNet5ReLU, {"image_size": 32}),
}
