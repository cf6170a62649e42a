"""Which tensors are alive at each operator, by bytes: PyTorch's own reference counts, watched over `meta` tensors."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from convbench.counting.workspace import as_on_cpu, workspace_bytes


@dataclass
class Moment:
    """What stands in memory at one operator: `alive` bytes by the number of their storage, and the kernel's own."""

    alive: dict[int, int] = field(default_factory=dict)
    workspace: int = 0
    layer: str = ""
    phase: str = ""

    @property
    def total(self) -> int:
        return sum(self.alive.values()) + self.workspace


class Liveness(TorchDispatchMode):
    """Numbers each storage that an operator makes, and notes when the last reference to it goes.

    Views and in-place results share their storage and count once; what autograd keeps for the backward pass lives as
    long as its graph. The fullest moment is `peak`; `begin` names what runs next, `mark` says what a tensor is.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = {module: name or "(net)" for name, module in net.named_modules()}
        self.peak, self.kinds = Moment(), dict[int, str]()
        self._alive, self._total, self._peak_total = dict[int, int](), 0, 0
        self._numbers: dict[int, int] = {}  # address of a storage alive -> its number
        self._references: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._count = 0
        self._running: list[str] = []
        self.begin("")

    @contextmanager
    def watch(self) -> Iterator[Liveness]:
        """Watch what runs in the block. The hooks that tell the layer are global ones: no module is touched."""
        with register_module_forward_pre_hook(self._start), register_module_forward_hook(self._end), self:
            yield self

    def begin(self, phase: str) -> None:
        """What runs from here on belongs to `phase`."""
        self.phase, self._backward_of = phase, ""

    def mark(self, tensors: Iterable[Tensor], kind: str) -> None:
        """Say what the storages of `tensors` are, such as "weights"; those that PyTorch made elsewhere are skipped."""
        for tensor in tensors:
            if number := self._numbers.get(tensor.untyped_storage()._cdata):
                self.kinds[number] = kind

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = as_on_cpu(operator, operator(*args, **(kwargs or {})), args)
        for result in tree_leaves(out):
            if isinstance(result, Tensor):
                self._add(result.untyped_storage())
        workspace = workspace_bytes(operator, out, args)
        if self._total + workspace > self._peak_total:
            self._peak_total = self._total + workspace
            self.peak = Moment(dict(self._alive), workspace, self._layer(), self.phase)
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address in self._numbers:
            return
        self._count += 1
        number = self._count

        def forget(_: Any) -> None:
            self._total -= self._alive.pop(number)
            del self._numbers[address], self._references[number]

        self._numbers[address], self._alive[number] = number, size
        self._references[number] = weakref.ref(storage, forget)
        self._total += size

    def _layer(self) -> str:
        return self._running[-1] if self._running else self._backward_of

    def _start(self, module: nn.Module, _: Any) -> None:
        if module in self.names:
            self._running.append(self.names[module])

    def _end(self, module: nn.Module, _: Any, output: Any) -> None:
        if module not in self.names:
            return
        name = self._running.pop()
        for result in tree_leaves(output):
            node = result.grad_fn if isinstance(result, Tensor) else None
            if node is None or "layer" in (notes := cast("dict[str, str]", node.metadata)):
                continue  # nothing to go back through, or an inner module made this result
            notes["layer"] = name
            node.register_prehook(lambda _: setattr(self, "_backward_of", name))
