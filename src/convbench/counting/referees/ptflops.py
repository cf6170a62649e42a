"""ptflops: layers of exactly torch's own classes by hooks, and again the functions of torch that they call."""

from __future__ import annotations

import io
import math

from torch import Tensor, nn

from convbench.counting.referees.calls import PRODUCTS, Call, Counts

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
ACTIVATIONS = (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU)
POOLING = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)
NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
BY_VALUES_READ = (
    *("relu", "prelu", "elu", "relu6", "gelu", "silu", "softmax", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("max_pool1d", "max_pool2d", "max_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
)
BUILT_IN = ("prelu", "avg_pool1d", "adaptive_avg_pool1d")  # F.prelu is torch.prelu


def run(net: nn.Module, images: Tensor) -> int | None:
    """What ptflops says; None where it fails, which it tells on the screen alone."""
    import ptflops

    total, _ = ptflops.get_model_complexity_info(
        net, tuple(images.shape[1:]), print_per_layer_stat=False, as_strings=False, ost=io.StringIO()
    )
    return None if total is None else int(total)


def count(call: Call) -> Counts:
    """Its rule. `+`, `*` and `@` are not among the functions that it watches."""
    return _count_layer(call) if call.function is None else _count_function(call, call.function)


def _count_layer(call: Call) -> Counts:
    layer, kind = call.module, type(call.module)
    if kind in (*CONVOLUTIONS, *TRANSPOSED):
        weight = layer.get_parameter("weight")
        at = call.args[0].shape[2:] if kind in TRANSPOSED else call.output.shape[2:]
        return {PRODUCTS: weight.numel() * math.prod(at), "biases": _if_biased(layer, call.values_out)}
    if kind is nn.Linear:
        rows = math.prod(call.args[0].shape[:-1])
        weight = layer.get_parameter("weight")
        return {PRODUCTS: rows * weight.numel(), "biases": _if_biased(layer, rows * weight.shape[0])}
    if kind in (*ACTIVATIONS, nn.Upsample):
        return {"1 a value": call.values_out}
    if kind in POOLING:
        return {"1 for each value that is read": call.values_in}
    if kind in NORMS:
        times = 2 if getattr(layer, "affine", False) else 1
        return {f"{times} a value": times * call.values_in}
    return {}


def _count_function(call: Call, function: str) -> Counts:
    place, _, name = function.rpartition(".")
    is_layers_own = type(call.module) in (*ACTIVATIONS, *POOLING, nn.Upsample)
    again = f"the same once more, as {type(call.module).__name__} calls it" if is_layers_own else ""
    if name in (BY_VALUES_READ if place == "F" else BUILT_IN):
        return {again or "1 for each value that is read": call.values_in}
    if function == "F.interpolate":
        return {again or "1 a value": call.values_out}
    if function == "F.local_response_norm":  # by what it calls: a product, avg_pool3d of padded channels, mul and add
        channels = call.args[0].shape[1]
        padded = call.values_in // channels * (channels + call.args[1] - 1)
        return {"3 a value, and 1 for each that its window reads": 3 * call.values_in + padded}
    if function in ("torch.matmul", "torch.mm", "torch.bmm"):
        return {PRODUCTS: call.values_in * call.args[1].shape[-1]}
    if function in ("torch.addmm", "torch.baddbmm"):
        return {PRODUCTS: call.args[1].numel() * call.args[2].shape[-1], "biases": call.values_in}
    if function in ("torch.add", "torch.mul"):
        return {"1 a value": call.values_out}
    return {}


def _if_biased(layer: nn.Module, values: int) -> int:
    return values if layer.bias is not None else 0
