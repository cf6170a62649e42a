"""The running mean of a network over its training's steps."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = list[Tensor] | tuple[Tensor, ...]


def running_mean(net: nn.Module, decay: float) -> AveragedModel:
    """A copy of `net` that each `update_parameters(net)` moves towards it by the share 1 - `decay`; the first copies.

    Batch normalisation's statistics are averaged with the weights, as in the papers' TensorFlow: those of the net
    itself are of other weights. Whole numbers, such as counts of batches, are copied.
    """
    mean = get_ema_multi_avg_fn(decay)

    def update(averages: Tensors, currents: Tensors, updates: Tensor | int) -> None:
        if averages[0].is_floating_point():  # tensors come here type by type
            mean(averages, currents, updates)
        else:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)

    return AveragedModel(net, multi_avg_fn=update, use_buffers=True)
