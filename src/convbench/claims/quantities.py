"""What the ledger can recompute: quantities by name, each computed from a reading of a claim.

Networks are built on `meta` tensors, once each: a thousand numbers take seconds, not gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from convbench.claims.ledger import Reading, find_figure, read_paper
from convbench.counting import Cost, Row, trace
from convbench.detection import registry as detectors
from convbench.errors import unknown
from convbench.models import build, published_input
from convbench.models.lenet import LENET5_TABLE

PARTS = {"conv": nn.Conv2d, "fc": nn.Linear, "": nn.Module}
POOLS = (nn.MaxPool2d, nn.AvgPool2d)


def compute(reading: Reading) -> float | str:
    """The value of a reading: a number in units of one, or a text such as a shape.

    Raises RequestError for an unknown quantity, network, layer or figure.
    """
    if reading.quantity not in QUANTITIES:
        raise unknown("quantity", reading.quantity, QUANTITIES)
    value = QUANTITIES[reading.quantity](reading)
    for other, combine in ((reading.minus, float.__sub__), (reading.per, float.__truediv__)):
        if other:
            of_other = compute(Reading(quantity=reading.quantity, network=other))
            value = combine(float(value), float(of_other))
    return value


def is_published(reading: Reading) -> bool:
    """Whether a paper gives the value of a reading; the others are counted."""
    if reading.quantity in ("figure", "accuracy"):
        return find_figure(reading).confidence != "computed"
    return reading.quantity in ("title", "year", "venue_year")


@cache
def counted(
    name: str, image_size: int | None, num_classes: int | None, training: bool = False
) -> tuple[Cost, Mapping[str, nn.Module]]:
    """(cost, modules by name) of a network or a detector built on `meta`."""
    if name in detectors.names():
        return _counted_detector(name, image_size, num_classes)
    channels, side, _ = published_input(name)
    side = image_size or side
    with torch.device("meta"):
        net = build(name, image_size=side, num_classes=num_classes)
    cost = trace(net, (channels, side, side), name, training=training)
    assert not cost.unknown, f"{name}: no rule counts {cost.unknown}"  # a lower bound proves no claim
    return cost, dict(net.named_modules())


def _counted_detector(
    name: str, image_size: int | None, num_classes: int | None
) -> tuple[Cost, Mapping[str, nn.Module]]:
    """Of a detector without a choice of sides, `image_size` is None."""
    from convbench.detection.parts import detector_cost, open_on_meta  # torchvision takes a second to import

    net = open_on_meta(name, num_classes=num_classes, **({} if image_size is None else {"side": image_size}))
    cost = detector_cost(net, name)
    assert not cost.unknown, f"{name}: no rule counts {cost.unknown}"
    return cost, {**dict(net.named_modules()), "(net)": net}


def _counted(reading: Reading) -> tuple[Cost, Mapping[str, nn.Module]]:
    return counted(reading.network, reading.image_size, reading.num_classes, reading.auxiliary)


def _rows(reading: Reading) -> Iterator[tuple[Row, nn.Module]]:
    """The rows of the layer or module and of the part that the reading names."""
    cost, modules = _counted(reading)
    chosen = [
        (row, modules[row.name])
        for row in cost.rows
        if not reading.layer or row.name == reading.layer or row.name.startswith(f"{reading.layer}.")
    ]
    if not chosen:
        raise unknown(f"layer in {reading.network}", reading.layer, (row.name for row in cost.rows))
    yield from ((row, module) for row, module in chosen if isinstance(module, PARTS[reading.part]))


def _weighted(reading: Reading) -> list[nn.Conv2d | nn.Linear]:
    """The convolutions and full layers that run."""
    return [module for _, module in _rows(reading) if isinstance(module, nn.Conv2d | nn.Linear)]


def _weights(reading: Reading) -> int:
    """Without biases and batch normalisation."""
    return sum(module.weight.numel() for module in _weighted(reading))


def _activations(reading: Reading) -> int:
    """Values that a forward pass leaves: of the input, the convolutions, the pools and the full layers."""
    if reading.layer:
        return math.prod(_shape(reading))
    kept = [row.activations for row, layer in _rows(reading) if isinstance(layer, (nn.Conv2d, nn.Linear, *POOLS))]
    return math.prod(_counted(reading)[0].input_shape) + sum(kept)


def _shape(reading: Reading) -> tuple[int, ...]:
    """(channels, height, width) of a layer's output; of the input by the name `input`."""
    return _counted(reading)[0].input_shape if reading.layer == "input" else next(_rows(reading))[0].output_shape


def _shape_before(reading: Reading) -> tuple[int, ...]:
    """The input's shape of a layer of a network without branches: the output of the row before."""
    cost, _ = _counted(reading)
    place = [row.name for row in cost.rows].index(next(_rows(reading))[0].name)
    return cost.rows[place - 1].output_shape if place else cost.input_shape


