"""What batch normalisation remembers of a batch that goes through the network in pieces."""

from __future__ import annotations

import torch
from torch import nn

from convbench.training.processes import Processes


class AveragedBuffers:
    """Running statistics after a batch: the mean of what each piece, begun from the same ones, leaves.

    So they do not depend on the order of the pieces, nor on the processes that took them.
    """

    def __init__(self, net: nn.Module) -> None:
        self.buffers = [buffer for buffer in net.buffers() if buffer.is_floating_point()]
        self.counts = [buffer for buffer in net.buffers() if not buffer.is_floating_point()]  # of batches: one more
        self.before = [buffer.clone() for buffer in self.buffers]
        self.counts_before = [count.clone() for count in self.counts]
        self.sums = [torch.zeros_like(buffer, dtype=torch.float64) for buffer in self.buffers]

    def take(self) -> None:
        """Note what a piece left, and begin the next from the same statistics."""
        for buffer, total, before in zip(self.buffers, self.sums, self.before, strict=True):
            total += buffer
            buffer.copy_(before)
        for count, former in zip(self.counts, self.counts_before, strict=True):
            count.copy_(former)

    def put(self, pieces: int, processes: Processes) -> None:
        """Leave the mean over all `pieces`, of this process and the others."""
        processes.sum(*self.sums)
        for buffer, total in zip(self.buffers, self.sums, strict=True):
            buffer.copy_(total / pieces)
        for count in self.counts:
            count.add_(1)
