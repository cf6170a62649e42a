"""torch's FlopCounterMode: two for each multiply-add of convolutions, matrix products and attention, no more."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from convbench.counting.referees.calls import PRODUCTS, Call, Counts


def run(net: nn.Module, images: Tensor) -> int:
    """What it says."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(images)
    return int(counter.get_total_flops())


def count(call: Call) -> Counts:
    """Its rule."""
    match (call.function or "").rpartition(".")[2]:
        case "conv1d" | "conv2d" | "conv3d":
            return {PRODUCTS: 2 * call.args[1].numel() * call.positions}
        case "conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d":
            return {PRODUCTS: 2 * call.args[1].numel() * math.prod(call.args[0].shape[2:])}
        case "linear":
            return {PRODUCTS: 2 * call.values_in * call.args[1].shape[0]}
        case "matmul" | "__matmul__" | "mm" | "bmm":
            return {PRODUCTS: 2 * call.values_out * call.args[0].shape[-1]}
        case "addmm" | "baddbmm":
            return {PRODUCTS: 2 * call.values_out * call.args[1].shape[-1]}
        case "scaled_dot_product_attention":
            query, key, value = call.args[:3]
            scores = math.prod(query.shape[:-1]) * key.shape[-2]
            return {PRODUCTS: 2 * scores * (query.shape[-1] + value.shape[-1])}
    return {}