def _filter(module: nn.Module) -> str:
    """The filter's shape as MobileNet's table 1 writes it: rows x columns x inputs x outputs, or "dw"."""
    assert isinstance(module, nn.Conv2d | nn.Linear)
    if isinstance(module, nn.Linear):
        return f"{module.in_features}x{module.out_features}"
    window = _times(module.kernel_size)
    if module.groups > 1 and module.groups == module.in_channels:
        return f"{window}x{module.in_channels} dw"
    return f"{window}x{module.weight.shape[1]}x{module.out_channels}"


def _kernel_sizes(reading: Reading) -> str:
    sizes = {layer.kernel_size for layer in _weighted(reading) if isinstance(layer, nn.Conv2d)}
    return " ".join(_times(size) for size in sorted(sizes))


def _layers_of(reading: Reading) -> int:
    """How many layers have the filter `kernel`, written as "3x3x512 dw / s1"."""
    convolutions = [layer for layer in _weighted(reading) if isinstance(layer, nn.Conv2d)]
    return sum(f"{_filter(layer)} / s{layer.stride[0]}" == reading.kernel for layer in convolutions)


def _depth(reading: Reading) -> int:
    """Layers with weights, convolutions and full ones, along the longest path from the input to the output."""
    return _depth_of(reading.network)


@cache
def _depth_of(name: str) -> int:
    cost, modules = counted(name, None, None)
    output = modules[""].eval()(torch.empty(1, *cost.input_shape, device="meta", requires_grad=True))
    longest: dict[Any, int] = {None: 0}
    path = [output.grad_fn]
    while path:  # depth first, without recursion: a thousand layers are deeper than Python's stack
        before = [node for node, _ in path[-1].next_functions]
        if waiting := [node for node in before if node not in longest]:
            path += waiting
        else:
            node = path.pop()
            weighted = node.name() in ("ConvolutionBackward0", "AddmmBackward0")
            longest[node] = max((longest[one] for one in before), default=0) + weighted
    return longest[output.grad_fn]


def _conv_depth(reading: Reading) -> int:
    return _depth(reading) - sum(isinstance(layer, nn.Linear) for layer in _weighted(reading))


def _c3_row(reading: Reading) -> str:
    """The C3 maps of LeNet-5 that read the S2 map `row`."""
    return " ".join(str(out) for out, sources in enumerate(LENET5_TABLE) if reading.row in sources)


def _c3_inputs(_: Reading) -> str:
    return " ".join(map(str, sorted({len(sources) for sources in LENET5_TABLE})))


def _c3_links(_: Reading) -> int:
    return sum(map(len, LENET5_TABLE))


def _modules(reading: Reading) -> int:
    """How many of the network's own children have `layer` in their names."""
    return sum(reading.layer in name and "." not in name for name in _counted(reading)[1])


def _times(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))


QUANTITIES: dict[str, Callable[[Reading], float | str]] = {
    "params": lambda reading: sum(row.params for row, _ in _rows(reading)),
    "weights": _weights,
    "macs": lambda reading: sum(row.macs for row, _ in _rows(reading)),
    "connections": lambda reading: sum(row.connections for row, _ in _rows(reading)),
    "activations": _activations,
    "all_activations": lambda reading: _counted(reading)[0].activations,
    "activation_bytes": lambda reading: 4 * _activations(reading),
    "shape": lambda reading: _times((*_shape(reading)[1:], _shape(reading)[0])),
    "size": lambda reading: _times(_shape(reading)[1:]),
    "width": lambda reading: _shape(reading)[0],
    "shape_before": lambda reading: _times((*_shape_before(reading)[1:], _shape_before(reading)[0])),
    "size_before": lambda reading: _times(_shape_before(reading)[1:]),
    "filter": lambda reading: _filter(next(_rows(reading))[1]),
    "window": lambda reading: _times(_pair(next(_rows(reading))[1].kernel_size)),
    "stride": lambda reading: _pair(next(_rows(reading))[1].stride)[0],
    "padding": lambda reading: _pair(next(_rows(reading))[1].padding)[0],
    "kernel_sizes": _kernel_sizes,
    "layers_of": _layers_of,
    "depth": _depth,
    "conv_depth": _conv_depth,
    "fc_layers": lambda reading: sum(isinstance(layer, nn.Linear) for layer in _weighted(reading)),
    "modules": _modules,
    "dropout": lambda reading: next(layer.p for _, layer in _rows(reading) if isinstance(layer, nn.Dropout)),
    "receptive_field": lambda reading: 1 + sum(kernel - 1 for kernel in reading.kernels),
    "c3_row": _c3_row,
    "c3_inputs": _c3_inputs,
    "c3_links": _c3_links,
    "figure": lambda reading: find_figure(reading).value,
    "accuracy": lambda reading: round(100 - find_figure(reading).value, 6),
    "title": lambda reading: read_paper(reading.paper).title,
    "year": lambda reading: str(read_paper(reading.paper).year),
    "venue_year": lambda reading: read_paper(reading.paper).venue[-4:],
}


def _pair(size: Any) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)
