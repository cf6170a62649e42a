"""What a network costs, layer by layer: one trace of its operators on `meta` tensors, without memory or arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from convbench.errors import RequestError
from convbench.modes import borrowed_mode

aten = torch.ops.aten

MULTIPLY_ADDS: dict[Any, Callable[..., int]] = {
    # args[6] says whether it is transposed: then each input, not each output, meets weight[0]
    aten.convolution.default: lambda out, *args: (args[0] if args[6] else out).numel() * args[1][0].numel(),
    aten.mm.default: lambda out, a, b: a.shape[1] * out.numel(),
    aten.addmm.default: lambda out, bias, a, b, **_: a.shape[1] * out.numel(),
    aten.bmm.default: lambda out, a, b: a.shape[2] * out.numel(),
}
LINKS_OF_POOLING: dict[Any, Callable[..., int]] = {  # a pooling unit is linked to each cell of its window
    aten.avg_pool2d.default: lambda out, x, kernel, *_, **__: out.numel() * _area(kernel),
    aten.max_pool2d_with_indices.default: lambda out, x, kernel, *_, **__: out[0].numel() * _area(kernel),
    aten.mean.dim: lambda out, x, *_, **__: x.numel(),  # global average pooling: each unit meets its whole map
}
NO_MULTIPLY_ADDS = {  # elementwise, shapes, sums, normalisation: by convention not multiply-adds
    *(
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.mul.Tensor,
        aten.div.Tensor,
        aten.neg.default,
        aten.square.default,
        aten.pow.Tensor_Scalar,
    ),
    *(aten.tanh.default, aten.relu.default, aten.relu_.default, aten.hardtanh.default, aten.hardtanh_.default),
    *(aten.sigmoid.default, aten.sum.dim_IntList, aten.add_.Tensor, aten.native_batch_norm.default),
    *(aten.avg_pool3d.default,),  # the window sums of local response normalisation
    *(aten.native_dropout.default, aten.bernoulli_.float, aten.div_.Scalar),  # dropout
    *(aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.t.default, aten.transpose.int),
    *(aten.unsqueeze.default, aten.squeeze.dim, aten.expand.default, aten.clone.default, aten.detach.default),
    *(aten.select.int, aten.slice.Tensor, aten.cat.default, aten.new_zeros.default, aten.index_put.default),
    *(aten.constant_pad_nd.default, aten.repeat_interleave.self_int, aten.alias.default, aten.empty_like.default),
    aten.empty.memory_format,
}


@dataclass
class Row:
    """One layer's call, for one image.

    macs: multiply-adds of convolutions and matrix products
    connections: links between units, biases included, as LeCun et al. 1998 count them
    activations, activation_bytes: values of the output, and their size
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    params: int = 0
    macs: int = 0
    connections: int = 0
    activations: int = 0
    activation_bytes: int = 0


