"""Which part of the image a unit sees: sizes, strides and offsets, carried from tensor to tensor.

Each operator takes the fields of what it reads to what it makes, so branches and shortcuts need no path to be followed:
where two meet, the field is the smallest that holds both. The arithmetic is that of Araujo, Norris and Sim, "Computing
receptive fields of convolutional neural networks", Distill 2019. A normalisation by statistics of the map shows each
unit the whole map; where statistics are kept for evaluation, the field is that of evaluation in training, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from convbench.counting.operators import ACTIVATIONS, name_of

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """Of a layer's units, each pair as (rows, columns), in pixels of the image.

    size: how far a unit sees; padding included, so it can exceed the image
    stride: how far apart the fields of neighbouring units are; 0 where there is one field for all
    offset: the first pixel that the first unit sees; negative in the padding
    """

    size: Pair
    stride: Pair
    offset: Pair

    def box(self, unit: Pair, image: Pair) -> tuple[int, int, int, int]:
        """What the unit at (row, column) sees of an image of (rows, columns): top, left, bottom, right.

        Cut at the image's border; bottom and right are the first pixels outside.
        """
        starts = [offset + place * stride for offset, place, stride in zip(self.offset, unit, self.stride, strict=True)]
        ends = [start + size for start, size in zip(starts, self.size, strict=True)]
        top, left = (max(start, 0) for start in starts)
        bottom, right = (min(end, side) for end, side in zip(ends, image, strict=True))
        return top, left, bottom, right

    def to_dict(self) -> dict[str, list[int]]:
        """Plain values for JSON."""
        return {"size": list(self.size), "stride": list(self.stride), "offset": list(self.offset)}


@dataclass(frozen=True, slots=True)
class _Axis:
    """The rows, or the columns: the fields of a tensor's units along them, and where in the tensor the units lie.

    units: how many there are; 1 where all units of the tensor see the same
    step: how many values apart neighbours are when the tensor is read in order, which no `view` changes
    """

    size: int
    stride: int
    offset: int
    units: int
    step: int

    def dim(self, shape: Sequence[int]) -> int | None:
        """The dimension of `shape` that the units lie in; None where they are torn apart."""
        inner = math.prod(shape)
        for dim, length in enumerate(shape):
            inner //= length
            if inner <= self.step:
                is_whole = self.step % inner == 0 and (inner * length) % (self.step * self.units) == 0
                return dim if is_whole else None
        return None

    def moved(self, old: Sequence[int], dim: int, new: Sequence[int], new_dim: int) -> _Axis:
        """As it lies after dimension `dim` of the shape `old` has become `new_dim` of `new`."""
        within = self.step // math.prod(old[dim + 1 :])
        return replace(self, step=within * math.prod(new[new_dim + 1 :]))

    def together(self) -> _Axis:
        """What all units see, as one."""
        return _Axis((self.units - 1) * self.stride + self.size, 0, self.offset, 1, 1)


@dataclass(frozen=True, slots=True)
class _Call:
    """One operator's call, seen along one side of the map.

    axes, sources: of the arguments that come from the image
    side: -2 for rows, -1 for columns
    """

    axes: list[_Axis]
    sources: list[Tensor]
    args: tuple[Any, ...]
    out: Tensor
    side: int

    def slide(self, kernel: int, stride: int, padding: int) -> _Axis | None:
        """A window over the last two dimensions."""
        (axis,), (x,) = self.axes, self.sources
        if axis.units > 1 and axis.dim(x.shape) != x.dim() + self.side:
            return None
        size, offset = axis.size + (kernel - 1) * axis.stride, axis.offset - padding * axis.stride
        units = self.out.shape[self.side] if axis.units > 1 else 1
        return _Axis(size, axis.stride * stride, offset, units, self.out.shape[-1] if self.side == -2 else 1)

    def reorder(self, order: Sequence[int], number: int = 0) -> _Axis | None:
        """`order` says, for each dimension of `out`, which of the source it was."""
        axis, shape = self.axes[number], self.sources[number].shape
        if axis.units == 1:
            return axis
        dim = axis.dim(shape)
        return axis.moved(shape, dim, self.out.shape, order.index(dim)) if dim is not None and dim in order else None

    def in_place(self, number: int = 0) -> _Axis | None:
        """Every dimension stays where it was."""
        return self.reorder(range(self.out.dim()), number)


class Fields:
    """What each tensor sees of the image. Tensors are known by identity: the caller keeps them alive."""

    def __init__(self, images: Iterable[Tensor]) -> None:
        self.seen: dict[int, tuple[_Axis, _Axis] | None] = {}  # None: from the image, but not followed
        for image in images:
            if image.dim() == 4:
                height, width = image.shape[-2:]
                self.seen[id(image)] = _Axis(1, 1, 0, height, width), _Axis(1, 1, 0, width, 1)

    def of(self, tensor: Tensor) -> ReceptiveField | None:
        """The field of `tensor`'s units; None where it is not known, or where there is none."""
        seen = self.seen.get(id(tensor))
        if seen is None:
            return None
        rows, columns = seen
        return ReceptiveField((rows.size, columns.size), (rows.stride, columns.stride), (rows.offset, columns.offset))

    def follow(self, operator: Any, args: tuple[Any, ...], read: list[Tensor], made: list[Tensor]) -> None:
        """Give what `operator` made its field; what reads nothing that comes from the image gets none."""
        sources = [tensor for tensor in read if id(tensor) in self.seen]
        if not sources:
            return
        known = [seen for tensor in sources if (seen := self.seen[id(tensor)]) is not None]
        rule = _rule_of(operator) if len(known) == len(sources) else None
        for tensor in made:
            if rule is None or (rule is _meet and len(known) == 1):
                self.seen[id(tensor)] = None if rule is None else known[0]
                continue
            rows = rule(_Call([one[0] for one in known], sources, args, tensor, -2))
            columns = rule(_Call([one[1] for one in known], sources, args, tensor, -1))
            self.seen[id(tensor)] = (rows, columns) if rows and columns else None


