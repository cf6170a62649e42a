"""What a network costs, layer by layer: one trace of its operators on `meta` tensors, without memory or arithmetic."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from convbench.activations import features
from convbench.counting.counter import LayerCounter
from convbench.counting.meta import twins_on_meta
from convbench.counting.receptive import ReceptiveField
from convbench.counting.rows import Cost, Unknown
from convbench.errors import RequestError
from convbench.modes import borrowed_mode


def trace(
    net: nn.Module,
    input_shape: tuple[int, ...],
    name: str = "",
    *,
    training: bool = False,
    backward: bool = False,
    inputs: tuple[Any, ...] | None = None,
) -> Cost:
    """Count one image's forward pass; `net` is left as it was, hooks and mode included.

    Args:
        input_shape: (channels, height, width)
        training: count the pass of the training mode, which runs auxiliary heads, too; by default of evaluation
        backward: count the backward pass, too, from the gradient of the outputs to that of every parameter that
            requires one; it implies `training`
        inputs: what `net` takes, with a batch of one, where that is not one tensor of images; only shapes are read

    A layer whose operators do more than its links (LeNet's table convolution runs as a dense one) says its own counts
    by a method `count_links(output) -> (multiply-adds, connections)`. An operator that a module with children applies
    itself is a row of its own. A layer that does not run is a row at the end, with its parameters alone. The children
    that a network names in `auxiliary` are no rows in evaluation.

    Raises RequestError where the network cannot read that shape.
    """
    name = name or type(net).__name__
    training = training or backward
    counter = _run(net, input_shape, name, training, inputs)
    if backward:
        with_gradients = _run(net, input_shape, name, training, inputs, backward=True)
        for row, other in zip(counter.rows, with_gradients.rows, strict=True):
            row.backward = other.backward
        counter.unknown = with_gradients.unknown  # of both passes
    auxiliary = 0 if training else counter.take_auxiliary_params()
    counter.add_rows_of_the_rest()
    unknown = tuple(
        Unknown(operator, calls.total(), tuple(calls)) for operator, calls in sorted(counter.unknown.items())
    )
    cost = Cost(name, input_shape, tuple(counter.rows), unknown, auxiliary, has_backward=backward)
    assert cost.params + auxiliary == sum(p.numel() for p in net.parameters())
    return cost


def receptive_field(net: nn.Module, input_shape: tuple[int, ...], layer: str) -> ReceptiveField | None:
    """What the units of the module named `layer` see of an image (channels, height, width), in evaluation mode.

    None where the field cannot be followed. Raises RequestError for an unknown layer, and one that does not run.
    """
    kind = next((p.dtype for p in net.parameters() if p.is_floating_point()), None)
    image = torch.empty(1, *input_shape, dtype=kind, device="meta")
    counter = LayerCounter(net, 1, (image,))
    with borrowed_mode(net, training=False), twins_on_meta(net), torch.no_grad(), counter:
        output = features(net, image, layer)
    return counter.fields.of(output)


def _run(
    net: nn.Module, input_shape: tuple[int, ...], name: str, training: bool, inputs: Any, backward: bool = False
) -> LayerCounter:
    batch = 2 if training and inputs is None else 1  # one image has no batch statistics
    kind = next((p.dtype for p in net.parameters() if p.is_floating_point()), None)
    given = inputs if inputs is not None else (torch.empty(batch, *input_shape, dtype=kind, device="meta"),)
    given = tuple(value.to("meta") if isinstance(value, Tensor) else value for value in given)
    try:
        inspect.signature(net.forward).bind(*given)
    except TypeError as error:
        raise RequestError(f"{name} does not take {len(given)} inputs: {error}; give its own as inputs=") from error
    counter = LayerCounter(net, batch, given)
    try:
        with borrowed_mode(net, training=training), twins_on_meta(net) as twins, counter:
            counter.own = {id(twin): tensor for tensor, twin in twins.items()}
            with torch.set_grad_enabled(backward):
                outputs = net(*given)
            if backward:
                counter.run_backward(outputs, [twin for twin in twins.values() if twin.requires_grad])
    except (RuntimeError, ValueError) as error:
        raise RequestError(f"{name} cannot read images of shape {input_shape}: {error}") from error
    return counter
