"""What torch's operators compute: a rule for each that multiplies, torch's own tags for the rest.

An operator that no rule covers is unknown, and never counted as nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

CLASSES = {  # classes of arithmetic operations, in words
    "convolution": "convolutions",  # a multiplication and an addition for each weight that meets a value
    "matmul": "matrix products",
    "bias": "biases",  # an addition for each output
    "batch_norm": "batch normalisation",
    "lrn": "local response normalisation",
    "pooling": "pooling",
    "activation": "activations",
    "addition": "additions",  # of branches
    "other": "other operators",  # softmax, layer normalisation, resizing, gates, ...
}
PAIRED = ("convolution", "matmul")  # classes made of multiply-adds
POOLED = ("pooling",)

Operations = dict[str, int]
Rule = Callable[..., Operations]

# Operations for each value, where an elementwise operator does more than one.
NORMALISE = 2  # a scale and a shift, once the statistics are known
STATISTICS = 4  # sum, difference, square, sum
SOFTMAX = 5  # maximum, difference, exponential, sum, quotient
BILINEAR, BICUBIC = 7, 31  # 4 and 16 products and their sums
ELEMENTWISE = {"lerp": 3, "addcmul": 3, "addcdiv": 3, "floor_divide": 1, "col2im": 1}

ACTIVATIONS = (
    *("relu", "threshold", "hardtanh", "relu6", "leaky_relu", "rrelu_with_noise", "_prelu_kernel", "prelu"),
    *("sigmoid", "log_sigmoid_forward", "tanh", "gelu", "silu", "mish", "elu", "celu", "selu", "softplus"),
    *("softshrink", "hardswish", "hardsigmoid", "hardshrink", "glu", "clamp", "clamp_min", "clamp_max"),
)
ADDITIONS = ("add", "sub", "rsub")
MOVES = {  # they lay values out or fill them in, and compute nothing
    *("clone", "cat", "stack", "copy", "_to_copy", "contiguous", "lift_fresh", "detach", "alias", "_unsafe_view"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "zeros", "zeros_like", "new_zeros"),
    *("ones", "ones_like", "new_ones", "full", "full_like", "new_full", "fill", "zero", "scalar_tensor", "arange"),
    *("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "roll", "flip", "repeat", "repeat_interleave"),
    *("index", "index_select", "index_put", "gather", "scatter", "masked_fill", "select_scatter", "slice_scatter"),
    *("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "upsample_nearest2d"),
    *("resize", "set", "as_strided", "_reshape_alias", "im2col", "tril", "triu", "meshgrid", "unfold_copy", "rot90"),
    *("bernoulli", "uniform", "normal", "rand", "rand_like", "randn", "randn_like", "randint", "randperm"),
    *("slice_backward", "select_backward", "embedding", "one_hot", "where", "split_with_sizes_copy", "_assert_async"),
}


def name_of(operator: Any) -> str:
    """Such as "relu_" for `aten.relu_.default`."""
    return str(operator.overloadpacket.__name__)


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments or results, those in lists and mappings included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
        elif isinstance(value, Mapping):
            yield from tensors_in(value.values())


def operations_of(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Operations | None:
    """The arithmetic operations of one call by class; {} where it only moves values; None where no rule is known."""
    rule = _RULES.get(operator)
    if rule is None:
        rule = _RULES[operator] = _rule_by_nature(operator)
    return rule(out, *args, **kwargs) if rule is not _unknown else None


def multiply_adds(operations: Operations) -> int:
    """Those of convolutions and matrix products."""
    return sum(operations.get(name, 0) for name in PAIRED) // 2


def is_view(operator: Any) -> bool:
    """Whether it shows its first argument's values in another shape; `_unsafe_view` is one that autograd forgets."""
    return operator.is_view or operator is aten._unsafe_view.default


def links_of_pooling(operator: Any, args: tuple[Any, ...], out: Any) -> int:
    """A pooling unit is linked to each cell of its window."""
    if operator is aten.mean.dim:  # global average pooling: each unit meets its whole map
        return args[0].numel() if _is_pooling(*args[:2]) else 0
    rule = _POOLING.get(operator)
    return rule(out, *args) if rule is not None else 0


