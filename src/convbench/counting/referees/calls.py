"""What other counters see of a network as it runs: each call of a module, and of torch's functions inside it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Counts = dict[str, int]  # what is counted, in words -> how much of it; PRODUCTS for multiply-adds
PRODUCTS = "multiply-adds"
OPERANDS = (  # the names of what functions take first, second and third
    ("input", "query"),
    ("weight", "other", "mat1", "batch1", "mat2", "key", "size"),
    ("mat2", "batch2", "value"),
)


@dataclass(frozen=True)
class Call:
    """One call of a module, or of a function that it uses.

    layer: the name of the innermost module; "(net)" for the network itself
    function: None for the module's own call, else such as "F.relu", "torch.conv2d" or "Tensor.add", which is what
        `+` calls, too; functions that another one calls are not seen
    args, kwargs: as they were given, on `meta`; a function's operands are among `args` however they were given
    """

    layer: str
    module: nn.Module
    function: str | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    output: Any = None

    @property
    def operator(self) -> str:
        """What was called: the module's class, or the function."""
        return self.function or type(self.module).__name__

    @property
    def values_in(self) -> int:
        return int(self.args[0].numel())

    @property
    def values_out(self) -> int:
        return int(self.output.numel())

    @property
    def positions(self) -> int:
        """Of the output's maps: rows times columns."""
        return math.prod(self.output.shape[2:])

    def argument(self, place: int, name: str) -> Any:
        """The argument at `place`, or by `name`; None where it was not given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name)


class CallRecorder(TorchFunctionMode):
    """Lists the calls of `net`'s modules and of torch's functions while it is entered."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.calls: list[Call] = []
        self.running: list[tuple[str, nn.Module]] = []
        self.hooks = ExitStack()

    def __enter__(self) -> CallRecorder:
        for name, module in self.net.named_modules():
            self.hooks.enter_context(module.register_forward_pre_hook(self._start(name or "(net)")))
            self.hooks.enter_context(module.register_forward_hook(self._end, with_kwargs=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self.hooks.close()

    def _start(self, name: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, _: self.running.append((name, module))

    def _end(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        name, _ = self.running.pop()
        self.calls.append(Call(name, module, None, args, kwargs, output))

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        if self.running and isinstance(output, Tensor):
            self.calls.append(Call(*self.running[-1], _full_name(function), _in_place(args, kwargs), kwargs, output))
        return output


def record_calls(net: nn.Module, images: Tensor) -> list[Call]:
    """The calls of one forward pass in the mode that `net` is in."""
    with torch.no_grad(), CallRecorder(net) as recorder:
        net(images)
    return recorder.calls


def stand_in(net: nn.Module, make: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy in evaluation mode, with `make(tensor)` in the place of every parameter and buffer; `net` stays as it is.

    Counters leave attributes and hooks behind, so each of them gets a copy of its own.
    """
    own: dict[int, Any] = {id(p): nn.Parameter(make(p), requires_grad=p.requires_grad) for p in net.parameters()}
    own |= {id(buffer): make(buffer) for buffer in net.buffers()}
    return copy.deepcopy(net, own).eval()


def on_meta(tensor: Tensor) -> Tensor:
    """The same shape without values."""
    return torch.empty_like(tensor, device="meta")


def one_value(tensor: Tensor) -> Tensor:
    """The same shape on the CPU with a single zero for all of its values: it takes no memory."""
    return torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)


def _in_place(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """The arguments, with operands that were given by name behind them in their order."""
    for names in OPERANDS[len(args) :]:
        given = [kwargs[name] for name in names if name in kwargs]
        if not given:
            break
        args = (*args, given[0])
    return args


def _full_name(function: Any) -> str:
    """A function's name with its place: "F" of torch.nn.functional, "torch", or "Tensor" of a method."""
    name = str(function.__name__)
    if getattr(function, "__qualname__", "").startswith("TensorBase."):
        return f"Tensor.{name}"
    module = getattr(function, "__module__", None) or ""
    return f"F.{name}" if module in ("torch.nn.functional", "torch._C._nn") else f"torch.{name}"
