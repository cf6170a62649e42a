"""The rows of a trace, as a network runs: whose work each operator is, what it reads and makes."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from convbench.counting.meta import run_on_meta
from convbench.counting.operators import (
    PAIRED,
    is_view,
    links_of_pooling,
    multiply_adds,
    name_of,
    operations_of,
    tensors_in,
)
from convbench.counting.receptive import Fields
from convbench.counting.rows import Row

aten = torch.ops.aten


@dataclass(slots=True)
class _Frame:
    """A module that is running. row: a layer's own, and None where each operator gets one

    read, made: the tensors read from outside, with their bytes, and those made here; views count as what they show
    """

    name: str
    module: nn.Module | None
    row: Row | None
    read: dict[int, int] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)


class _Call(NamedTuple):
    """An operator's call, and the tensors among its arguments and results."""

    operator: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any
    read: list[Tensor]
    made: list[Tensor]


class LayerCounter(TorchDispatchMode):
    """Gives each operator that runs under it to the innermost module that is running, as a row for each layer.

    A layer is a module without children. Tensors are known by identity, so all of them are kept until the end.
    """

    def __init__(self, net: nn.Module, batch: int, inputs: tuple[Any, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch = batch
        self.names = {module: name or "(net)" for name, module in net.named_modules()}
        self.running = [_Frame("(net)", net, None)]
        self.rows: list[Row] = []
        self.unknown: dict[str, Counter[str]] = {}
        self.own: dict[int, Tensor] = {}  # parameters and buffers by the identity of their twins
        self.counted: set[Tensor] = set()
        self.kept: list[Any] = [inputs]
        self.roots: dict[int, int] = {}  # views -> what they show
        self.biased: dict[int, bool] = {}  # outputs of convolutions that nothing has read yet: with a bias or not
        self.folding: dict[int, Row] = {}  # outputs of convolutions that batch normalisation alone has read
        self.fields = Fields(tensors_in(inputs))
        self.is_backward = False
        self.sequence: list[int] = []  # autograd's number after each operator, and the row that it belongs to
        self.rows_in_sequence: list[Row] = []

    def __enter__(self) -> LayerCounter:
        self.hooks = [register_module_forward_pre_hook(self._start), register_module_forward_hook(self._end)]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        for hook in self.hooks:
            hook.remove()

    def _start(self, module: nn.Module, _: Any) -> None:
        if module in self.names:
            name = self.names[module]
            is_layer = next(module.children(), None) is None
            self.running.append(_Frame(name, module, Row(name, type(module).__name__) if is_layer else None))

    def _end(self, module: nn.Module, _: Any, output: Any) -> None:
        if module in self.names:
            frame = self.running.pop()
            if frame.row is not None:
                self._close(frame, frame.row, output)

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = run_on_meta(operator, args, kwargs or {})
        self.kept.append(out)
        call = _Call(operator, args, kwargs or {}, out, list(tensors_in(args)), list(tensors_in((out,))))
        if self.is_backward:
            self._count_backward(call)
            return out
        self.fields.follow(operator, args, call.read, call.made)
        frame = self.running[-1]
        if is_view(operator):
            root = self.roots.get(id(args[0]), id(args[0]))
            self.roots.update((id(view), root) for view in call.made)
        elif frame.row is not None:
            self._count(frame, frame.row, call)
        elif call.read:
            row = Row(frame.name, name_of(operator).strip("_"))
            frame = _Frame(frame.name, None, row)
            self._count(frame, row, call)
            self._close(frame, row, out)
        return out

    def _count(self, frame: _Frame, row: Row, call: _Call) -> None:
        """One operator's work, for one image, to its row."""
        operations = self._operations(row, call)
        _add(row.operations, operations)
        if row.folded is not None:
            _add(row.folded, operations)
        links = multiply_adds(operations) + operations.get("bias", 0)
        row.connections += links + links_of_pooling(call.operator, call.args, call.out) // self.batch
        source = id(call.read[0]) if call.read else 0
        is_norm = call.operator is aten.native_batch_norm.default and not call.args[5]
        has_bias = self.biased.get(source) if is_norm else None
        for tensor in call.read:
            self.biased.pop(id(tensor), None)
            if norm := self.folding.pop(id(tensor), None):
                norm.folded = None
            root = self.roots.get(id(tensor), id(tensor))
            if root not in frame.made:
                frame.read[root] = max(frame.read.get(root, 0), tensor.numel() * tensor.element_size())
        frame.made.update(self.roots.get(id(made), id(made)) for made in call.made)
        if has_bias is not None:
            row.folded = {name: number for name, number in row.operations.items() if name != "batch_norm"}
            _add(row.folded, {} if has_bias else {"bias": call.out[0].numel() // self.batch})
            self.folding[source] = row
        if call.operator is aten.convolution.default:
            self.biased[id(call.out)] = call.args[2] is not None
        self.sequence.append(_get_sequence_nr())
        self.rows_in_sequence.append(row)

    def _operations(self, row: Row, call: _Call) -> dict[str, int]:
        operations = operations_of(call.operator, call.args, call.kwargs, call.out)
        if operations is None:
            self.unknown.setdefault(str(call.operator), Counter())[row.name] += 1
            return {}
        if row.kind == "LocalResponseNorm":
            operations = {"lrn": sum(operations.values())}
        return {name: number // self.batch for name, number in operations.items() if number >= self.batch}

    def _close(self, frame: _Frame, row: Row, output: Any) -> None:
        """The row of a layer, or of an operator of its own, is complete."""
        outputs = list(tensors_in((output,)))
        row.macs = multiply_adds(row.operations)
        count_links = getattr(frame.module, "count_links", None)
        if count_links is not None:
            row.macs, row.connections = count_links(output)
            _take_multiply_adds(row)
        if outputs:
            row.output_shape = tuple(outputs[0].shape[1:])
            row.activations = sum(map(Tensor.numel, outputs)) // self.batch
            row.receptive_field = self.fields.of(outputs[0])
        sizes = [(self.roots.get(id(one), id(one)), one.numel() * one.element_size() // self.batch) for one in outputs]
        row.activation_bytes = sum(size for _, size in sizes)
        row.bytes_written = sum(size for root, size in sizes if root in frame.made)
        for root, size in frame.read.items():
            tensor = self.own.get(root)
            row.bytes_read += size // self.batch if tensor is None else size
            if isinstance(tensor, nn.Parameter) and tensor not in self.counted:
                self.counted.add(tensor)
                row.params += tensor.numel()
        self.rows.append(row)

    def run_backward(self, outputs: Any, parameters: list[Tensor]) -> None:
        """From given gradients of the outputs to the parameters'."""
        self.is_backward = True
        outputs = [output for output in tensors_in((outputs,)) if output.requires_grad]
        if outputs and parameters:
            gradients = [torch.empty_like(output) for output in outputs]
            torch.autograd.grad(outputs, parameters, gradients, allow_unused=True)

    def _count_backward(self, call: _Call) -> None:
        """To the row of the operator whose gradient it is: autograd numbers what it records, in order."""
        node = torch._C._current_autograd_node()
        if node is None or is_view(call.operator):
            return
        place = bisect_left(self.sequence, node._sequence_nr() + 1)
        row = self.rows_in_sequence[min(place, len(self.sequence) - 1)]
        _add(row.backward, self._operations(row, call))

    def take_auxiliary_params(self) -> int:
        """The parameters of auxiliary heads; they are counted with this."""
        heads = {
            head
            for module in self.names
            for child in getattr(module, "auxiliary", ())
            for head in module.get_submodule(child).modules()
        }
        return sum(map(self._new_params, heads))

    def add_rows_of_the_rest(self) -> None:
        """Parameters that no operator has read."""
        for module, name in self.names.items():
            if params := self._new_params(module):
                self.rows.append(Row(name, type(module).__name__, params=params))

    def _new_params(self, module: nn.Module) -> int:
        new = [parameter for parameter in module.parameters(recurse=False) if parameter not in self.counted]
        self.counted.update(new)
        return sum(map(Tensor.numel, new))


def _take_multiply_adds(row: Row) -> None:
    """Put those that the layer itself counts in the place of its operators': fewer, or written out elementwise."""
    products = 2 * row.macs
    paired = [name for name in PAIRED if name in row.operations]
    if paired:
        row.operations[paired[0]] = products
    elif products:
        row.operations |= {"matmul": products, "other": row.operations["other"] - products}


def _add(total: dict[str, int], operations: dict[str, int]) -> None:
    for name, number in operations.items():
        total[name] = total.get(name, 0) + number
