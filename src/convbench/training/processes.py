"""One training on many processes, as `torchrun` starts them; its result does not depend on how many there are.

A batch is cut into pieces; the recipe says into how many. With at least as many as processes, each takes whole
pieces. A batch in one piece is shared by all, and its batch normalisation takes the statistics of all its images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from convbench.errors import RequestError

T = TypeVar("T")
# How long the processes wait for each other. Torch's 10 and 30 minutes end what is well: the first process alone reads
# all files for the fingerprint and decodes those for testing, hours on ImageNet. A process that has died is noticed
# without it, by torchrun.
TIMEOUT = timedelta(hours=12)


class Processes:
    """The processes that train together, and which of them this is; one alone where `torchrun` started none."""

    def __init__(self) -> None:
        together = distributed.is_available() and distributed.is_initialized()
        self.rank, self.count = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def wrap(self, net: nn.Module, pieces: int) -> nn.Module:
        """`net` with gradients that are summed over the processes, and where they share a piece, its statistics too."""
        if self.count == 1:
            return net
        if pieces == 1:
            share_statistics(net)
        on_gpu = next(net.parameters()).device.type == "cuda"
        # Every process makes the same buffers, or the loop averages them.
        return DistributedDataParallel(
            net, device_ids=[torch.cuda.current_device()] if on_gpu else None, broadcast_buffers=False
        )

    def without_sum(self, net: nn.Module) -> AbstractContextManager[None]:
        """While it lasts, gradients of `net` (wrapped) stay with this process: more pieces follow."""
        return net.no_sync() if isinstance(net, DistributedDataParallel) else nullcontext()

    def sum(self, *values: Tensor) -> None:
        """Each tensor becomes its sum over the processes."""
        if self.count > 1:
            for value in values:
                distributed.all_reduce(value)

    def any(self, here: bool, device: torch.device) -> bool:
        """Whether it holds in any of the processes."""
        if self.count == 1:
            return here
        flag = torch.tensor(int(here), device=device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)

    def share(self, value: T) -> T:
        """The first process's value, in all of them."""
        values = [value]
        if self.count > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """The values of all processes."""
        values = [value] * self.count
        if self.count > 1:
            distributed.all_gather_object(values, value)
        return values

    def check(self, n: int, batch_size: int, pieces: int) -> None:
        """RequestError unless each batch of `n` images gives every piece and every process at least one."""
        if pieces > 1 and pieces % self.count:
            raise RequestError(
                f"pieces: expected 1 or a multiple of the {self.count} processes, found {pieces}; nearest is "
                f"{-(-pieces // self.count) * self.count}"
            )
        last = n % batch_size or batch_size
        if last < max(pieces, self.count):
            raise RequestError(
                f"batch_size: expected that the last batch of {n} images holds {max(pieces, self.count)} or more, one "
                f"for each piece and process, found {last} with {batch_size}"
            )


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that `torchrun` started, joined by nccl on GPUs (a GPU each) and by gloo on processors."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if on_gpus else "gloo", timeout=TIMEOUT)
    try:
        yield Processes()
    finally:
        distributed.destroy_process_group()


def share_statistics(net: nn.Module) -> None:
    """Let the batch normalisations of `net`, in training, take the statistics of all processes' images; in place."""
    for layer in net.modules():
        if isinstance(layer, _BatchNorm):
            layer.forward = _SharedNorm(layer)  # type: ignore[assignment]


class _SharedNorm:
    """The forward pass of a batch normalisation over the images of all processes; torch has one for GPUs alone."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        layer = self.layer
        if not layer.training:
            plain: Tensor = type(layer).forward(layer, x)
            return plain
        wide, axes = x.to(torch.promote_types(x.dtype, torch.float32)), [0, *range(2, x.ndim)]
        shape = 1, -1, *[1] * (x.ndim - 2)
        total = _Sum.apply(torch.cat([wide.sum(axes), wide.new_tensor([x.numel() / x.shape[1]])]))
        mean, count = total[:-1] / total[-1], total[-1].detach()
        centred = wide - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            if layer.track_running_stats:
                layer.num_batches_tracked.add_(1)
                share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
                layer.running_mean.lerp_(mean, share)
                layer.running_var.lerp_(variance * count / (count - 1), share)
        normal = centred * torch.rsqrt(variance + layer.eps).view(shape)
        if layer.affine:
            normal = normal * layer.weight.view(shape) + layer.bias.view(shape)
        shared: Tensor = normal.to(x.dtype)
        return shared


class _Sum(torch.autograd.Function):
    """The sum over the processes, of values and, backwards, of gradients."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)