def _meet(call: _Call) -> _Axis | None:
    """Unit by unit: the smallest field that holds all; one for all units where an input has but one."""
    return _union(call.axes)


def _union(axes: list[_Axis]) -> _Axis | None:
    if len({axis.units for axis in axes}) > 1:
        axes = [axis.together() for axis in axes]
    if axes[0].units > 1 and len({(axis.stride, axis.step) for axis in axes}) > 1:
        return None
    offset = min(axis.offset for axis in axes)
    size = max(axis.offset + axis.size for axis in axes) - offset
    return replace(axes[0], size=size, offset=offset)


def _convolve(call: _Call) -> _Axis | None:
    _, weight, _, stride, padding, dilation, transposed, *_ = call.args
    if transposed or len(call.axes) > 1 or weight.dim() != 4:
        return None
    side = call.side
    return call.slide((weight.shape[side] - 1) * dilation[side] + 1, stride[side], padding[side])


def _pool_maximum(call: _Call) -> _Axis | None:
    return _pool(call, call.args[4] if len(call.args) > 4 else ())


def _pool(call: _Call, dilation: Sequence[int] = ()) -> _Axis | None:
    """Maximum and average: the stride is by default the window's side, the padding 0, the dilation 1."""
    given = (*(*call.args[1:4], [], [])[:3], dilation)
    window, step, pad, gap = (values[call.side % len(values)] if values else 0 for values in given)
    return call.slide((window - 1) * (gap or 1) + 1, step or window, pad)


