"""A network's cost layer by layer in few enough lines for a record and a chart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby

from convbench.counting.rows import Cost, Row

MOST = 32  # layers; a network with more is told module by module


@dataclass(frozen=True)
class LayerCost:
    """A layer that multiplies with what follows it up to the next one, or a whole module of such layers.

    layers: how many multiply and add; values: stored ones, elementwise layers in place
    """

    name: str
    output_shape: tuple[int, ...]
    layers: int
    params: int
    macs: int
    values: int


def split_by_layer(cost: Cost, most: int = MOST) -> tuple[LayerCost, ...]:
    """The cost's layers in the order of execution, which add up to its totals.

    Of a network with more than `most` layers, modules stand for theirs, of the deepest level of names at which there
    are few enough. The image, which is among the network's stored values, is no layer's.
    """
    chunks = _chunks(cost.rows)
    depth, groups = max((chunk[0].name.count(".") + 1 for chunk in chunks), default=1), chunks
    while len(groups) > most and depth > 1:
        depth -= 1
        groups = _joined(chunks, depth)
    names = _short_names([_first(group[0].name, depth) for group in groups])
    split = tuple(_layer(name, group) for name, group in zip(names, groups, strict=True))
    assert sum(one.params for one in split) == cost.params
    assert sum(one.macs for one in split) == cost.macs
    return split


def _chunks(rows: tuple[Row, ...]) -> list[list[Row]]:
    """Rows from one that multiplies to the next; what comes before the first is the first's. It stands in front."""
    chunks: list[list[Row]] = []
    before: list[Row] = []
    for row in rows:
        if row.macs:
            chunks.append([row])
        elif chunks:
            chunks[-1].append(row)
        else:
            before.append(row)
    if not chunks:
        return [before] if before else []
    chunks[0] += before
    return chunks


def _joined(chunks: list[list[Row]], depth: int) -> list[list[Row]]:
    """Neighbours whose names begin with the same `depth` parts become one."""
    modules = groupby(chunks, lambda chunk: _first(chunk[0].name, depth))
    return [[row for chunk in module for row in chunk] for _, module in modules]


def _layer(name: str, rows: list[Row]) -> LayerCost:
    shaped = [row for row in rows if row.output_shape and row.is_stored]
    return LayerCost(
        name=name,
        output_shape=(shaped or rows)[-1].output_shape,
        layers=sum(row.macs > 0 for row in rows),
        params=sum(row.params for row in rows),
        macs=sum(row.macs for row in rows),
        values=sum(row.activations for row in rows if row.is_stored),
    )


def _first(name: str, depth: int) -> str:
    """The first `depth` parts of a name."""
    return ".".join(name.split(".")[:depth])


def _short_names(names: list[str]) -> list[str]:
    """Each without the parts that nothing else needs to be told from it: conv1 of conv1.conv, where that is alone."""
    taken = Counter(_first(name, depth) for name in names for depth in range(1, name.count(".") + 2))
    return [
        next((short for depth in range(1, name.count(".") + 1) if taken[short := _first(name, depth)] == 1), name)
        for name in names
    ]
