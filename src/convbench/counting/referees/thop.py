"""thop: layers of exactly torch's own classes; batch normalisation at 4 a value, average pooling, no biases."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from convbench.counting.referees.calls import PRODUCTS, Call, Counts

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.LayerNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
ADAPTIVE = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
RESIZING = {"nearest": 1, "linear": 5, "bilinear": 11, "bicubic": 259}  # a value


def run(net: nn.Module, images: Tensor) -> int:
    """What thop says."""
    import thop

    total, _ = thop.profile(net, (images,), verbose=False)
    return int(total)


def count(call: Call) -> Counts:
    """Its rule: by a layer's class, never by what its `forward` calls."""
    if call.function is not None:
        return {}
    layer: Any = call.module
    kind = type(layer)
    if kind in CONVOLUTIONS:  # a transposed one, too, by the values of its output
        return {PRODUCTS: call.values_out * layer.in_channels // layer.groups * math.prod(layer.weight.shape[2:])}
    if kind is nn.Linear:
        return {PRODUCTS: call.values_out * layer.in_features}
    if kind in NORMS:
        is_affine = getattr(layer, "affine", False) or getattr(layer, "elementwise_affine", False)
        times = 4 if is_affine else 2
        return {f"{times} a value": times * call.values_in}
    if kind in AVERAGES:
        return {"1 a value": call.values_out}
    if kind in ADAPTIVE:
        window = math.prod(call.args[0].shape[2:]) / math.prod(call.output.shape[2:])
        return {"a window's values and 1 more, for each value": int((window + 1) * call.values_out)}
    if kind is nn.Softmax:
        groups = call.values_in // call.args[0].shape[layer.dim]
        return {"3 a value, less 1": 3 * call.values_in - groups}
    if kind is nn.PReLU:
        return {"1 a value": call.values_in}
    if kind in (nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d):
        times = RESIZING.get(layer.mode, 0)
        return {f"{times} a value": times * call.values_out}
    return {}
