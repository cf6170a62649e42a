"""The memory that a network will take, by the liveness of its tensors, before anything is allocated.

The whole forward pass, or training step, runs on `meta` tensors, which have shapes and reference counts but no bytes:
what PyTorch would allocate and free, saved activations and temporary results included, it shows in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from convbench.counting.liveness import Liveness
from convbench.errors import RequestError, unknown
from convbench.modes import borrowed_mode
from convbench.notebook import figure, table

STEPS = 2  # the optimiser makes its state in the first; the second starts with it
OPTIMISERS: dict[str, Callable[[list[Tensor]], torch.optim.Optimizer]] = {
    "sgd": lambda params: torch.optim.SGD(params),
    "sgd-momentum": lambda params: torch.optim.SGD(params, momentum=0.9),
    "sgd-momentum-decay": lambda params: torch.optim.SGD(params, momentum=0.9, weight_decay=1e-4),
    "adam": lambda params: torch.optim.Adam(params),
    "adamw": lambda params: torch.optim.AdamW(params),
}
UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True)
class Memory:
    """What stands in memory at the fullest moment, in bytes; the parts sum to `peak`.

    weights: parameters and buffers
    inputs: the batch's images and, in training, labels
    gradients, optimiser_state: of the parameters; 0 in inference
    activations: all other tensors alive: those kept for the backward pass, and results on their way
    workspace: what the running kernel takes besides (see counting/workspace.py)
    at_peak, phase: the layer that runs then, and in which pass: "forward", "backward" or "optimiser step"

    Not included are Python and PyTorch themselves, what the C library keeps of freed blocks and, on CUDA, the
    context, cuDNN's workspaces and the allocator's rounding.
    """

    network: str
    input_shape: tuple[int, ...]
    batch_size: int
    optimiser: str | None
    weights: int
    inputs: int
    gradients: int
    optimiser_state: int
    activations: int
    workspace: int
    peak: int
    at_peak: str
    phase: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"input_shape": list(self.input_shape)}

    def _repr_html_(self) -> str:
        """The parts in a notebook."""
        names = ("weights", "inputs", "gradients", "optimiser_state", "activations", "workspace", "peak")
        rows = [(name.replace("_", " "), figure(getattr(self, name) / 2**20, 1)) for name in names]
        what = f"training with {self.optimiser}" if self.optimiser else "inference"
        caption = f"{self.network}, {what}, a batch of {self.batch_size}: fullest in {self.at_peak}, {self.phase}"
        return table(caption, ("part", "MiB"), rows)


def predict_memory(
    net: nn.Module,
    input_shape: tuple[int, ...],
    batch_size: int,
    *,
    training: bool = False,
    optimiser: str = "sgd-momentum",
    name: str = "",
) -> Memory:
    """The most memory that inference, or training, takes at once; `net` is left as it was and not copied.

    Args:
        input_shape: (channels, height, width) of one float32 image; the batch lies plain, channels before rows
        batch_size: images at a time
        training: whole steps instead of inference: zero_grad (to None), forward, cross-entropy of each output
            (auxiliary heads, too), backward, optimiser
        optimiser: one of OPTIMISERS, as torch runs them on a CPU, parameter by parameter; "sgd-momentum-decay" adds
            weight decay to the gradients, which takes a copy of one at a time

    Raises RequestError for an unknown optimiser, a batch below 1 and images that the network cannot read.
    """
    if batch_size < 1:
        raise RequestError(f"expected a batch of 1 image or more, found {batch_size}")
    if optimiser not in OPTIMISERS:
        raise unknown("optimiser", optimiser, OPTIMISERS)
    run, name = _Run(net, (batch_size, *input_shape)), name or type(net).__name__
    try:
        with borrowed_mode(net, training=training), run.liveness.watch(), torch.set_grad_enabled(training):
            run.train(OPTIMISERS[optimiser]) if training else run.infer()
    except (RuntimeError, ValueError) as error:
        raise RequestError(
            f"{name} cannot {'train on' if training else 'read'} {batch_size} images of shape {input_shape}: {error}"
        ) from error
    peak, sizes = run.liveness.peak, dict[str, int]()
    for number, size in peak.alive.items():
        kind = run.liveness.kinds.get(number, "activations")
        sizes[kind] = sizes.get(kind, 0) + size
    kinds = ("weights", "inputs", "gradients", "optimiser_state", "activations")
    return Memory(
        network=name,
        input_shape=input_shape,
        batch_size=batch_size,
        optimiser=optimiser if training else None,
        **{kind: sizes.get(kind, 0) for kind in kinds},
        workspace=peak.workspace,
        peak=peak.total,
        at_peak=peak.layer,
        phase=peak.phase,
    )


def largest_batch(
    net: nn.Module,
    input_shape: tuple[int, ...],
    limit_bytes: int,
    *,
    training: bool = False,
    optimiser: str = "sgd-momentum",
) -> int:
    """The most images at a time for which `predict_memory` stays within `limit_bytes`; 0 where not even one fits.

    Each moment's bytes grow evenly with the batch, so the peak, the largest of them, is convex in it: a line through
    two batches meets the limit at or beyond the answer, a line through one below and one above it at or before.
    """

    def peak(batch_size: int) -> int:
        return predict_memory(net, input_shape, batch_size, training=training, optimiser=optimiser).peak

    two = peak(2)
    if two > limit_bytes:
        try:
            return int(peak(1) <= limit_bytes)
        except RequestError:  # batch statistics can need two
            return 0
    fits, least = 2, two
    over = fits + (limit_bytes - two) // (peak(3) - two) + 1
    while (most := peak(over)) <= limit_bytes:
        fits, least, over = over, most, 2 * over
    while over - fits > 1:
        middle = fits + (limit_bytes - least) * (over - fits) // (most - least)
        middle = min(max(middle, fits + 1), over - 1)
        size = peak(middle)
        if size <= limit_bytes:
            fits, least = middle, size
        else:
            over, most = middle, size
    return fits


def parse_size(text: str) -> int:
    """Bytes of a size such as 8GiB, 512 MB or 1e9; RequestError otherwise.

    >>> parse_size("8GiB"), parse_size("1.5 MB")
    (8589934592, 1500000)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e\d{1,2})?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE)
    size = int(float(match[1]) * UNITS[(match[2] or "").lower()]) if match else 0
    if size < 1:
        raise RequestError(f"expected a size such as 8GiB, 512MiB or 2GB, found {text!r}")
    return size