def _rule_by_nature(operator: Any) -> Rule:
    """For an operator that is not in the table: what its name and torch's tags say."""
    name = name_of(operator)
    plain = name.removesuffix("_").removeprefix("_foreach_")
    forward = plain.removesuffix("_backward")
    if operator.is_view or plain in MOVES:
        return _nothing
    if forward in ACTIVATIONS:
        return lambda out, *_, **__: {"activation": _values(out)}
    if plain in ADDITIONS:
        return _add
    if torch.Tag.pointwise in operator.tags or plain in ELEMENTWISE or name.startswith("_foreach_"):
        times = ELEMENTWISE.get(plain, 1)
        return lambda out, *args, **__: {"other": times * _values(args[0] if out is None else out)}
    if torch.Tag.reduction in operator.tags:
        return lambda out, x, *_, **__: {"other": x.numel()}
    return _unknown


def _unknown(*_: Any, **__: Any) -> Operations:
    raise AssertionError("an unknown operator has no rule")


def _nothing(*_: Any, **__: Any) -> Operations:
    return {}


def _values(out: Any) -> int:
    """Of a tensor, or of all in a list."""
    return out.numel() if isinstance(out, Tensor) else sum(map(_values, out))


def _add(out: Any, *args: Any, alpha: float = 1, **_: Any) -> Operations:
    return {"addition": _values(args[0] if out is None else out) * (1 if alpha == 1 else 2)}


def _biased(kind: str, products: int, biases: int) -> Operations:
    return {kind: 2 * products, "bias": biases} if biases else {kind: 2 * products}


def _convolution(out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, *args: Any) -> Operations:
    transposed = args[3]  # then each input, not each output, meets weight[0]
    products = (x if transposed else out).numel() * weight[0].numel()
    return _biased("convolution", products, out.numel() if bias is not None else 0)


def _convolution_backward(_: Any, grad: Tensor, x: Tensor, weight: Tensor, *args: Any) -> Operations:
    """The gradient of the input and that of the weight each cost what the forward pass does."""
    transposed, mask = args[4], args[-1]
    products = (x if transposed else grad).numel() * weight[0].numel() * (mask[0] + mask[1])
    return _biased("convolution", products, grad.numel() if mask[2] else 0)


def _attention(_: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **__: Any) -> Operations:
    """Scores, softmax and the weighted sum; with flash or efficient kernels the same arithmetic as written out."""
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    products = scores * (query.shape[-1] + value.shape[-1])
    return {"matmul": 2 * products, "other": (SOFTMAX + 1) * scores}  # and the scale


def _attention_backward(_: Any, grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **__: Any) -> Any:
    """Five products: the scores once more, and the gradients of value, weights, query and key."""
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return {"matmul": 2 * scores * (3 * query.shape[-1] + 2 * value.shape[-1]), "other": 2 * SOFTMAX * scores}


def _pooling(out: Any, x: Tensor, window: Sequence[int], *_: Any, **__: Any) -> int:
    return int((out if isinstance(out, Tensor) else out[0]).numel() * window[0] * window[-1])


