"""Running a network on `meta` tensors, which have a shape and no memory, fast and without touching it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from convbench.counting.operators import ACTIVATIONS, name_of

aten = torch.ops.aten
LIKE_THEIR_INPUT = {*ACTIVATIONS, "add", "sub", "mul", "div"} - {"glu"}


@contextmanager
def twins_on_meta(net: nn.Module) -> Iterator[dict[Tensor, Tensor]]:
    """Empty twins on `meta` in the place of all parameters and buffers, by what they stand for.

    The modules' own tables are set aside and put back as they were, which is quicker than setting tensors by name.
    """
    kept = [(module, module._parameters, module._buffers) for module in net.modules()]
    twins: dict[Tensor, Tensor] = {}

    def twin(tensor: Tensor | None) -> Tensor | None:
        if tensor is not None and tensor not in twins:
            twins[tensor] = torch.empty(
                tensor.shape, dtype=tensor.dtype, device="meta", requires_grad=tensor.requires_grad
            )
        return None if tensor is None else twins[tensor]

    try:
        for module, parameters, buffers in kept:
            module.__dict__["_parameters"] = {name: twin(tensor) for name, tensor in parameters.items()}
            module.__dict__["_buffers"] = {name: twin(tensor) for name, tensor in buffers.items()}
        yield twins
    finally:
        for module, parameters, buffers in kept:
            module.__dict__["_parameters"], module.__dict__["_buffers"] = parameters, buffers


def run_on_meta(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The operator's result; that of common ones without torch's own way, which takes most of a trace's time."""
    x: Any = args[0] if args else None
    if operator is aten.native_batch_norm.default:
        return _with_statistics(x, (x.shape[1],) if args[5] else (0,))
    if operator is aten.native_layer_norm.default:
        kept = x.dim() - len(args[1])
        return _with_statistics(x, (*x.shape[:kept], *(1 for _ in args[1])))
    if operator is aten.cat.default and all(part.is_contiguous() and part.dtype == x[0].dtype for part in x):
        shape = list(x[0].shape)
        dim = args[1] if len(args) > 1 else 0
        shape[dim] = sum(part.shape[dim] for part in x)
        return torch.empty(shape, dtype=x[0].dtype, device="meta")
    name = name_of(operator)
    if name.removesuffix("_") in LIKE_THEIR_INPUT and _is_like_the_others(args):
        return x if name.endswith("_") else torch.empty_like(x)
    return operator(*args, **kwargs)


def _with_statistics(x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty(shape, device="meta"), torch.empty(shape, device="meta")


def _is_like_the_others(args: tuple[Any, ...]) -> bool:
    """Whether nothing is broadcast or promoted."""
    x, *others = args
    return (
        isinstance(x, Tensor)
        and x.is_floating_point()
        and all(
            (other.shape == x.shape and other.dtype == x.dtype)
            if isinstance(other, Tensor)
            else not isinstance(other, complex)
            for other in others
        )
    )
