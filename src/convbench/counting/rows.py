"""What a trace leaves: a row for each call of a layer, and their totals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from convbench.counting.conventions import OPTIMISERS, Convention
from convbench.counting.flat import as_csv, as_html, as_records
from convbench.counting.operators import PAIRED, POOLED
from convbench.counting.receptive import ReceptiveField
from convbench.errors import RequestError
from convbench.files import write_whole

MACS = Convention()


@dataclass
class Row:
    """One layer's call, for one image; or one operator that a module with children applies itself.

    name, kind: of the module and its class; of an operator outside layers, its module and "add", "cat", ...
    macs: multiply-adds of convolutions and matrix products
    connections: links between units, biases included, as LeCun et al. 1998 count them
    operations: arithmetic operations by class (`operators.CLASSES`); a multiplication and an addition are two
    backward: the same of the backward pass, where it was traced
    folded: what is left of the operations when they are folded into the convolution before; None where they cannot be
    activations, activation_bytes: values of the output, and their size
    bytes_read, bytes_written: what the layer must move once: its inputs, parameters and buffers, and its output
    receptive_field: what of the image a unit of the output sees; None where that is not known
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    params: int = 0
    macs: int = 0
    connections: int = 0
    operations: dict[str, int] = field(default_factory=dict)
    backward: dict[str, int] = field(default_factory=dict)
    folded: dict[str, int] | None = None
    activations: int = 0
    activation_bytes: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    receptive_field: ReceptiveField | None = None

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def intensity(self) -> float | None:
        """Operations for each byte moved; None where nothing is moved."""
        moved = self.bytes_read + self.bytes_written
        return sum(self.operations.values()) / moved if moved else None

    @property
    def is_stored(self) -> bool:
        """Whether the output needs memory of its own: not what elementwise layers could write over their input."""
        return any(name in self.operations for name in (*PAIRED, *POOLED))

    def done(self, convention: Convention) -> dict[str, int]:
        """The operations of the forward pass, folded where `convention` says so."""
        return self.folded if convention.fold_batch_norm and self.folded is not None else self.operations

    def total(self, convention: Convention) -> int:
        """The operations of `convention`, the optimiser's excepted."""
        backward = convention.count(self.backward) if convention.part != "forward" else 0
        return convention.count(self.done(convention)) + backward

    def to_dict(self, convention: Convention = MACS, total: int = 0) -> dict[str, Any]:
        """Plain values for JSON; `total` is the whole network's in `convention`, for the share (percent)."""
        counted = self.total(convention)
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.output_shape),
            "params": self.params,
            "macs": self.macs,
            "flops": self.flops,
            "counted": counted,
            "share": 100 * counted / total if total else 0.0,
            "connections": self.connections,
            "operations": self.operations,
            "backward_operations": self.backward,
            "activations": self.activations,
            "activation_bytes": self.activation_bytes,
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "intensity": self.intensity,
            "receptive_field": self.receptive_field.to_dict() if self.receptive_field else None,
        }


@dataclass(frozen=True)
class Unknown:
    """An operator for which no rule says what it computes, how often it was called, and in which layers."""

    operator: str
    calls: int
    layers: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(self.layers[:3]) + (", ..." if len(self.layers) > 3 else "")
        return f"{self.operator} ({self.calls} {'call' if self.calls == 1 else 'calls'} in {where})"


@dataclass(frozen=True)
class Cost:
    """The rows in the order of execution, and their totals.

    convention: in which `counted` and the shares are given
    unknown: operators without a rule; where there are any, the totals are lower bounds
    has_backward: whether the backward pass was traced, too
    auxiliary_params: parameters of auxiliary heads, which evaluation does not run; not among `params`
    """

    network: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]
    unknown: tuple[Unknown, ...] = ()
    auxiliary_params: int = 0
    convention: Convention = MACS
    has_backward: bool = False

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

    @property
    def bytes_moved(self) -> int:
        return sum(row.bytes_read + row.bytes_written for row in self.rows)

    @property
    def stored_values(self) -> int:
        """Values that a forward pass must keep room for: the input, and the outputs of all but elementwise layers."""
        return math.prod(self.input_shape) + sum(row.activations for row in self.rows if row.is_stored)

    @property
    def operations(self) -> dict[str, int]:
        """Operations of the forward pass by class, folded where the convention says so."""
        return _sum_by_class(row.done(self.convention) for row in self.rows)

    @property
    def backward(self) -> dict[str, int]:
        """Operations of the backward pass by class; empty where it was not traced."""
        return _sum_by_class(row.backward for row in self.rows)

    @property
    def optimiser(self) -> dict[str, int]:
        """Operations of the optimiser's step, by its name; empty unless the convention counts it."""
        name = self.convention.optimiser
        return {name: self.params * OPTIMISERS[name]} if self.convention.part == "training-step" else {}

    def total(self, convention: Convention | None = None) -> int:
        """The operations counted by `convention`, by default the cost's own.

        Raises RequestError for a convention with a backward pass where none was traced.
        """
        convention = convention or self.convention
        if convention.part != "forward" and not self.has_backward:
            raise RequestError(f"{self.network}: the backward pass was not traced; cost(..., convention=...) does")
        step = self.params * OPTIMISERS[convention.optimiser] if convention.part == "training-step" else 0
        return sum(row.total(convention) for row in self.rows) + step

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        totals = ("params", "macs", "flops", "connections", "activations", "activation_bytes")
        total = self.total()
        return {
            "network": self.network,
            "input_shape": list(self.input_shape),
            "convention": self.convention.name,
            "counted": total,
            **{name: getattr(self, name) for name in totals},
            "stored_values": self.stored_values,
            "operations": self.operations,
            "backward_operations": self.backward,
            "auxiliary_params": self.auxiliary_params,
            "unknown_operators": [asdict(one) for one in self.unknown],
            "layers": [row.to_dict(self.convention, total) for row in self.rows],
        }

    def to_csv(self, path: str | Path) -> None:
        """Write a line for each row to `path`; the column of what is counted names its convention."""
        write_whole(Path(path), as_csv(self).encode())

    def to_pandas(self) -> Any:
        """A pandas DataFrame of the rows, for whoever has pandas; RequestError where it is missing."""
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise RequestError("to_pandas needs pandas, which is not installed: pip install pandas") from error
        return DataFrame(as_records(self))

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        return as_html(self)


def _sum_by_class(rows: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row)
    return dict(total)
