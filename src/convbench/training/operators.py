"""Operators whose training torch's own kernels make slow on processors, done by faster ones: the results are the same.

A mode, not layers of our own: it serves any network while it lasts, and leaves modules, weights and counts as they are.
What it changes, measured on two AVX512-BF16 cores in bf16 at the sizes of AlexNet and MobileNet:

- local response normalisation, 13 times faster forward and back: torch pools in fp32 over a copy with an axis more, and
  raises to a power; here the sum over neighbouring channels is a product with a matrix of a diagonal band
- the gradient to the input of depthwise convolutions with a stride, 3 times faster: torch falls back to a plain kernel
  in bf16; here it is a convolution without stride of the gradient with zeros in between
- slices and means of tensors with the channels last: torch's gradients have the channels first, and so has every
  gradient that is added to them, which makes what follows slow (a tenth of ResNet-20's step); here they are put right
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]  # rows, columns
CHANNELS_FIRST_GRADIENTS = (torch.Tensor.__getitem__, torch.Tensor.mean, torch.mean)


class FasterOperators(TorchFunctionMode):
    """While it lasts, the operators above are computed the faster way, on processors."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in CHANNELS_FIRST_GRADIENTS and args[0].requires_grad and _has_channels_last(args[0]):
            return func(_ChannelsLastGradient.apply(args[0]), *args[1:], **kwargs)
        if func is F.local_response_norm and args[0].ndim == 4 and args[0].device.type == "cpu":
            return local_response_norm(*args, **kwargs)
        if func is torch.conv2d and not kwargs and len(args) == 7:
            x, weight, bias, stride, padding, dilation, groups = args
            strided_depthwise = groups == len(weight) == x.shape[1] > 1 and _pair(stride) != (1, 1) == _pair(dilation)
            if strided_depthwise and bias is None and x.requires_grad and _in_bf16(x) and not isinstance(padding, str):
                return _StridedDepthwise.apply(x.bfloat16(), weight.bfloat16(), _pair(stride), _pair(padding))
        return func(*args, **kwargs)


def local_response_norm(x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """As `torch.nn.functional.local_response_norm`, of (n, c, h, w); channels last is fastest."""
    result: Tensor = _LocalResponseNorm.apply(x, size, alpha, beta, k)
    return result


class _LocalResponseNorm(torch.autograd.Function):
    """y = x s^-beta with s = k + alpha / size * (the sum of x^2 over `size` channels around each).

    An image at a time, which stays in the cache between the passes; in fp32 or better but for what is multiplied.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        neighbours = _band(x.shape[1], size).to(x)
        y, s = torch.empty_like(x), torch.empty_like(x)
        with torch.autocast(x.device.type, enabled=False):
            for xi, yi, si in zip(x.split(1), y.split(1), s.split(1), strict=True):
                wide = _wide(F.conv2d(xi.square(), neighbours)).mul_(alpha / size).add_(k)
                si.copy_(wide)
                yi.copy_(_inverse_power(wide, beta).mul_(xi))
        ctx.save_for_backward(x, s)
        ctx.constants = size, alpha, beta
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, s = ctx.saved_tensors
        size, alpha, beta = ctx.constants
        neighbours = _band(x.shape[1], size).to(x).transpose(0, 1)
        result = torch.empty_like(x)
        with torch.autocast(x.device.type, enabled=False):
            for gi, xi, si, ri in zip(*(one.split(1) for one in (gradient, x, s, result)), strict=True):
                wide = _wide(si)
                direct = _inverse_power(wide, beta).mul_(gi)
                to_neighbours = (direct * xi).div_(wide).to(x.dtype)
                ri.copy_(direct.sub_(_wide(F.conv2d(to_neighbours, neighbours)).mul_(xi).mul_(2 * alpha * beta / size)))
        return result, None, None, None, None


class _StridedDepthwise(torch.autograd.Function):
    """A depthwise convolution with a stride, whose gradient to the input is a convolution without."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        (rows, columns), (top, left), channels = ctx.stride, ctx.padding, len(weight)
        height, width = weight.shape[2:]
        whole = x.shape[2] + 2 * top - height + 1, x.shape[3] + 2 * left - width + 1  # the output's, had it no stride
        spread = gradient.new_zeros((len(x), *whole, channels)).permute(0, 3, 1, 2)
        spread[:, :, ::rows, ::columns] = gradient
        to_input = F.conv2d(spread, weight.flip(2, 3), None, 1, (height - 1 - top, width - 1 - left), 1, channels)
        to_weight = torch.ops.aten.convolution_backward(
            *(gradient, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), channels),
            (False, True, False),
        )[1]
        return to_input, to_weight, None, None


class _ChannelsLastGradient(torch.autograd.Function):
    """The tensor itself, whose gradient gets the channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=torch.channels_last)


def _has_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _in_bf16(x: Tensor) -> bool:
    """Whether a convolution of `x` computes in bf16, on a processor."""
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return x.device.type == "cpu" and (x.dtype == torch.bfloat16 or (autocast and x.dtype == torch.float32))


def _pair(sizes: int | Sequence[int]) -> Pair:
    rows, columns = (sizes, sizes) if isinstance(sizes, int) else sizes
    return rows, columns


def _band(channels: int, size: int) -> Tensor:
    """The kernel (channels, channels, 1, 1) that sums over torch's window: size // 2 channels below, the rest above."""
    places = torch.arange(channels)
    offsets = places - places[:, None]  # from the channel that is normalised to its neighbour
    return ((-(size // 2) <= offsets) & (offsets <= (size - 1) // 2)).float()[:, :, None, None]


def _wide(x: Tensor) -> Tensor:
    """A copy in fp32, or fp64 where `x` is."""
    return x.to(torch.promote_types(x.dtype, torch.float32), copy=True)


def _inverse_power(x: Tensor, exponent: float) -> Tensor:
    """x ** -exponent, by roots where the exponent is 3 / 4."""
    if exponent != 0.75:
        return x.pow(-exponent)
    root = x.rsqrt()
    return root.sqrt().mul_(root)
