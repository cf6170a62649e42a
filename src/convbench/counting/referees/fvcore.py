"""fvcore: multiply-adds, batch normalisation at 2 a value, and adaptive pooling, by the operators of a traced graph."""

from __future__ import annotations

import math

from torch import Tensor, nn

from convbench.counting.referees.calls import PRODUCTS, Call, Counts

ADAPTIVE = "1 for each value that is read"


def run(net: nn.Module, images: Tensor) -> int:
    """What fvcore says."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(net, images).unsupported_ops_warnings(False)
    return int(analysis.uncalled_modules_warnings(False).tracer_warnings("none").total())


def count(call: Call) -> Counts:
    """Its rule; operators that it has none for, such as sums of branches and max pooling, count nothing."""
    match (call.function or "").rpartition(".")[2]:
        case "conv1d" | "conv2d" | "conv3d":
            has_named_padding = isinstance(call.argument(4, "padding"), str)  # such as "same": an operator without rule
            return {} if has_named_padding else {PRODUCTS: call.args[1].numel() * call.positions}
        case "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d":
            return {PRODUCTS: call.args[1].numel() * math.prod(call.args[0].shape[2:])}
        case "linear":
            return {PRODUCTS: call.values_in * call.args[1].shape[0]}
        case "matmul" | "mm" | "bmm":
            return {PRODUCTS: call.values_in * call.args[1].shape[-1]}
        case "addmm":
            return {PRODUCTS: call.args[1].numel() * call.args[2].shape[-1]}
        case "batch_norm":
            return _norm(call, 2 if call.argument(3, "weight") is not None else 1)
        case "layer_norm" | "group_norm":
            return _norm(call, 5 if call.argument(2, "weight") is not None else 4)
        case "instance_norm":
            return _norm(call, 5 if call.argument(3, "weight") is not None else 4)
        case "adaptive_avg_pool2d":
            return {ADAPTIVE: call.values_in}
        case "interpolate":
            return _interpolation(call)
    return {}


def _norm(call: Call, times: int) -> Counts:
    return {f"{times} a value": times * call.values_in}


def _interpolation(call: Call) -> Counts:
    """Of maps, to the nearest or bilinear; of others nothing."""
    times = {"nearest": 1, "bilinear": 4}.get(call.argument(3, "mode") or "nearest", 0)
    return {f"{times} a value": times * call.values_out} if times and call.output.dim() == 4 else {}
