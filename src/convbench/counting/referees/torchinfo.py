"""torchinfo: each weight once for each position of a convolution's output, and once anywhere else."""

from __future__ import annotations

import math

from torch import Tensor, nn

from convbench.counting.referees.calls import PRODUCTS, Call, Counts


def run(net: nn.Module, images: Tensor) -> int:
    """What torchinfo says."""
    import torchinfo

    return int(torchinfo.summary(net, input_data=images, device=images.device, verbose=0).total_mult_adds)


def count(call: Call) -> Counts:
    """Its rule: layers without children alone, and in them parameters, whatever is done with them."""
    if call.function is not None or next(call.module.children(), None) is not None:
        return {}
    is_convolution = "Conv" in type(call.module).__name__
    counts: Counts = {}
    for name, parameter in call.module.named_parameters():
        if name in ("weight", "bias"):
            times = call.positions if is_convolution else 1
        elif "weight" in name or "bias" in name:  # of recurrent layers: once a step
            times = math.prod(call.output.shape[1:2])
        else:
            continue
        is_product = "weight" in name and (is_convolution or parameter.dim() > 1)
        what = PRODUCTS if is_product else _in_words(name, is_convolution)
        counts[what] = counts.get(what, 0) + times * parameter.numel()
    return counts


def _in_words(name: str, is_convolution: bool) -> str:
    if "bias" in name:
        return "biases" if is_convolution else "biases, once an image"
    return "weights, once an image"
