"""Where a network or a layer stands under the machine's limits: arithmetic's, or memory's.

Williams, Waterman & Patterson, Roofline, CACM 52 (4), 2009: so many operations take at least their number over the
arithmetic limit, and at least their bytes over the memory's. Their roof is one for a whole program. Here each layer has
its own, and a network's least time is the sum of its layers': they run one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from convbench.counting import Row
from convbench.timing.machine import Limits, cache_bytes

BYTES = {"fp32": 4, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Work:
    """What one call of a layer must do: arithmetic operations, bytes of weights, bytes of other tensors."""

    operations: float
    weight_bytes: float
    tensor_bytes: float


@dataclass(frozen=True)
class Placement:
    """A measured time under the limits.

    attained_gflops: operations over measured seconds
    limit_gflops: operations over the least possible seconds, at the limit that applies to each layer
    percent: of that limit that was reached
    bound_by: what sets the larger part of the least seconds
    memory_percent: the part of the least seconds in layers that memory bounds
    matrix_gflops: the arithmetic limit alone, and percent_of_matrix what was reached of it
    intensity: operations for each byte
    """

    attained_gflops: float
    limit_gflops: float
    percent: float
    bound_by: Literal["arithmetic", "memory"]
    memory_percent: float
    matrix_gflops: float
    percent_of_matrix: float
    intensity: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def place(
    operations: float, bytes_moved: float, seconds: float, limits: Limits, precision: str = "fp32"
) -> Placement | None:
    """Place one layer, or anything that does its operations evenly; None where the precision has no limit here.

    >>> place(2e9, 1e6, 0.01, Limits(400.0, 800.0, 1600.0, 40.0, 200.0)).percent
    50.0
    """
    return place_layers([Work(operations, 0, bytes_moved)], seconds, limits, precision)


def place_layers(works: Sequence[Work], seconds: float, limits: Limits, precision: str = "fp32") -> Placement | None:
    """Place what does `works` one after the other in `seconds`; None where the precision has no limit here.

    Weights come from memory where all of them together exceed the largest cache, a layer's tensors where they do;
    otherwise both move at the speed of the caches.
    """
    matrix, size = limits.matrix(precision), cache_bytes()
    if matrix is None:
        return None
    slow, fast = limits.copy_gib_per_s * 2**30, limits.cache_gib_per_s * 2**30
    weights_at = slow if sum(work.weight_bytes for work in works) > size else fast
    least = in_memory = 0.0
    for work in works:
        arithmetic = work.operations / matrix / 1e9
        moving = work.weight_bytes / weights_at + work.tensor_bytes / (slow if work.tensor_bytes > size else fast)
        least += max(arithmetic, moving)
        in_memory += moving if moving > arithmetic else 0.0
    operations = sum(work.operations for work in works)
    moved = sum(work.weight_bytes + work.tensor_bytes for work in works)
    return Placement(
        attained_gflops=operations / seconds / 1e9,
        limit_gflops=operations / least / 1e9 if least else 0.0,
        percent=100 * least / seconds,
        bound_by="memory" if in_memory > least / 2 else "arithmetic",
        memory_percent=100 * in_memory / least if least else 0.0,
        matrix_gflops=matrix,
        percent_of_matrix=100 * operations / seconds / 1e9 / matrix,
        intensity=operations / moved if moved else 0.0,
    )


def work_of(row: Row, batch_size: int, precision: str) -> Work:
    """What a layer does for a batch: two operations a multiply-add; weights are read once, the rest for each image.

    An elementwise layer moves nothing: it can be done where the layer before it writes, and a least time must not
    count what can be spared.
    """
    size = BYTES[precision] / BYTES["fp32"]
    weights = row.params * BYTES["fp32"]
    tensors = max(0, row.bytes_read - weights) + row.bytes_written if row.is_stored else 0
    return Work(batch_size * row.flops, size * weights if row.is_stored else 0, size * batch_size * tensors)