class _Run:
    """The network's tensors and a batch on `meta`, and what is done with them, under watch."""

    def __init__(self, net: nn.Module, shape: tuple[int, ...]) -> None:
        self.net, self.shape, self.liveness = net, shape, Liveness(net)

    def infer(self) -> None:
        tensors, images = self._make()
        self.liveness.begin("forward")
        functional_call(self.net, tensors, (images,))

    def train(self, make_optimiser: Callable[[list[Tensor]], torch.optim.Optimizer]) -> None:
        live = self.liveness
        tensors, images = self._make()
        labels = torch.empty(len(images), dtype=torch.int64, device="meta")
        live.mark([labels], "inputs")
        params = [tensors[key] for key, _ in self.net.named_parameters()]
        optimiser = make_optimiser([param for param in params if param.requires_grad])
        for _ in range(STEPS):
            live.begin("forward")
            optimiser.zero_grad()
            loss = _loss(functional_call(self.net, tensors, (images,)), labels)
            live.begin("backward")
            loss.backward()
            live.mark((param.grad for param in params if param.grad is not None), "gradients")
            live.begin("optimiser step")
            optimiser.step()
            live.mark((one for one in tree_leaves(optimiser.state) if isinstance(one, Tensor)), "optimiser_state")

    def _make(self) -> tuple[dict[str, Tensor], Tensor]:
        """Stand-ins of the parameters and buffers, and of the images."""
        named = (*self.net.named_parameters(), *self.net.named_buffers())
        tensors = {key: torch.empty_like(one, device="meta").requires_grad_(one.requires_grad) for key, one in named}
        images = torch.empty(self.shape, device="meta")
        self.liveness.mark(tensors.values(), "weights")
        self.liveness.mark([images], "inputs")
        return tensors, images


def _loss(output: Any, labels: Tensor) -> Tensor:
    """The sum of the cross-entropies of every floating output, (n, classes) or (n, classes, ...)."""
    outputs = [one for one in tree_leaves(output) if isinstance(one, Tensor) and one.is_floating_point()]
    losses = [
        F.cross_entropy(one, labels.reshape(-1, *(1,) * (one.ndim - 2)).expand(-1, *one.shape[2:])) for one in outputs
    ]
    return torch.stack(losses).sum()