@dataclass(frozen=True)
class Cost:
    """The rows in the order of execution, and their totals.

    unknown: operators for which no rule says whether they multiply; where there are any, `macs` is a lower bound
    auxiliary_params: parameters of auxiliary heads, which evaluation does not run; not among `params`
    """

    network: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]
    unknown: tuple[str, ...] = field(default=())
    auxiliary_params: int = 0

    @property
    def params(self) -> int:
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def connections(self) -> int:
        return sum(row.connections for row in self.rows)

    @property
    def activations(self) -> int:
        return sum(row.activations for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        totals = ("params", "macs", "flops", "connections", "activations", "activation_bytes")
        return {
            "network": self.network,
            "input_shape": list(self.input_shape),
            **{total: getattr(self, total) for total in totals},
            "auxiliary_params": self.auxiliary_params,
            "unknown_operators": list(self.unknown),
            "layers": [asdict(row) for row in self.rows],
        }


def trace(net: nn.Module, input_shape: tuple[int, ...], name: str = "", *, training: bool = False) -> Cost:
    """Count one image's forward pass; `net` is left as it was, hooks and mode included.

    Args:
        input_shape: (channels, height, width)
        training: count the pass of the training mode, which runs auxiliary heads, too; by default of evaluation

    A layer whose operators do more than its links (LeNet's table convolution runs as a dense one) says its own counts
    by a method `count_links(output) -> (multiply-adds, connections)`. A layer that does not run, or not by its own call
    (the projection inside torch's attention), is a row at the end, with its parameters alone. The children that a
    network names in `auxiliary` are no rows in evaluation.

    Raises RequestError where the network cannot read that shape.
    """
    batch = 2 if training else 1  # one image has no batch statistics
    x = torch.empty(batch, *input_shape, device="meta")
    tensors = {k: torch.empty_like(v, device="meta") for k, v in (*net.named_parameters(), *net.named_buffers())}
    try:
        with borrowed_mode(net, training=training), _Counter(net, batch) as counter, torch.no_grad():
            functional_call(net, tensors, (x,))
    except (RuntimeError, ValueError) as error:
        raise RequestError(
            f"{name or type(net).__name__} cannot read images of shape {input_shape}: {error}"
        ) from error
    auxiliary = 0 if training else counter.take_auxiliary_params()
    counter.add_rows_of_the_rest()
    rows, unknown = tuple(counter.rows), tuple(sorted(counter.unknown))
    result = Cost(name or type(net).__name__, input_shape, rows, unknown, auxiliary)
    assert result.params + auxiliary == sum(p.numel() for p in net.parameters())
    return result


class _Counter(TorchDispatchMode):
    """Gives each operator to the innermost module that is running."""

    def __init__(self, net: nn.Module, batch: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch = batch
        self.names = {module: name or "(net)" for name, module in net.named_modules()}
        self.rows: list[Row] = []
        self.unknown: set[str] = set()
        self.running: list[Row] = []
        self.counted: set[nn.Parameter] = set()

    def __enter__(self) -> _Counter:
        self.own = {module: list(module.parameters(recurse=False)) for module in self.names}
        self.hooks = [
            hook
            for module in self.names
            for hook in (
                module.register_forward_pre_hook(self._start),
                module.register_forward_hook(self._end),
            )
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        for hook in self.hooks:
            hook.remove()

    def _start(self, module: nn.Module, _: Any) -> None:
        self.running.append(Row(self.names[module], type(module).__name__))

    def _end(self, module: nn.Module, _: Any, output: Any) -> None:
        row = self.running.pop()
        row.params = self._new_params(module)
        count_links = getattr(module, "count_links", None)
        if count_links is not None:
            row.macs, row.connections = count_links(output)
        is_leaf = next(module.children(), None) is None
        if isinstance(output, Tensor) and is_leaf:
            row.output_shape = tuple(output.shape[1:])
            row.activations = output[0].numel()
            row.activation_bytes = row.activations * output.element_size()
        if is_leaf or row.macs or row.params:
            self.rows.append(row)

    def take_auxiliary_params(self) -> int:
        """The parameters of auxiliary heads; they are counted with this."""
        heads = {
            head
            for module in self.names
            for child in getattr(module, "auxiliary", ())
            for head in module.get_submodule(child).modules()
        }
        return sum(self._new_params(head) for head in heads)

    def add_rows_of_the_rest(self) -> None:
        """Parameters that no call of their own module has counted."""
        for module, name in self.names.items():
            if params := self._new_params(module):
                self.rows.append(Row(name, type(module).__name__, params=params))

    def _new_params(self, module: nn.Module) -> int:
        new = [p for p in self.own[module] if p not in self.counted]
        self.counted.update(new)
        return sum(p.numel() for p in new)

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = operator(*args, **(kwargs or {}))
        row = self.running[-1] if self.running else Row("(net)", "")
        if operator in MULTIPLY_ADDS:
            macs = MULTIPLY_ADDS[operator](out, *args, **(kwargs or {}))
            row.macs += macs // self.batch
            row.connections += (macs + (out.numel() if _has_bias(operator, args) else 0)) // self.batch
        elif operator in LINKS_OF_POOLING:
            row.connections += LINKS_OF_POOLING[operator](out, *args, **(kwargs or {})) // self.batch
        elif operator not in NO_MULTIPLY_ADDS:
            self.unknown.add(str(operator))
        return out


def _area(kernel: list[int]) -> int:
    return kernel[0] * kernel[-1]


def _has_bias(operator: Any, args: tuple[Any, ...]) -> bool:
    return operator is aten.addmm.default or (operator is aten.convolution.default and args[2] is not None)