def _pool_adaptively(call: _Call) -> _Axis | None:
    before, after = call.args[0].shape[call.side], call.out.shape[call.side]
    if after == 1:
        return call.axes[0].together()
    return call.slide(before // after, before // after, 0) if before % after == 0 else None


def _pad(call: _Call) -> _Axis | None:
    left, top = call.args[1][0], (*call.args[1], 0, 0)[2]
    return call.slide(1, 1, left if call.side == -1 else top)


def _view(call: _Call) -> _Axis | None:
    axis = call.axes[0]
    return axis if axis.units == 1 or axis.dim(call.out.shape) is not None else None


def _transpose(call: _Call) -> _Axis | None:
    order = list(range(call.out.dim()))
    first, second = call.args[1:3] or (0, 1)
    order[first], order[second] = order[second], order[first]
    return call.reorder(order)


def _permute(call: _Call) -> _Axis | None:
    return call.reorder([dim % call.out.dim() for dim in call.args[1]])


def _expand(call: _Call) -> _Axis | None:
    old = call.sources[0].dim()
    return call.reorder(range(old - call.out.dim(), old))


def _select(call: _Call) -> _Axis | None:
    old = call.sources[0].dim()
    chosen = (call.args[1] if len(call.args) > 1 else 0) % old
    return call.reorder([dim for dim in range(old) if dim != chosen])


def _split(call: _Call) -> _Axis | None:
    dim = (call.args[2] if len(call.args) > 2 else 0) % call.out.dim()
    is_torn = call.axes[0].units > 1 and call.axes[0].dim(call.sources[0].shape) == dim
    return None if is_torn else call.in_place()


def _slice(call: _Call) -> _Axis | None:
    """Of rows or columns it is a shift and a stride, as in the shortcuts of the CIFAR-10 ResNets."""
    dim, start, step = _slice_arguments(*call.args)
    axis, shape = call.axes[0], call.sources[0].shape
    if axis.units == 1 or axis.dim(shape) != dim % len(shape):
        return call.in_place()
    if axis.units != shape[dim]:
        return None
    inner = replace(axis, step=math.prod(call.out.shape[dim % len(shape) + 1 :]))
    offset = axis.offset + (start or 0) % axis.units * axis.stride
    return replace(inner, offset=offset, stride=axis.stride * step, units=call.out.shape[dim])


def _slice_arguments(x: Tensor, dim: int = 0, start: int | None = None, end: Any = None, step: int = 1) -> Any:
    return dim, start, step


def _concatenate(call: _Call) -> _Axis | None:
    dim = (call.args[1] if len(call.args) > 1 else 0) % call.out.dim()
    placed = [call.in_place(number) for number in range(len(call.axes))]
    if any(axis is None or (axis.units > 1 and axis.dim(call.out.shape) == dim) for axis in placed):
        return None
    return _union([axis for axis in placed if axis is not None])


def _stack(call: _Call) -> _Axis | None:
    dim = (call.args[1] if len(call.args) > 1 else 0) % call.out.dim()
    order = [*range(dim), -1, *range(dim, call.out.dim() - 1)]
    placed = [call.reorder(order, number) for number in range(len(call.axes))]
    return None if None in placed else _union([axis for axis in placed if axis is not None])


def _reduce(call: _Call, dims: Iterable[int]) -> _Axis | None:
    """Over `dims`, kept or not: units that lie there become one."""
    axis, x = call.axes[0], call.sources[0]
    gone = {dim % x.dim() for dim in dims}
    if axis.units > 1 and axis.dim(x.shape) in gone:
        return axis.together()
    return call.reorder([dim for dim in range(x.dim()) if call.out.dim() == x.dim() or dim not in gone])


def _normalise(call: _Call) -> _Axis | None:
    """By channel: where no statistics are kept, as in instance normalisation, by those of the whole map."""
    kept, is_training = call.args[3], call.args[5]
    return _union([axis.together() for axis in call.axes]) if is_training and kept is None else _meet(call)


def _multiply(call: _Call) -> _Axis | None:
    """What lies along the inner dimension becomes one; a product of two parts of the image, attention, sees all."""
    if len(call.axes) > 1:
        return _union([axis.together() for axis in call.axes])
    return _reduce(call, (-1,)) if call.sources[0] is call.args[-2] else None


def _reduce_named(call: _Call) -> _Axis | None:
    dims = call.args[1] if len(call.args) > 1 else None
    return _reduce(call, dims or range(call.sources[0].dim()))


_RULES: dict[str, Callable[[_Call], _Axis | None]] = {
    **dict.fromkeys(("convolution",), _convolve),
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), _pool),
    **dict.fromkeys(("_adaptive_avg_pool2d", "adaptive_max_pool2d"), _pool_adaptively),
    **dict.fromkeys(("view", "_unsafe_view", "as_strided", "unsqueeze", "squeeze", "repeat_interleave"), _view),
    **dict.fromkeys(("transpose", "t"), _transpose),
    **dict.fromkeys(("split", "split_with_sizes"), _split),
    **dict.fromkeys(("select", "unbind"), _select),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), _multiply),
    **dict.fromkeys(("mean", "sum", "amax"), _reduce_named),
    **dict.fromkeys(("_prelu_kernel", "detach", "alias", "_to_copy"), _meet),
    "max_pool2d_with_indices": _pool_maximum,
    "native_batch_norm": _normalise,
    "permute": _permute,
    "expand": _expand,
    "slice": _slice,
    "cat": _concatenate,
    "stack": _stack,
    "constant_pad_nd": _pad,
    "native_layer_norm": lambda call: _reduce(call, range(-len(call.args[1]), 0)),
    "native_group_norm": lambda call: call.axes[0].together(),
    "_softmax": lambda call: _reduce(call, (call.args[1],)),
}


@cache
def _rule_of(operator: Any) -> Callable[[_Call], _Axis | None] | None:
    plain = name_of(operator).removesuffix("_")
    rule = _RULES.get(plain)
    if rule is None and plain.startswith("_scaled_dot_product"):
        rule = lambda call: _union([axis.together() for axis in call.axes])  # noqa: E731
    is_elementwise = torch.Tag.pointwise in operator.tags or plain in ACTIVATIONS
    return _meet if rule is None and is_elementwise else rule
