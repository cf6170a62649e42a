"""A network's architecture, read from its trace: what follows what, what runs side by side, what repeats.

The trace has rows in the order of execution, named by module, and the operators by which a module joins what its
children made: `cat` sets all of them side by side, `add` brings a shortcut back. Nothing else is needed to draw it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from convbench.counting import Row

FEWEST_REPEATED = 3  # equal blocks in a row that are drawn as one
SHORTCUT = "shortcut"  # as the networks here name what goes around a residual

Ink = Literal["conv", "full", "pool"]


@dataclass(frozen=True)
class Layer:
    """A layer that is drawn, with the elementwise ones around it; rows: their places in the trace."""

    name: str
    rows: tuple[int, ...]
    row: Row
    ink: Ink

    @property
    def key(self) -> Hashable:
        """Equal of layers that differ in name alone."""
        return self.row.kind, self.row.output_shape, self.row.params, self.row.macs


@dataclass(frozen=True)
class Wire:
    """Elementwise layers alone, such as an identity: they are a line."""

    rows: tuple[int, ...]
    key: Hashable = "wire"


@dataclass(frozen=True)
class Block:
    """Layers one after the other, of one module."""

    name: str
    parts: tuple[Part, ...]

    @property
    def key(self) -> Hashable:
        return tuple(part.key for part in self.parts)


@dataclass(frozen=True)
class Fork:
    """Branches over one input. join: "cat", or "add" of a residual (first) and its shortcut; rows: of the joining."""

    name: str
    branches: tuple[tuple[Part, ...], ...]
    join: Literal["cat", "add"]
    rows: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def key(self) -> Hashable:
        return self.join, tuple(tuple(part.key for part in branch) for branch in self.branches)


@dataclass(frozen=True)
class Repeat:
    """Equal blocks one after the other."""

    blocks: tuple[Block | Fork, ...]

    @property
    def key(self) -> Hashable:
        return len(self.blocks), self.blocks[0].key

    @property
    def name(self) -> str:
        """The first block's and the last one's."""
        return f"{self.blocks[0].name} – {self.blocks[-1].name}"


Part = Layer | Wire | Block | Fork | Repeat


def read_architecture(rows: Sequence[Row], within: str = "") -> tuple[Part, ...]:
    """The parts of a network, or of its module `within`, in the order of execution; rows that did not run are none."""
    prefix = f"{within}." if within else ""
    ran = [(place, row) for place, row in enumerate(rows) if row.output_shape and row.name.startswith(prefix)]
    return tuple(_flat(_fold(_read(ran, within or "(net)"))))


def layers_of(parts: Iterable[Part]) -> Iterator[Layer]:
    """Every layer in the order of the drawing; of repeated blocks each one's."""
    for part in parts:
        if isinstance(part, Layer):
            yield part
        elif not isinstance(part, Wire):
            yield from layers_of(inner_parts(part))


def inner_parts(part: Block | Fork | Repeat) -> tuple[Part, ...]:
    """What it is made of."""
    if isinstance(part, Block):
        return part.parts
    if isinstance(part, Fork):
        return tuple(one for branch in part.branches for one in branch)
    return part.blocks


def rows_of(part: Part) -> tuple[int, ...]:
    """The places of all its rows in the trace."""
    if isinstance(part, Layer | Wire):
        return part.rows
    own = part.rows if isinstance(part, Fork) else ()
    return tuple(sorted((*own, *(place for one in inner_parts(part) for place in rows_of(one)))))


def shape_after(part: Part, before: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what leaves the part, where `before` is that of what comes in."""
    if isinstance(part, Layer):
        return part.row.output_shape
    if isinstance(part, Fork):
        return part.shape
    if isinstance(part, Wire):
        return before
    return shape_after(inner_parts(part)[-1], before)


def _read(rows: Sequence[tuple[int, Row]], module: str) -> list[Part]:
    """The parts of a module: of its children, as it joins them."""
    children: list[tuple[str, list[Part]]] = []
    for child, group in groupby(rows, lambda one: _child(one[1].name, module)):
        inside = list(group)
        if child:
            path = child if module == "(net)" else f"{module}.{child}"
            children.append((child, _read(inside, path)))
            continue
        for place, row in inside:
            children = [("", _joined(children, place, row, module))]
    return _grouped([part for _, parts in children for part in parts], module)


def _child(name: str, module: str) -> str:
    """The module's child that a row belongs to; none for the module's own."""
    if name == module:
        return ""
    inner = name if module == "(net)" else name.removeprefix(f"{module}.")
    return inner.partition(".")[0]


def _joined(children: list[tuple[str, list[Part]]], place: int, row: Row, module: str) -> list[Part]:
    """What a module has made of its children's outputs by an operator of its own, or by being a layer itself."""
    before = [part for _, parts in children for part in parts]
    if row.kind == "cat" and len(children) > 1:
        branches = tuple(tuple(_fold(parts)) for _, parts in children)
        return [Fork(module, branches, "cat", (place,), row.output_shape)]
    if row.kind == "add" and before:
        shortcut = [part for child, parts in children if child == SHORTCUT for part in parts]
        residual = [part for child, parts in children if child != SHORTCUT for part in parts]
        return [Fork(module, (tuple(_fold(residual)), tuple(shortcut)), "add", (place,), row.output_shape)]
    return [*before, _single(place, row)]


def _single(place: int, row: Row) -> Layer | Wire:
    if not row.is_stored:
        return Wire((place,))
    ink: Ink = "full" if len(row.output_shape) == 1 and row.macs else "conv" if row.macs else "pool"
    return Layer(row.name, (place,), row, ink)


def _grouped(parts: list[Part], module: str) -> list[Part]:
    """Elementwise layers put to the layer before them; what is left of a module with several layers as a block."""
    done: list[Part] = []
    for part in parts:
        if isinstance(part, Wire) and done and not isinstance(done[-1], Repeat):
            done[-1] = _followed(done[-1], part.rows)
        else:
            done.append(part)
    layers = [part for part in done if isinstance(part, Layer)]
    if len(layers) == 1 and all(isinstance(part, Layer | Wire) for part in done):
        (layer,) = layers  # a convolution with what goes with it has the name of the module that holds them
        places = tuple(sorted(place for part in done for place in rows_of(part)))
        return [Layer(layer.name if module == "(net)" else module, places, layer.row, layer.ink)]
    if module == "(net)":
        return done
    if len(layers) > 1 and len(layers) == len(done):
        return [Block(module, tuple(done))]
    return [replace(done[0], name=module)] if len(done) == 1 and isinstance(done[0], Block) else done


def _followed(part: Layer | Wire | Block | Fork, rows: tuple[int, ...]) -> Part:
    """The part with elementwise layers behind it."""
    if isinstance(part, Block):
        last = part.parts[-1]
        assert not isinstance(last, Repeat)
        return replace(part, parts=(*part.parts[:-1], _followed(last, rows)))
    return replace(part, rows=part.rows + rows)


def _fold(parts: Sequence[Part]) -> list[Part]:
    """Runs of equal blocks as one."""
    folded: list[Part] = []
    for _, group in groupby(parts, lambda part: (isinstance(part, Block | Fork), part.key)):
        run = list(group)
        blocks = tuple(part for part in run if isinstance(part, Block | Fork))
        folded += [Repeat(blocks)] if len(blocks) >= FEWEST_REPEATED else run
    return folded


def _flat(parts: Iterable[Part]) -> Iterator[Part]:
    """Blocks that do not repeat are the layers that they are made of."""
    for part in parts:
        if isinstance(part, Block):
            yield from _flat(part.parts)
        else:
            yield part