def _adaptive_pooling(out: Any, x: Tensor, *_: Any, **__: Any) -> int:
    """Windows overlap where the sides do not divide."""
    out = out if isinstance(out, Tensor) else out[0]
    cells = math.prod(x.shape[:-2])
    for before, after in zip(x.shape[-2:], out.shape[-2:], strict=True):
        cells *= sum(-(-(i + 1) * before // after) - i * before // after for i in range(after))
    return cells


_POOLING: dict[Any, Callable[..., int]] = {
    aten.avg_pool2d.default: _pooling,
    aten.max_pool2d_with_indices.default: _pooling,
    aten._adaptive_avg_pool2d.default: _adaptive_pooling,
    aten.adaptive_max_pool2d.default: _adaptive_pooling,
}


def _is_pooling(x: Tensor, dims: Sequence[int] | None) -> bool:
    """Whether a mean is over the rows and columns of maps."""
    return x.dim() == 4 and dims is not None and len(dims) == 2


def _each(kind: str, times: int, place: int = 0) -> Rule:
    """`times` operations for each value of the argument at `place`."""
    return lambda _, *args, **__: {kind: times * args[place].numel()}


def _batch_norm(_: Any, x: Tensor, *args: Any, **__: Any) -> Operations:
    return {"batch_norm": (STATISTICS + NORMALISE if args[4] else NORMALISE) * x.numel()}


def _batch_norm_backward(_: Any, grad: Tensor, *args: Any) -> Operations:
    """Two sums with a product for scale and shift, and two scaled differences; without statistics a scale alone."""
    return {"batch_norm": (9 if args[6] else 4) * grad.numel()}


_RULES: dict[Any, Rule] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
    aten.mm.default: lambda out, a, b: {"matmul": 2 * out.numel() * a.shape[1]},
    aten.bmm.default: lambda out, a, b: {"matmul": 2 * out.numel() * a.shape[2]},
    aten.addmm.default: lambda out, c, a, b, **_: _biased("matmul", out.numel() * a.shape[1], out.numel()),
    aten.baddbmm.default: lambda out, c, a, b, **_: _biased("matmul", out.numel() * a.shape[2], out.numel()),
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.native_layer_norm.default: _each("other", STATISTICS + NORMALISE),
    aten.native_group_norm.default: _each("other", STATISTICS + NORMALISE),
    aten.native_layer_norm_backward.default: _each("other", 9),
    aten.native_group_norm_backward.default: _each("other", 9),
    aten.mean.dim: lambda out, x, dims, *_, **__: {"pooling" if _is_pooling(x, dims) else "other": x.numel()},
    aten._softmax.default: _each("other", SOFTMAX),
    aten._safe_softmax.default: _each("other", SOFTMAX),
    aten._log_softmax.default: _each("other", SOFTMAX),
    aten._softmax_backward_data.default: _each("other", 4),
    aten._log_softmax_backward_data.default: _each("other", 4),
    aten.native_dropout.default: _each("other", 2),  # the mask and the scale
    aten.native_dropout_backward.default: _each("other", 2),
    aten.avg_pool3d.default: lambda out, x, window, *_, **__: {"lrn": out.numel() * math.prod(window)},
    aten.avg_pool3d_backward.default: lambda out, grad, x, window, *_: {"lrn": grad.numel() * math.prod(window)},
    aten.avg_pool2d_backward.default: lambda out, grad, x, window, *_: {"pooling": grad.numel() * math.prod(window)},
    aten.max_pool2d_with_indices_backward.default: _each("pooling", 1),
    aten._adaptive_avg_pool2d_backward.default: _each("pooling", 1, place=1),
    aten.adaptive_max_pool2d_backward.default: _each("pooling", 1),
    aten.upsample_bilinear2d.default: lambda out, *_, **__: {"other": BILINEAR * out.numel()},
    aten.upsample_bilinear2d.vec: lambda out, *_, **__: {"other": BILINEAR * out.numel()},
    aten.upsample_bicubic2d.default: lambda out, *_, **__: {"other": BICUBIC * out.numel()},
    aten.upsample_bicubic2d.vec: lambda out, *_, **__: {"other": BICUBIC * out.numel()},
    **{
        getattr(aten, name).default: _attention
        for name in (
            "_scaled_dot_product_flash_attention_for_cpu",
            "_scaled_dot_product_flash_attention",
            "_scaled_dot_product_efficient_attention",
            "_scaled_dot_product_cudnn_attention",
            "_scaled_dot_product_fused_attention_overrideable",
        )
    },
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _attention_backward,
    **{
        operator: (lambda out, *args, _rule=rule, **__: {"pooling": _rule(out, *args)})
        for operator, rule in _POOLING.items()
    },
}
