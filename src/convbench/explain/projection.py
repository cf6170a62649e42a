"""A signal taken from a layer back down to the pixels, through any module, by one of three methods.

Autograd has recorded what each operator did to this image, and its backward pass is the transpose of that: of a
convolution the convolution with the transposed kernel, of pooling the unpooling by the switches. The three methods are
this pass, and differ in what they do with the signal at a rectifier, whose node in autograd's graph they take over; so
it matters neither how a module spells its ReLU nor whether it works in place. docs/deconvnet.md says every rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from convbench.activations import features
from convbench.errors import ConvbenchError, RequestError, unknown
from convbench.evaluation.scoring import device_of
from convbench.modes import evaluation_mode

Method = Literal["deconvnet", "guided", "gradient"]
METHODS: tuple[str, ...] = get_args(Method)


def project(
    net: nn.Module, images: Tensor, layer: str, seed: Callable[[Tensor], Tensor], method: Method = "deconvnet"
) -> tuple[Tensor, Tensor]:
    """The signals at the pixels, shaped as `images`, and the output of `layer` that they began from, on the processor.

    Args:
        net: left as it is; it runs in evaluation mode, no farther than `layer`
        images: (n, channels, height, width), prepared as the network reads them
        layer: a name in `net.named_modules()`
        seed: makes the signals at the layer, shaped as its output, from that output
        method: "deconvnet" rectifies the signal (Zeiler & Fergus 2014), "gradient" lets through what the rectifier
            let through on the way up (Simonyan et al. 2014), "guided" does both (Springenberg et al. 2015)

    Raises RequestError for an unknown method or layer, one that does not run, and images that `net` cannot read;
    ConvbenchError where the way back to the pixels is not recorded.
    """
    require_method(method)
    with evaluation_mode(net), torch.enable_grad(), _PassedNormalisation() if method == "deconvnet" else nullcontext():
        pixels = images.detach().to(device_of(net), copy=True).requires_grad_()
        with readable(net, images):
            output = features(net, pixels.clone(), layer)  # of a copy, which a module may overwrite
        maps = require_maps(output, layer)
        if maps.grad_fn is None:
            raise ConvbenchError(f"{layer}: expected the way back to the pixels, found that gradients end above them")
        if method != "gradient":
            take_over_rectifiers(maps.grad_fn, method)
        (signal,) = torch.autograd.grad(maps, pixels, seed(maps.detach()), allow_unused=True)
    if signal is None:
        raise ConvbenchError(f"{layer}: expected that it depends on the pixels, found that it does not")
    return signal.cpu(), maps.detach().cpu()


def require_method(method: str) -> None:
    """RequestError for an unknown one."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)


@contextmanager
def readable(net: nn.Module, images: Tensor) -> Iterator[None]:
    """For a forward pass of `net` over `images`: RequestError where it stops at their shape."""
    try:
        yield
    except (RuntimeError, ValueError, AssertionError) as error:
        shape, why = "x".join(map(str, images.shape[1:])), " ".join(str(error).split())
        raise RequestError(f"{type(net).__name__} cannot read images of {shape}: {why}") from error


def require_maps(output: Any, layer: str) -> Tensor:
    """A layer's output, where it is maps (n, units, rows, columns) or values (n, units); RequestError otherwise."""
    if not isinstance(output, Tensor) or output.dim() not in (2, 4):
        expected = "an output (n, units, rows, columns) or (n, units)"
        raise RequestError(
            f"{layer or 'the network'}: expected {expected}, found {_shape_of(output)}; choose another layer"
        )
    return output


def require_scores(output: Any) -> Tensor:
    """A network's output, where it is scores (n, classes); RequestError otherwise."""
    if not isinstance(output, Tensor) or output.dim() != 2:
        raise RequestError(f"the network: expected an output of scores (n, classes), found {_shape_of(output)}")
    return output


def _shape_of(output: Any) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def take_over_rectifiers(top: Any, method: Method) -> None:
    """Put the method's rule in the place of every rectifier's gradient below the node `top`; it goes with the graph."""
    for node in _nodes_below(top):
        if _is_rectifier(node):
            node.register_hook(_rule(node, method))


def _rule(
    node: Any, method: Method
) -> Callable[[Sequence[Tensor | None], Sequence[Tensor]], tuple[Tensor | None, ...]]:
    """What a rectifier hands down, from its own gradients and the signals that reach it."""
    under_ceiling = method == "guided" and node.name() in ("HardtanhBackward0", "ClampBackward1")
    entered: Tensor | None = node._saved_self.detach() if under_ceiling else None

    def rectify(gradients: Sequence[Tensor | None], signals: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        if method == "deconvnet":
            passed = signals[0]
        elif entered is not None:  # at the ceiling the gradient is 0, but a unit is never more active
            passed = signals[0] * (entered > 0)
        else:
            assert gradients[0] is not None
            passed = gradients[0]
        return (passed.clamp(min=0), *gradients[1:])

    return rectify


def _nodes_below(top: Any) -> Iterator[Any]:
    """Each node of the graph once; Python's faces of the nodes are kept, as they are known by identity."""
    seen, waiting = {top}, [top]
    while waiting:
        node = waiting.pop()
        yield node
        below = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= below
        waiting.extend(below)


def _is_rectifier(node: Any) -> bool:
    """Of whatever spelling: relu, relu6, clamp(min=0), hardtanh and threshold at 0."""
    match node.name():
        case "ReluBackward0":
            return True
        case "HardtanhBackward0":
            return cast(float, node._saved_min_val) == 0
        case "ClampBackward1":
            return cast(object, node._saved_min) == 0
        case "ClampMinBackward0":
            return cast(object, node._saved_min) == 0
        case "ThresholdBackward0":
            return cast(float, node._saved_threshold) == 0
    return False


class _PassedNormalisation(TorchFunctionMode):
    """While it lasts, local response normalisation hands a signal down as it came: the paper inverts none."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.local_response_norm:
            return _Passed.apply(args[0], args[1:], kwargs or {})
        return func(*args, **(kwargs or {}))


class _Passed(torch.autograd.Function):
    """Local response normalisation up, nothing down."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        return F.local_response_norm(x, *args, **kwargs)

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None]:
        return signals[0], None, None
