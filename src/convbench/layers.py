"""Blocks that two or more families share. One module per operation, never in place: hooks must see every one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import count
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convbench.errors import RequestError

Size2d = int | tuple[int, int]


class WithAuxiliary(NamedTuple):
    """What a network with auxiliary heads returns in training mode; in evaluation mode it returns the logits alone.

    logits: (n, classes)
    aux_logits: of the auxiliary heads, from the input upwards, each (n, classes)
    aux_weight: the paper's weight of each auxiliary loss
    """

    logits: Tensor
    aux_logits: tuple[Tensor, ...]
    aux_weight: float


class ConvBNReLU(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU (left out with `relu=False`): `conv`, `bn`, `relu`.

    padding: by default half the kernel, which keeps the size at stride 1; 0 is what Inception papers mark "V"
    same: pad as TensorFlow's SAME does; see SameConv2d
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size2d,
        *,
        stride: int = 1,
        padding: Size2d | None = None,
        groups: int = 1,
        same: bool = False,
        eps: float = 1e-5,
        relu: bool = True,
    ) -> None:
        super().__init__()
        kind = SameConv2d if same else nn.Conv2d
        padding = half(kernel_size) if padding is None else padding
        self.conv = kind(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=eps)
        if relu:
            self.relu = nn.ReLU()


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: ceil(size / stride) positions, the odd pixel at the bottom and right.

    With `same = False` it is torch's symmetric one, which samples another grid at stride 2: weights were trained
    for one or the other.
    """

    same: bool = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.same or self.stride == (1, 1):  # at stride 1 both are half the (odd) kernel
            return super().forward(x)
        rows, columns = (
            same_padding(size, kernel, stride)
            for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True)
        )
        padded = F.pad(x, (*columns, *rows))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling padded as TensorFlow's SAME; with `same = False` by half the window, as torch ports do."""

    same: bool = True

    def __init__(self, kernel_size: int, stride: int) -> None:
        super().__init__(kernel_size, stride, padding=kernel_size // 2)
        self.window = kernel_size, stride

    def forward(self, x: Tensor) -> Tensor:
        if not self.same:
            symmetric: Tensor = super().forward(x)
            return symmetric
        kernel, stride = self.window
        rows, columns = (same_padding(size, kernel, stride) for size in x.shape[2:])
        return F.max_pool2d(F.pad(x, (*columns, *rows), value=-math.inf), kernel, stride)


class GlobalAvgPool(nn.Module):
    """The mean of each map: (n, channels, height, width) to (n, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Concat(nn.Module):
    """Branches over one input, their outputs side by side along the channels, in the order in which they are given.

    >>> Concat(a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 8, 3, padding=1))(torch.zeros(1, 3, 5, 5)).shape
    torch.Size([1, 12, 5, 5])
    """

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], dim=1)


class ResidualBlock(nn.Module):
    """relu(residual(x) + shortcut(x)): `residual` learns the difference from what `shortcut` carries.

    He et al., CVPR 2016, equation 2.
    """

    def __init__(self, residual: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.residual = residual
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        activation: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return activation


def half(kernel_size: Size2d) -> tuple[int, int]:
    """The padding that keeps the size: half of each (odd) side of the kernel."""
    rows, columns = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return rows // 2, columns // 2


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and after, as TensorFlow's SAME adds them along one dimension.

    >>> same_padding(224, 3, 2), same_padding(7, 3, 2)
    ((0, 1), (1, 1))
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def side_after(layers: Iterable[nn.Module], side: int) -> int:
    """Rows (and columns) that convolutions and poolings, one after the other, make of a square image; 0 if none.

    Modules within the given ones count in the order in which they were added; all others keep the size.
    """
    for layer in (module for top in layers for module in top.modules()):
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            kernel, stride, padding = (
                value if isinstance(value, int) else int(value[0])
                for value in (layer.kernel_size, layer.stride, layer.padding)
            )
            steps = side + 2 * padding - kernel
            if getattr(layer, "ceil_mode", False):
                after = math.ceil(steps / stride) + 1
                side = after - 1 if (after - 1) * stride >= side + padding else after  # no window in the padding alone
            else:
                side = steps // stride + 1
            if side < 1:
                return 0
    return side


def require_side(layers: Iterable[nn.Module], image_size: int, what: str) -> int:
    """`side_after(layers, image_size)`; RequestError naming the smallest size that works where nothing is left."""
    layers = list(layers)
    side = side_after(layers, image_size)
    if side < 1:
        smallest = next(size for size in count(image_size + 1) if side_after(layers, size) >= 1)
        require_image_size(what, image_size, smallest)
    return side


def require_image_size(what: str, image_size: int, smallest: int) -> None:
    """RequestError where `what` cannot take images of image_size, naming the smallest that works."""
    if image_size < smallest:
        raise RequestError(
            f"{what} needs images of at least {smallest}x{smallest}, found {image_size}x{image_size}: {smallest} works"
        )


@torch.no_grad()
def init_he(net: nn.Module, *, fan: Literal["fan_in", "fan_out"] = "fan_in") -> None:
    """He initialisation: convolutions and linear layers N(0, 2 / fan), biases 0, batch normalisation 1 and 0.

    He et al., Delving deep into rectifiers, ICCV 2015, equations 10 (fan_in) and 14 (fan_out).
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def init_normal(net: nn.Module, std: float, *, truncate: bool = False) -> None:
    """Convolutions and linear layers N(0, std^2), their biases 0; truncated, none lies beyond two deviations."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if truncate:
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
            else:
                module.weight.normal_(0, std)
            if module.bias is not None:
                module.bias.zero_()
